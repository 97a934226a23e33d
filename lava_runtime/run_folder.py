"""A run on disk: network, trace and facts in one folder, so that a report needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lava_runtime.trace import Trace
from netx_export.errors import RunError
from netx_export.files import folder_obstacle, replace_file
from netx_export.graph import Graph

NETWORK, TRACE, FACTS = "network.net", "trace.h5", "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What `load_run` finds: the network, its trace, and the facts of run.json."""

    graph: Graph
    trace: Trace
    facts: Mapping[str, Any]


def save_run(
    folder: Path,
    graph: Graph,
    trace: Trace,
    *,
    write_network: Callable[[Graph, Path], None],
    write_results: Callable[[Path], None] = lambda folder: None,
    facts: Mapping[str, Any],
) -> None:
    """Write `network.net`, `trace.h5`, what `write_results` adds, and `run.json` last: with it, a folder is complete.

    Raises RunError where the folder cannot be.
    """

    with open_run(folder, graph, write_network=write_network) as found:
        trace.save(folder / TRACE)
        write_results(folder)
        found.update({"backend": trace.backend, **facts})


@contextmanager
def open_run(folder: Path, graph: Graph, *, write_network: Callable[[Graph, Path], None]) -> Iterator[dict[str, Any]]:
    """A run folder with its network, to be filled with `trace.h5` and results; yields the facts of run.json, to be set.

    run.json is written when the block ends without an error. Raises RunError where the folder cannot be.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    write_network(graph, folder / NETWORK)
    facts: dict[str, Any] = {}
    yield facts
    with replace_file(folder / FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def check_folder(folder: Path) -> None:
    """Raise RunError where no run could be saved in `folder`. Nothing is created."""
    obstacle = folder_obstacle(folder)
    if obstacle is not None:
        raise RunError(f"{folder}: cannot be a run folder, {obstacle}; choose another folder.")


def load_run(folder: Path, *, read_network: Callable[[Path], Graph]) -> Run:
    """Read what `save_run` wrote; RunError names what is missing."""
    if not (folder / FACTS).is_file():
        raise RunError(
            f"{folder}: holds no finished run ({FACTS} is missing); make one with run_lava.py --out {folder}."
        )
    try:
        facts = json.loads((folder / FACTS).read_text())
    except ValueError as error:
        raise RunError(f"{folder / FACTS}: is no JSON ({error}); run run_lava.py again.") from None
    if not isinstance(facts, dict):
        raise RunError(
            f"{folder / FACTS}: holds a {type(facts).__name__}, not the facts of a run; run run_lava.py again."
        )
    graph = read_network(folder / NETWORK)
    trace = Trace.load(folder / TRACE)
    try:
        trace.check_graph(graph)
        trace.check_shapes(graph)
    except RunError as error:
        raise RunError(f"{folder / TRACE}: {error}") from None
    return Run(graph=graph, trace=trace, facts=facts)
