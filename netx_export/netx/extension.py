"""The extension group `/basalt`: a Graph as a tree, and back."""

from __future__ import annotations

import json
import math
from typing import TypeVar, get_args

import numpy as np

from netx_export.errors import GraphError, NetxError
from netx_export.graph import Graph, Kernel, Messages, Population, Projection, Timing
from netx_export.netx import migration, schema
from netx_export.netx.tree import INT_MAX, Group, brief, narrow

_TIMINGS: tuple[Timing, ...] = get_args(Timing)
_MESSAGES: tuple[Messages, ...] = get_args(Messages)

_Word = TypeVar("_Word", bound=str)


def encode(graph: Graph, form: schema.Form, where: str) -> Group:
    """The extension group of `graph`."""
    root = Group(where=f"{where}: /{schema.EXTENSION}")
    root.attributes = {
        "version": schema.VERSION,
        "form": form,
        "timing": graph.timing,
        "messages": graph.messages,
        "steps": int(graph.steps),
    }
    root.arrays["meta"] = (json.dumps(dict(graph.meta), sort_keys=True),)
    kernels = schema.KernelTable()
    populations, projections = root.child("populations"), root.child("projections")
    for index, population in enumerate(graph.populations):
        group = populations.child(str(index))
        group.attributes = {
            "id": population.id,
            "name": population.name,
            "source": population.source,
            "shape": [int(extent) for extent in population.shape],
        }
        schema.encode(schema.NEURONS, population.neuron, group, kernels)
    for index, projection in enumerate(graph.projections):
        group = projections.child(str(index))
        group.attributes = {
            "src": projection.src,
            "dst": projection.dst,
            "delay": int(projection.delay),
            "port": projection.port,
        }
        if projection.src_channels is not None:
            group.attributes["src_channels"] = [int(end) for end in projection.src_channels]
        if projection.delays is not None:
            # A delay is at most 62 steps.
            group.arrays["delays"] = np.ascontiguousarray(projection.delays, np.dtype("|u1"))
        schema.encode(schema.SYNAPSES, projection.synapse, group, kernels)
    table = root.child("kernels")
    for index, kernel in enumerate(kernels.kernels):
        group = table.child(str(index))
        group.attributes["exponent"] = int(kernel.exponent)
        # Eight bits are enough: a Kernel holds [-128, 127].
        group.arrays["mantissa"] = np.ascontiguousarray(kernel.mantissa, np.dtype("<i1"))
    _check_texts(root)
    root.attributes["checksum"] = root.checksum()
    return root


def _check_texts(group: Group) -> None:
    for name, value in group.attributes.items():
        if isinstance(value, str) and (len(value) > schema.TEXT_LIMIT or "\0" in value or not _is_utf8(value)):
            raise NetxError(
                f"{group.where}: the {name} {value[:40]!r}... has {len(value)} characters; a text is UTF-8 without NUL "
                f"and the limit is {schema.TEXT_LIMIT}. Use a shorter name."
            )
    for child in group.groups.values():
        _check_texts(child)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def decode(root: Group) -> tuple[Graph, schema.Form]:
    """The graph in the extension group, and the form of the file.

    Raises NetxError for another version, a wrong checksum, or anything missing, unknown or contradictory.
    """
    version = root.integer("version")
    if not 1 <= version <= schema.VERSION:
        remedy = (
            "update Basalt, or write the file again with this one"
            if version > schema.VERSION
            else "write the file again"
        )
        raise NetxError(
            f"{root.where}: the extension has version {version}, this Basalt reads versions 1 to {schema.VERSION}; "
            f"{remedy}."
        )
    content = Group(root.where, dict(root.attributes), root.arrays, root.groups)
    written = root.text("checksum")
    del content.attributes["checksum"]
    if content.checksum() != written:
        raise NetxError(
            f"{root.where}: the checksum is {content.checksum()[:12]}..., the file says {written[:12]!r}...; it was "
            "damaged or changed after it was written. Write it again."
        )
    migration.to_present(root, version)
    root.allow(
        attributes={"version", "form", "timing", "messages", "steps", "checksum"},
        arrays={"meta"},
        groups={"populations", "projections", "kernels"},
    )
    form = _choice(root, "form", schema.FORMS)
    timing = _choice(root, "timing", _TIMINGS)
    messages = _choice(root, "messages", _MESSAGES)
    kernels = schema.KernelTable(tuple(_kernel(group) for group in root.group("kernels").numbered()))
    populations = tuple(_population(group, kernels) for group in root.group("populations").numbered())
    projections = tuple(_projection(group, kernels) for group in root.group("projections").numbered())
    unused = sorted(set(range(len(kernels.kernels))) - kernels.used)
    if unused:
        raise NetxError(f"{root.where}/kernels/{unused[0]}: no projection uses this kernel; remove it.")
    try:
        graph = Graph(
            populations=populations,
            projections=projections,
            timing=timing,
            messages=messages,
            steps=root.integer("steps"),
            meta=_meta(root),
        )
    except GraphError as error:
        raise NetxError(f"{root.where}: {brief(error)}") from None
    return graph, form


