"""A chip as data: limits, packing, topology and costs, each number with unit, source and evidence grade."""

from __future__ import annotations

import json
import math
import os
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import jsonschema

from netx_export.errors import ProfileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHIPS = Path(__file__).parent / "chips"
"""The folder of the chip files that come with Basalt."""

SCHEMA = CHIPS / "profile.schema.json"
"""The rule of chip files, which editors can use as well."""

_MAY_BE_NONE = frozenset({"index_bits", "list_header_bits", "conv_header_bits"})

_LARGEST_MESH = 1 << 16
"""Cores of a chip, and tiles of its mesh: the counters of all links stay in memory."""

Grade = Literal["H", "M", "L"]
"""H: primary source, two readers or a repository; M: one reader; L: conflicting sources."""

Basis = Literal["measured", "simulated", "fitted", "architectural", "derived"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A published number or range low..high, with where it comes from. `source` is the full text of the reference."""

    low: float
    high: float
    unit: str
    source: str
    grade: Grade
    basis: Basis
    note: str = ""
    voltage: float | None = None

    @property
    def is_range(self) -> bool:
        """True where a range was published rather than one value."""
        return self.low != self.high

    def __str__(self) -> str:
        number = f"{self.low:g}-{self.high:g}" if self.is_range else f"{self.low:g}"
        return f"{number} {self.unit}"


Quantities = Mapping[str, Quantity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Cores sit in tiles, tiles on a mesh of columns x rows, chips side by side."""

    cores_per_chip: int
    cores_per_tile: int
    mesh_columns: int
    mesh_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Prices by operation: `energy` in pJ, `time` in ns, `power` in mW per chip; `arithmetic` by precision, in pJ.

    `barrier_by_tiles` is the barrier's time in ns by the number of tiles in use, where that was published.
    """

    energy: Quantities = field(default_factory=dict)
    time: Quantities = field(default_factory=dict)
    power: Quantities = field(default_factory=dict)
    arithmetic: Mapping[str, Quantities] = field(default_factory=dict)
    barrier_by_tiles: Mapping[int, Quantity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """One chip on one board, or an estimator without a chip (`kind` = "algorithmic": no cores, no limits).

    `limits` and `packing` hold only what was published: a missing key is unknown, not zero. `boards` holds the number of
    chips by board, `board_facts` everything that is published about each board; `topology` is that of the chosen board,
    `chip_topology` the chip's own. Chips that give every layer one core of
    its own, all of different sizes, have `kernel_memories` and `neuron_memories`: words by core.
    """

    name: str
    title: str
    kind: Literal["chip", "algorithmic"]
    estimator: str
    includes: str
    path: str
    limits: Quantities = field(default_factory=dict)
    packing: Quantities = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    topology: Topology | None = None
    boards: Quantities = field(default_factory=dict)
    board: str = ""
    sources: tuple[str, ...] = ()
    board_facts: Mapping[str, Quantities] = field(default_factory=dict)
    chip_topology: Topology | None = None
    kernel_memories: tuple[Quantity, ...] = ()
    neuron_memories: tuple[Quantity, ...] = ()

    @property
    def chips(self) -> int:
        """Chips of the chosen board; 0 where there is no chip."""
        return int(self.boards[self.board].low) if self.board else 0

    def limit(self, resource: str) -> int | None:
        """The largest allowed use of a resource, None where nobody published one."""
        memories = {"kernel_memory": self.kernel_memories, "neuron_memory": self.neuron_memories}.get(resource)
        if memories:
            return max(int(memory.low) for memory in memories)
        found = self.limits.get(resource)
        return None if found is None else int(found.low)

    def packed(self, name: str) -> int | None:
        """A packing constant at its high (cautious) end, None where nobody published one."""
        found = self.packing.get(name)
        return None if found is None else int(found.high)

    def on_board(self, board: str) -> HardwareProfile:
        """The same chip on another of its boards; ProfileError names the boards there are."""
        if board not in self.boards:
            raise ProfileError(
                f"Profile {self.name!r} has no board {board!r}; choose one of {', '.join(self.boards) or 'none'}."
            )
        topology, cores = self.chip_topology or self.topology, self.board_facts.get(board, {}).get("cores")
        if topology is not None and cores is not None:
            topology = replace(topology, cores_per_chip=int(cores.low) // int(self.boards[board].low))
        return replace(self, board=board, topology=topology)


def available() -> tuple[str, ...]:
    """Names of the profiles that come with Basalt."""
    return tuple(sorted(path.stem for path in CHIPS.glob("*.toml")))


def load(name_or_path: str | os.PathLike[str], *, board: str | None = None) -> HardwareProfile:
    """The profile of that name, or of a TOML file of your own; `board` replaces the file's default board.

    Raises ProfileError naming the file, the key, the value and the remedy.
    """
    text = os.fspath(name_or_path)
    path = Path(text)
    if path.suffix != ".toml":
        path = CHIPS / f"{text}.toml"
        if path.parent != CHIPS or not path.is_file():
            raise ProfileError(
                f"Profile {text!r} does not exist; choose one of {', '.join(available())}, or give the path of a .toml file."
            )
    profile = _read(path)
    return profile if board is None else profile.on_board(board)


def _read(path: Path) -> HardwareProfile:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror}); give the path of a chip file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: is not valid TOML ({error}); see docs/chips.md for the layout.") from None
    _check_schema(path, document)
    return _build(path, document)


@lru_cache(maxsize=1)
def _validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _check_schema(path: Path, document: dict[str, Any]) -> None:
    error = jsonschema.exceptions.best_match(_validator().iter_errors(document))
    if error is None:
        return
    key = ".".join(str(part) for part in error.absolute_path) or "(the whole file)"
    raise ProfileError(f"{path}: {key}: {_explain(error)}")


def _explain(error: Any) -> str:
    """What the schema's complaint means for the person who wrote the file, and the remedy."""
    instance, limit = error.instance, error.validator_value
    given = reprlib.repr(instance)
    match error.validator:
        case "required":
            missing = [name for name in limit if name not in instance]
            return (
                f"{', '.join(missing)} is missing; every number needs value (or low and high), unit, source, grade and "
                "basis, and every file the parts listed in docs/chips.md."
            )
        case "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            unknown = sorted(set(instance) - set(known))
            return f"key {', '.join(unknown)} is unknown; the keys here are {', '.join(known)}."
        case "const":
            return f"is {given}, it must be {limit!r}; convert the number to that unit."
        case "enum":
            return f"is {given}, it must be one of {', '.join(map(str, limit))}."
        case "minimum" | "exclusiveMinimum":
            return f"is {given}, the smallest allowed value is {limit}; leave an unpublished number out."
        case "type":
            remedy = "put it in quotes" if limit == "string" else "write { value, unit, source, grade, basis }"
            return f"is {given}, it must be of type {limit}; {remedy}."
        case "dependentRequired":
            return (
                "neuron_update_active and neuron_update_inactive need each other; add the missing one, or give one price "
                "for all updates as neuron_update."
            )
        case "anyOf":
            return (
                "neurons is missing; a chip limits the neurons of a core, or lists core_kernel_memory and "
                "core_neuron_memory."
            )
        case "oneOf":
            return "give either value, or low and high; not both and not neither."
        case None:
            return "is not allowed here; an algorithmic profile has arithmetic prices only, a chip has none of those."
        case _:
            return f"{error.message}; see docs/chips.md."


def _number(path: Path, key: str, given: float) -> float:
    """TOML also writes nan, inf and integers beyond every float; none of them was ever published."""
    try:
        number = float(given)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ProfileError(f"{path}: {key}: is {number}, it must be a finite number; leave an unpublished number out.")
    return number


def _check_board_cores(path: Path, board: str, found: Quantities, topology: Topology) -> None:
    """A board with a published number of cores has at least one on every chip, and no more than the mesh holds."""
    chips = int(found["chips"].low)
    most = chips * topology.cores_per_tile * topology.mesh_columns * topology.mesh_rows
    if not chips <= found["cores"].low <= most:
        raise ProfileError(
            f"{path}: boards.{board}.cores: is {found['cores']}, its {chips} chips have between {chips} and {most}; "
            "give the cores of the whole board, or leave them out."
        )


def _build(path: Path, document: dict[str, Any]) -> HardwareProfile:
    references: dict[str, str] = document["sources"]

    def quantity(key: str, table: dict[str, Any]) -> Quantity:
        if table["source"] not in references:
            raise ProfileError(
                f"{path}: {key}.source: is {table['source']!r}, which [sources] does not list; "
                f"add it there or use one of {', '.join(references)}."
            )
        low, high = (_number(path, key, table[end] if end in table else table["value"]) for end in ("low", "high"))
        if low > high:
            raise ProfileError(f"{path}: {key}: low is {low:g}, above high {high:g}; exchange the two.")
        voltage = table.get("voltage")
        return Quantity(
            low=low,
            high=high,
            unit=table["unit"],
            source=references[table["source"]],
            grade=cast(Grade, table["grade"]),
            basis=cast(Basis, table["basis"]),
            note=table.get("note", ""),
            voltage=None if voltage is None else _number(path, f"{key}.voltage", voltage),
        )

    def section(key: str, tables: dict[str, Any]) -> dict[str, Quantity]:
        return {name: quantity(f"{key}.{name}", table) for name, table in tables.items()}

    def whole(key: str, found: dict[str, Quantity]) -> dict[str, Quantity]:
        for name, entry in found.items():
            least = 0 if name in _MAY_BE_NONE else 1
            if not (entry.low.is_integer() and entry.high.is_integer() and entry.low >= least):
                raise ProfileError(f"{path}: {key}.{name}: is {entry}, it must be a whole number of at least {least}.")
        return found

    facts = {name: section(f"boards.{name}", table) for name, table in document.get("boards", {}).items()}
    boards = {name: found["chips"] for name, found in facts.items()}
    whole("boards", boards)
    board = document.get("default_board", "")
    if board and board not in boards:
        raise ProfileError(
            f"{path}: default_board: is {board!r}, the boards are {', '.join(boards)}; name one of them."
        )
    mesh = whole("topology", section("topology", document.get("topology", {})))
    topology = Topology(**{name: int(entry.low) for name, entry in mesh.items()}) if mesh else None
    if topology and topology.cores_per_chip > topology.cores_per_tile * topology.mesh_columns * topology.mesh_rows:
        raise ProfileError(
            f"{path}: topology.cores_per_chip: is {topology.cores_per_chip}, but the mesh has room for "
            f"{topology.cores_per_tile * topology.mesh_columns * topology.mesh_rows}; enlarge the mesh."
        )
    if topology:
        for name, size in (
            ("cores_per_chip", topology.cores_per_chip),
            ("mesh_rows", topology.mesh_rows * topology.mesh_columns),
        ):
            if size > _LARGEST_MESH:
                raise ProfileError(
                    f"{path}: topology.{name}: makes {size} cores or tiles a chip, the most that can be laid out is "
                    f"{_LARGEST_MESH}; check the number."
                )
    for name, published in facts.items():
        if topology is not None and "cores" in published:
            _check_board_cores(path, name, published, topology)
    limits = dict(document.get("limits", {}))
    memories = {
        name: tuple(
            quantity(f"limits.{name}.{core}", table) for core, table in enumerate(limits.pop(f"core_{name}", ()))
        )
        for name in ("kernel_memory", "neuron_memory")
    }
    for name, found in memories.items():
        if found and (topology is None or len(found) != topology.cores_per_chip):
            raise ProfileError(
                f"{path}: limits.core_{name}: has {len(found)} entries, the chip has "
                f"{topology.cores_per_chip if topology else 0} cores; give one entry for each core."
            )
    profile = HardwareProfile(
        name=document["name"],
        title=document["title"],
        kind=document["kind"],
        estimator=document["estimator"],
        includes=document["includes"],
        path=path.name,
        limits=whole("limits", section("limits", limits)),
        packing=whole("packing", section("packing", document.get("packing", {}))),
        costs=Costs(
            energy=section("energy", document.get("energy", {})),
            time=section("time", document.get("time", {})),
            power=section("power", document.get("power", {})),
            arithmetic={
                precision: section(f"arithmetic.{precision}", prices)
                for precision, prices in document.get("arithmetic", {}).items()
            },
            barrier_by_tiles={
                int(tiles): quantity(f"barrier_by_tiles.{tiles}", table)
                for tiles, table in document.get("barrier_by_tiles", {}).items()
            },
        ),
        topology=topology,
        boards=boards,
        sources=tuple(references.values()),
        board_facts=facts,
        chip_topology=topology,
        kernel_memories=memories["kernel_memory"],
        neuron_memories=memories["neuron_memory"],
    )
    return profile.on_board(board) if board else profile
