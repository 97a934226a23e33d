"""The schema of report.json, read off the types that are written: `python -m hw_profiles.report_schema` renews the file."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from hw_profiles.report import REPORT_VERSION, Report
from netx_export.files import replace_file

SCHEMA = Path(__file__).with_name("report.schema.json")

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of report.json."""
    definitions: dict[str, Any] = {}
    report = _schema_of(Report, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Basalt report, version {REPORT_VERSION}",
        "description": "Energies in pJ and times in ns for the whole run unless a name says otherwise; ranges are [low, high].",
        "type": "object",
        "additionalProperties": False,
        "required": ["reports"],
        "properties": {"reports": {"type": "array", "minItems": 1, "items": report}},
        "$defs": dict(sorted(definitions.items())),
    }


def _schema_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = _object_of(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [{"type": "null"} if e is type(None) else _schema_of(e, definitions) for e in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(arguments[1], definitions)}
    if arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema_of(arguments[0], definitions)}
    return {
        "type": "array",
        "prefixItems": [_schema_of(entry, definitions) for entry in arguments],
        "minItems": len(arguments),
        "maxItems": len(arguments),
    }


def _object_of(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    stored = [entry.name for entry in dataclasses.fields(kind) if entry.metadata.get("json", True)]
    return {
        "description": " ".join((kind.__doc__ or "").split()),
        "type": "object",
        "additionalProperties": False,
        "required": stored,
        "properties": {name: _schema_of(hints[name], definitions) for name in stored},
    }


def main() -> None:
    """Write report.schema.json."""
    with replace_file(SCHEMA) as temporary:
        temporary.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