def _choice(group: Group, name: str, options: tuple[_Word, ...]) -> _Word:
    value = group.text(name)
    for option in options:
        if option == value:
            return option
    raise NetxError(f"{group.where}: {name} is {value!r}, it must be one of {list(options)}.")


def _meta(root: Group) -> dict[str, str]:
    text = root.array("meta")
    if not isinstance(text, tuple) or len(text) != 1:
        raise NetxError(f"{root.where}: 'meta' must be one text, a JSON object of texts.")
    try:
        meta = json.loads(text[0])
    except (ValueError, RecursionError) as error:
        raise NetxError(f"{root.where}: 'meta' is not JSON ({error}); write the file again.") from None
    if not isinstance(meta, dict) or not all(isinstance(value, str) for value in meta.values()):
        raise NetxError(f"{root.where}: 'meta' must be a JSON object of texts.")
    return meta


def _kernel(group: Group) -> Kernel:
    group.allow(attributes={"exponent"}, arrays={"mantissa"}, groups=set())
    try:
        return Kernel(mantissa=narrow(group, "mantissa", np.int16), exponent=group.integer("exponent"))
    except GraphError as error:
        raise NetxError(f"{group.where}: {brief(error)}") from None


def _population(group: Group, kernels: schema.KernelTable) -> Population:
    attributes, arrays = schema.field_names(schema.NEURONS, group)
    group.allow(attributes={"id", "name", "source", "shape"} | attributes, arrays=arrays, groups=set())
    shape = group.integers("shape", 3)
    if math.prod(shape) > INT_MAX:
        raise NetxError(f"{group.where}: shape {shape} has {math.prod(shape)} neurons, the limit is {INT_MAX}.")
    try:
        return Population(
            id=group.text("id"),
            name=group.text("name"),
            source=group.text("source"),
            shape=(shape[0], shape[1], shape[2]),
            neuron=schema.decode(schema.NEURONS, group, kernels),
        )
    except GraphError as error:
        raise NetxError(f"{group.where}: {brief(error)}") from None


def _projection(group: Group, kernels: schema.KernelTable) -> Projection:
    attributes, arrays = schema.field_names(schema.SYNAPSES, group)
    known = {"src", "dst", "delay", "port", "src_channels"} | attributes
    group.allow(attributes=known, arrays=arrays | {"delays"}, groups=set())
    channels = None
    if "src_channels" in group.attributes:
        start, stop = group.integers("src_channels", 2)
        channels = (start, stop)
    try:
        return Projection(
            src=group.text("src"),
            dst=group.text("dst"),
            delay=group.integer("delay"),
            port=group.text("port"),
            src_channels=channels,
            synapse=schema.decode(schema.SYNAPSES, group, kernels),
            delays=narrow(group, "delays", np.int32) if "delays" in group.arrays else None,
        )
    except GraphError as error:
        raise NetxError(f"{group.where}: {brief(error)}") from None
