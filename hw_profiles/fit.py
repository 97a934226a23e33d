"""Does a network fit on a chip, what binds, and what to change: an answer in seconds, before anything is run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hw_profiles.fit_result import BoardFit, FitCheck, LayerFit
from hw_profiles.mapping import fit_problems, fullest
from hw_profiles.partition import Partition, partition
from hw_profiles.profile import HardwareProfile
from hw_profiles.slices import FitProblem
from hw_profiles.suggestions import Suggestion, suggest
from netx_export.graph import Graph

_LARGEST_LAYERS = 5
"""Changes are tried on layers with a problem and on the largest ones."""

_MOST_SUGGESTIONS = 8


def check(graph: Graph, profile: HardwareProfile) -> FitCheck:
    """Used and max of every register of every layer, what binds, and what to change; raises nothing for a misfit."""
    parts = partition(graph, profile)
    problems = fit_problems(graph, profile, parts)
    layers = _layers(graph, profile, parts, problems)
    per_chip = profile.topology.cores_per_chip if profile.topology else 0
    cores = len(parts.slices) if per_chip else 0
    return FitCheck(
        profile=profile.name,
        board=profile.board,
        fits=not problems,
        cores=(cores, per_chip * profile.chips if per_chip else None),
        chips=(-(-cores // per_chip) if per_chip else 0, profile.chips or None),
        layers=layers,
        problems=tuple(str(problem) for problem in problems),
        suggestions=_suggestions(graph, profile, layers, problems),
        boards=_boards(profile, cores) if not parts.problems and per_chip else (),
    )


def check_to_json(found: FitCheck) -> dict[str, Any]:
    """The check as plain values: registers as {used, max}, suggestions with the cores they save."""
    document = asdict(found)
    for layer in document["layers"]:
        layer["utilization"] = {
            name: {"used": used, "max": most} for name, (used, most) in layer["utilization"].items()
        }
        layer["tile"] = dict(zip(("width", "height", "channels"), layer["tile"], strict=True))
    for name in ("cores", "chips"):
        document[name] = {"used": document[name][0], "max": document[name][1]}
    for entry, suggestion in zip(document["suggestions"], found.suggestions, strict=True):
        entry["saved"] = suggestion.saved
    for entry, board in zip(document["boards"], found.boards, strict=True):
        entry["fits"] = board.fits
    return document


def _layers(
    graph: Graph, profile: HardwareProfile, parts: Partition, problems: list[FitProblem]
) -> tuple[LayerFit, ...]:
    layers: list[LayerFit] = []
    for population in graph.populations:
        own = [entry for entry in parts.slices if entry.population == population.id]
        if not own:
            continue
        used = fullest(profile, [parts.registers[entry.core] for entry in own])
        fill = {name: count / limit for name, (count, limit) in used.items() if limit}
        mine = [problem.remedy for problem in problems if _belongs_to(problem, population.id)]
        layers.append(
            LayerFit(
                population=population.id,
                source=population.source,
                neurons=population.size,
                cores=len(own) if profile.topology else 0,
                tile=own[0].tile,
                utilization=used,
                binding=max(fill, key=lambda name: fill[name]) if fill else "",
                advice="; ".join(mine),
            )
        )
    return tuple(layers)


def _belongs_to(problem: FitProblem, population: str) -> bool:
    return problem.layer == population or problem.layer.split(" [")[0].endswith(f"-> {population}")


def _suggestions(
    graph: Graph, profile: HardwareProfile, layers: tuple[LayerFit, ...], problems: list[FitProblem]
) -> tuple[Suggestion, ...]:
    if profile.topology is None or profile.kernel_memories:
        return ()
    names = [population.id for population in graph.populations]
    wrong = [name for name in names if any(_belongs_to(problem, name) for problem in problems)]
    large = sorted((layer for layer in layers if layer.cores > 1), key=lambda layer: -layer.cores)
    chosen = dict.fromkeys(wrong + [layer.population for layer in large[:_LARGEST_LAYERS]])
    return suggest(graph, profile, list(chosen))[:_MOST_SUGGESTIONS]


def _boards(profile: HardwareProfile, cores: int) -> tuple[BoardFit, ...]:
    found: list[BoardFit] = []
    for name in profile.boards:
        board = profile.on_board(name)
        if board.topology is not None:
            needed = -(-cores // board.topology.cores_per_chip)
            found.append(BoardFit(board=name, needed=needed, chips=board.chips))
    return tuple(found)
