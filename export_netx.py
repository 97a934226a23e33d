"""Export a trained detector to a NetX `.net` file, and prove that nothing changed on the way."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import lava_runtime
import netx_export
from lava_runtime import Probes
from lava_runtime.divergence import first_divergence, held_to
from lava_runtime.trace import Trace
from netx_export.command_line import exit_code, print_table, provenance, require_torch
from netx_export.errors import ConfigError
from netx_export.exporter import Export, export_with_stages
from netx_export.float_run import float_run
from netx_export.graph import Graph, Lif, Or, Readout
from netx_export.netx.describe import describe
from netx_export.verify import StageRecord, StageRow, compare, table
from training.checkpoints import shipped
from training.checkpoints.info import SLAYER_FORMAT, format_of
from training.scoring import TASK_KEY, task_of
from training.sources import open_windows

STAGES = {"fast": "fast", "sim": "sim", "stock": "sim --models stock"}
"""Backends that --verify runs, and the names of their rows."""

SCORE_WINDOWS = 300
"""Windows that --verify scores the two forms of a detector on, unless --score-windows says otherwise."""

EXAMPLES = """
examples:
  python export_netx.py                                 the shipped tiny Spiking CenterNet to runs/tiny/tiny.net
  python export_netx.py runs/mine/model.safetensors --out mine.net
  python export_netx.py --verify 8                      one row per stage, from torch to stock Lava: spikes, mismatches
  python export_netx.py runs/slayer/detector.safetensors --verify 20 --stages fast,sim     of train.py slayer
  python run_lava.py runs/tiny/tiny.net --backend sim   afterwards: run it

In Python:  graph = netx_export.export(module, example);  netx_export.write(graph, "network.net")
Exit codes: 0 done, 1 a stage of --verify differs, 2 a mistake in the input, 3 a backend that is not available here.
"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="export_netx.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, help="a .safetensors checkpoint (default: the shipped tiny)"
    )
    parser.add_argument("--out", type=Path, help="the .net file (default: runs/<name>/<name>.net)")
    parser.add_argument("--relays", action="store_true", help="insert relay populations for skips beyond 62 steps")
    parser.add_argument(
        "--rounding",
        choices=("maximum", "mse"),
        default="maximum",
        help="weight scales by the largest weight or by least squared error (default: %(default)s)",
    )
    parser.add_argument(
        "--verify", type=int, default=0, metavar="N", help="compare every stage on N unseen windows, spike by spike"
    )
    parser.add_argument(
        "--score-windows",
        type=int,
        metavar="N",
        help="with --verify: windows for AP50 before and after quantisation, 0 for none (default: 300; networks of lava-dl: "
        "those of --verify, as Lava starts anew for each)",
    )
    parser.add_argument(
        "--stages",
        default="fast,sim,stock",
        help="with --verify: backends after the quantised twin (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Load, export, write, describe, verify."""
    options = parse(arguments)
    check_options(options)
    checkpoint = options.checkpoint or shipped("tiny")
    if format_of(checkpoint) == SLAYER_FORMAT:
        return export_slayer_checkpoint(checkpoint, options)
    settings = {"relays": options.relays, "rounding": options.rounding}
    exported = export_checkpoint(checkpoint, **settings)
    graph = exported.graph
    preset = graph.meta["preset"]
    out = options.out or Path("runs") / preset / f"{preset}.net"
    netx_export.write(graph, out)
    print("\n".join(describe(graph)))
    print(f"{out}: latency {max(graph.depth.values())} steps, {out.stat().st_size / 1024:.0f} KiB")
    if not options.verify:
        return 0
    mismatches = verify(checkpoint, exported, out, options)
    windows = SCORE_WINDOWS if options.score_windows is None else options.score_windows
    if windows:
        score(checkpoint, graph, windows)
    return 1 if mismatches else 0


def export_slayer_checkpoint(checkpoint: Path, options: argparse.Namespace) -> int:
    """The same for a network of `train.py slayer`, whose arithmetic is integer from the start."""
    require_torch("Exporting a checkpoint")
    from training.slayer.checkpoint import load_slayer
    from training.slayer.runs import evaluation_samples, score_values
    from training.slayer.stages import exported_input, run_quantised, slayer_record

    module, info = load_slayer(checkpoint)
    meta = {"network": f"slayer {info.network}", **provenance()}
    if info.network == "detector":
        meta[TASK_KEY] = json.dumps(info.task.to_json(), sort_keys=True)
    graph = netx_export.export(module, info.example, steps=info.task.steps + info.after, meta=meta)
    out = options.out or checkpoint.with_suffix(".net")
    netx_export.write(graph, out)
    print("\n".join(describe(graph)))
    print(f"{out}: timing as trained, {out.stat().st_size / 1024:.0f} KiB")
    if not options.verify:
        return 0
    graph = netx_export.read(out)
    cubes = evaluation_samples(info, open_windows(None, info.task, limit=options.verify, progress=True)).cubes
    slayer = StageRecord(name="SLAYER, quantised", **slayer_record(module, graph, cubes, info))
    rows = [replace(compare(slayer, slayer, order=list(graph.by_id)), against="(where it starts)")]
    inputs = exported_input(cubes, info)
    checks = [
        check_stage(stage, graph, inputs, slayer, lambda name: slayer, out.with_name("divergence.png"))
        for stage in options.stages.split(",")
    ]
    rows += [check.row for check in checks]
    print(table(rows))
    print_explanations(checks)
    print(
        "SLAYER's step t + 1 is hardware's step t: SLAYER was given one silent step first, which hardware runs by itself."
    )
    windows = options.verify if options.score_windows is None else options.score_windows
    if windows:
        samples = evaluation_samples(info, open_windows(None, info.task, limit=windows, progress=True))
        scores = {"SLAYER, quantised": score_values(info, samples, run_quantised(module, samples.cubes, info))}
        units = {p.id: p.neuron.unit for p in graph.outputs if isinstance(p.neuron, Readout)}
        for check, stage in zip(checks, options.stages.split(","), strict=True):
            record = check.record
            if windows != options.verify:
                record = record_of(stage, graph, run_stage(stage, graph, exported_input(samples.cubes, info)))
            found = {**record.spikes, **{name: value * units[name] for name, value in record.readouts.items()}}
            scores[STAGES[stage]] = score_values(info, samples, found)
        names = list(scores["SLAYER, quantised"])
        print_table(
            (f"{samples.cubes.shape[1]} unseen samples", *names),
            [(stage, *(f"{found[name]:.3f}" for name in names)) for stage, found in scores.items()],
        )
    return 1 if sum(row.mismatches for row in rows) else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageCheck:
    """A backend's record, its row of the table, and where it parts from training what arrived there."""

    record: StageRecord
    row: StageRow
    explanation: str = ""


def check_stage(
    stage: str,
    graph: Graph,
    inputs: npt.NDArray[np.uint8],
    against: StageRecord,
    with_states: Callable[[str], StageRecord],
    picture: Path,
) -> StageCheck:
    """Backend `stage` held to a record; where they part, both rasters go to `picture`.

    `with_states` gives the record with u and v of a population, as far as they are known.
    """
    order = list(graph.by_id)
    record = record_of(stage, graph, run_stage(stage, graph, inputs))
    row = compare(record, against, order=order)
    if row.first is None:
        return StageCheck(record=record, row=row)
    name = row.first.population
    # Once more, with the states of the population where the stages part, so that u and v can be named.
    trace = run_stage(stage, graph, inputs, states=(name,))
    other = with_states(name)
    row = compare(record_of(stage, graph, trace), other, order=order)
    theirs = held_to(trace, spikes=other.spikes, readouts=other.readouts, u=other.u, v=other.v)
    found = first_divergence(graph, trace, theirs, within=name)
    if found is None:
        return StageCheck(record=record, row=row)
    from hw_profiles.divergence_picture import draw_divergence

    draw_divergence(found, trace, theirs, picture, names=(STAGES[stage], against.name))
    explanation = f"{STAGES[stage]} against {against.name}\n{found}\n  both over each other: {picture}"
    return StageCheck(record=record, row=row, explanation=explanation)


def print_explanations(checks: Sequence[StageCheck]) -> None:
    """What arrived where stages part."""
    for check in checks:
        if check.explanation:
            print(check.explanation)


def check_options(options: argparse.Namespace) -> None:
    """Raise ConfigError for what could not be done, before anything is written."""
    for name, windows in (("--verify", options.verify), ("--score-windows", options.score_windows)):
        if windows is not None and windows < 0:
            raise ConfigError(f"{name} is {windows}; give a number of windows, at least 0 (none)")
    for stage in options.stages.split(","):
        if stage not in STAGES:
            raise ConfigError(f"--stages names {stage!r}; choose from {', '.join(STAGES)}")


def verify(checkpoint: Path, exported: Export, out: Path, options: argparse.Namespace) -> int:
    """Print one row per stage; the number of mismatches from the quantised twin on."""
    from training.stages import TrainingStages

    graph = netx_export.read(out)
    task = task_of(graph.meta, str(out))
    inputs = open_windows(None, task, limit=options.verify, progress=True).cubes()
    trained = TrainingStages(checkpoint, inputs)
    order = list(graph.by_id)

    torch_float = StageRecord(name="torch float", **trained.float_record(graph))
    run = float_run(exported.folded, inputs)
    folded = StageRecord(name="folded", spikes=run.spikes, readouts=run.outputs)
    written = StageRecord(name="network before writing", **trained.twin_record(exported.graph))
    twin = StageRecord(name="quantised twin", **trained.twin_record(graph))
    rows = [
        replace(compare(torch_float, torch_float, order=order), against="(where it starts)"),
        compare(folded, torch_float, order=order),
        compare(twin, written, order=order),
    ]
    checks = [
        check_stage(
            stage,
            graph,
            inputs,
            twin,
            lambda name: replace(twin, **trained.twin_states(graph, name)),
            out.with_name("divergence.png"),
        )
        for stage in options.stages.split(",")
    ]
    rows += [check.row for check in checks]
    print(table(rows))
    print_explanations(checks)
    changed = compare(twin, folded, order=order)
    print(
        f"quantisation changed {changed.mismatches:,} of {changed.values:,} values ({changed.mismatches / changed.values:.2%})"
    )
    return sum(row.mismatches for row in rows[2:])


def run_stage(stage: str, graph: Graph, inputs: npt.NDArray[np.uint8], *, states: tuple[str, ...] = ()) -> Trace:
    """A run on backend `stage` (fast, sim, or stock for sim with Lava's own models) with the rasters of all spikes."""
    options: dict[str, Any] = {"backend": "fast"} if stage == "fast" else {"backend": "sim"}
    if stage == "stock":
        options["models"] = "stock"
    probes = Probes(rasters=(*(p.id for p in graph.inputs), *spiking_populations(graph)), states=states)
    return lava_runtime.run(graph, inputs, probes=probes, progress=True, **options)


def spiking_populations(graph: Graph) -> tuple[str, ...]:
    """Populations whose neurons send 0/1 spikes, without inputs."""
    return tuple(p.id for p in graph.populations if isinstance(p.neuron, Lif | Or))


def record_of(stage: str, graph: Graph, trace: Trace) -> StageRecord:
    """What a run did, at training's timing."""
    spiking = spiking_populations(graph)
    return StageRecord(
        name=STAGES[stage],
        spikes={name: trace.aligned(name) for name in spiking},
        readouts={p.id: trace.aligned(p.id) for p in graph.outputs if p.id not in spiking},
        u={name: trace.to_samples(name, trace.u[name]) for name in trace.u},
        v={name: trace.to_samples(name, trace.v[name]) for name in trace.v},
    )


def score(checkpoint: Path, graph: Graph, windows: int) -> None:
    """Print AP50 of the float and the quantised network on unseen windows."""
    from training.quantised_evaluation import score_training_forms

    data = open_windows(None, task_of(graph.meta, "network"), limit=windows, progress=True)
    scores = score_training_forms(checkpoint, graph, data, progress=True)
    print_table(
        (f"{windows} unseen windows", "AP", "AP50"),
        [(form, f"{found.ap:.3f}", f"{found.ap50:.3f}") for form, found in scores.items()],
    )
    print(f"AP50 changes by {scores['quantised'].ap50 - scores['float'].ap50:+.3f} through quantisation")


def export_checkpoint(checkpoint: Path, **settings: Any) -> Export:
    """The integer graph of a detector's checkpoint, with its task and provenance in `meta`. Needs torch."""
    require_torch("Exporting a checkpoint")
    import torch

    from training.checkpoints.files import load_model

    module, info = load_model(checkpoint)
    example = torch.zeros(info.task.steps, 1, info.task.channels, *info.task.grid)
    meta = {TASK_KEY: json.dumps(info.task.to_json(), sort_keys=True), "preset": info.preset, **provenance()}
    return export_with_stages(module, example, meta=meta, **settings)


if __name__ == "__main__":
    sys.exit(exit_code(main))
