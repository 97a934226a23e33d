"""Run a network on recordings: in Lava's simulator, in the compiled engine, or on a Loihi 2 board."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lava_runtime
import netx_export
from hw_profiles.run_frames import FRAMES
from lava_runtime import Probes
from lava_runtime.arguments import add_arguments
from lava_runtime.chunks import ChunkStore, Settings, compute_here, finish_chunks
from lava_runtime.cluster import cluster
from lava_runtime.comparison import compare_traces, load_traces
from lava_runtime.interrupts import stop_requests
from lava_runtime.run_folder import TRACE, check_folder, open_run, save_run
from lava_runtime.streaming import trace_file
from lava_runtime.trace import Trace
from netx_export.command_line import exit_code, print_table, provenance, require_torch
from netx_export.errors import ConfigError, RecordingError, RunError
from netx_export.graph import Graph
from netx_export.netx.inspection import inspection_of
from training.checkpoints import shipped
from training.coco_files import save_frames, write_coco, write_frames
from training.config import DetectorTask
from training.detection import DetectionScores
from training.scoring import decode_outputs, score_windows, silence_after, task_of
from training.sources import UNSEEN_SEED, EvaluationSet, open_windows
from training.window_jobs import DataSet, find_cubes, open_data_set
from training.window_results import read_results, result_files

SOME_FAILED = 4
"""Exit code of a run that had to leave recordings out."""

EXAMPLES = """
examples:
  python run_lava.py --backend sim                     the shipped detector in Lava's CPU simulator
  python run_lava.py --backend sim --models stock      the same with Lava's own process models (slow)
  python run_lava.py my.net --data recordings/         a folder of *_td.dat + *_bbox.npy, scored with pycocotools
  python run_lava.py my.net --data drive_td.dat        one recording, cut into windows
  python run_lava.py my.net --inspect                  what is inside a .net file; nothing is run
  python run_lava.py --compare runs/a runs/b           two runs of one network: where do they part first?
  python energy_report.py runs/tiny-sim                afterwards: what the run costs on a chip

a whole data set, hours of it:
  python run_lava.py my.net --data recordings/ --windows all --workers 8
  python run_lava.py my.net --data drive.raw --windows all --drop-outputs
  python run_lava.py my.net --data /shared/recordings/ --windows all --scheduler tcp://10.0.0.1:8786

Results are the same to the byte whatever the number of workers. Finished chunks of 16 windows are kept in the run folder:
after Ctrl-C, or when a machine died, the same command goes on where it stopped. A recording that cannot be read is named
and left out. Recordings are read piece by piece, so memory does not grow with their length; only boxes that are scored
stay in memory. On a cluster of several machines every worker needs Basalt, and the recordings under the same path.

The run folder holds trace.h5 (spike counts, outputs, probes), detections.json and truth.json (COCO), run.json
(scores, versions, command line) and network.net. Exit codes: 0 done, 1 --compare found a difference, 2 a mistake in the
input, 3 no such backend here, 4 done, but recordings were left out, 130 interrupted.
"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="run_lava.py", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, seed=UNSEEN_SEED)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Load, run, decode, score, save, print."""
    options = parse(arguments)
    if options.compare:
        return compare_runs(options)
    for given, option in ((options.compared_network, "--network"), (options.picture, "--picture")):
        if given:
            raise ConfigError(f"{option} {given} belongs to --compare A.h5 B.h5; give that too, or leave it out")
    if options.inspect and options.network:
        print("\n".join(netx_export.inspect(options.network).rows()))
        return 0
    graph, name = load_network(options.network)
    if options.inspect:
        print("\n".join(inspection_of(graph).rows()))
        return 0
    out = options.out or Path("runs") / f"{name}-{options.backend}"
    check_folder(out)
    task = task_of(graph.meta, name)
    probes = Probes(rasters=selection(options.probe), states=selection(options.states))
    lava_runtime.ready(graph, backend=options.backend, probes=probes, **backend_options(options))
    if options.backend == "fast" and not options.checkpoint:
        return run_data_set(options, graph, task, probes, out)
    return run_in_memory(options, graph, task, probes, out)


def compare_runs(options: argparse.Namespace) -> int:
    """Two traces side by side; 1 where they differ."""
    first, second = options.compare
    graph, mine, theirs = load_traces(
        (first, second), options.compared_network or options.network, read_network=netx_export.read
    )
    found = compare_traces(graph, mine, theirs)
    print(found)
    if found.divergence is not None:
        # Imported here: plotting takes seconds to load.
        from hw_profiles.divergence_picture import draw_divergence

        picture = options.picture or (first if first.is_dir() else first.parent) / "divergence.png"
        try:
            draw_divergence(found.divergence, mine, theirs, picture, names=(str(first), str(second)))
            print(f"both over each other: {picture}")
        except RunError as error:
            print(f"no picture: {error}")
    return 0 if found.equal else 1


def run_data_set(options: argparse.Namespace, graph: Graph, task: DetectorTask, probes: Probes, out: Path) -> int:
    """Chunk by chunk, here or on a cluster: any length of recording, any number of them."""
    on_cluster = options.workers is not None or options.scheduler is not None
    threads = options.threads or (1 if on_cluster else None)
    settings = Settings(probes=probes, outputs=not options.drop_outputs, threads=threads)
    after = silence_after(graph, task)
    data = open_data_set(options.data, task, limit=options.windows, seed=options.seed, after=after)
    store = ChunkStore(out)
    store.open({**settings.identity(graph), "data set": data.identity}, restart=options.restart)
    started = time.perf_counter()
    place = (
        cluster(graph, settings, workers=options.workers, scheduler=options.scheduler)
        if on_cluster
        else nullcontext(compute_here(graph, settings))
    )
    with stop_requests(at_once=not on_cluster) as check, place as compute:
        finished = finish_chunks(
            graph, data.jobs(), store, settings, compute, total=data.limit, progress=True, check=check
        )
    seconds = time.perf_counter() - started
    left_out = {**data.unreadable, **finished.failures}
    if not finished.good:
        raise RecordingError(nothing_to_show(data, left_out))
    if finished.resumed:
        print(f"{finished.resumed} of {len(finished.jobs)} chunks were finished before")
    scores: dict[str, DetectionScores] = {}
    # The command line names workers and folders: it stands in run.json, so that results do not depend on it.
    versions = {library: text for library, text in provenance().items() if library != "command"}
    # SIGTERM, too, leaves no temporary files behind.
    with stop_requests(at_once=True), open_run(out, graph, write_network=netx_export.write) as facts:
        with (
            trace_file(out / TRACE, graph, outputs=settings.outputs, meta=versions) as traces,
            result_files(out, labelled=data.labelled) as results,
        ):
            for _, chunk in finished.chunks(store, progress=True):
                traces.append(chunk.trace)
                for window in read_results(chunk.result):
                    results.add(window)
        chosen = results.frames.chosen()
        save_frames(out / FRAMES, chosen, find_cubes((job for _, job in finished.good), chosen), task)
        if data.labelled:
            scores["fast"] = results.scores()
        trace = traces.summary.trace()
        facts.update(facts_of("fast", data, results.windows, results.empty, seconds, scores), left_out=left_out)
    store.remove()
    print_run(facts, trace, graph, scores, results.confident, out)
    for reason in left_out.values():
        print(f"left out: {reason}", file=sys.stderr)
    if left_out:
        print(f"{len(left_out)} recording{'' if len(left_out) == 1 else 's'} left out; see above.", file=sys.stderr)
    return SOME_FAILED if left_out else 0


def nothing_to_show(data: DataSet, left_out: Mapping[str, str]) -> str:
    """Why a data set gave no result at all."""
    if not left_out:
        return f"{data.origin}: holds no annotated moment; give recordings with boxes or times"
    first = next(iter(left_out.values()))
    return first if len(left_out) == 1 else f"none of the {len(left_out)} recordings can be read; the first: {first}"


def run_in_memory(options: argparse.Namespace, graph: Graph, task: DetectorTask, probes: Probes, out: Path) -> int:
    """All windows as one batch: the simulator, the board, and runs scored beside their checkpoint."""
    path = one_source(options)
    if options.checkpoint:
        require_torch("Scoring a checkpoint (--checkpoint)")
    data = open_windows(path, task, limit=options.windows, seed=options.seed, progress=True)
    scores = {}
    if options.checkpoint:
        if not data.labelled:
            raise ConfigError(
                f"--checkpoint scores against boxes, {data.origin} is one file without them; give its folder, or leave "
                "--checkpoint out"
            )
        from training.quantised_evaluation import score_training_forms

        scores = score_training_forms(options.checkpoint, graph, data, progress=True)

    started = time.perf_counter()
    trace = lava_runtime.run(
        graph,
        data.cubes(after=silence_after(graph, task)),
        backend=options.backend,
        probes=probes,
        progress=True,
        **backend_options(options),
    )
    seconds = time.perf_counter() - started
    detections = decode_outputs(trace.values(graph), task)
    if data.labelled:
        scores[options.backend] = score_windows(data, detections)

    def write_results(folder: Path) -> None:
        write_coco(folder, data.windows, detections, labelled=data.labelled)
        write_frames(folder / FRAMES, data, task)

    facts = facts_of(options.backend, data, len(data.windows), data.empty, seconds, scores)
    save_run(
        out,
        graph,
        replace(trace, meta={**trace.meta, **provenance()}),
        write_network=netx_export.write,
        write_results=write_results,
        facts=facts,
    )
    print_run(facts, trace, graph, scores, sum(len(boxes.above(0.3)) for boxes in detections), out)
    return 0


def one_source(options: argparse.Namespace) -> Path | None:
    """The only source of data; ConfigError for options that need the runs of `run_data_set`."""
    what = f"backend {options.backend}" if options.backend != "fast" else "--checkpoint"
    for given, name in (
        (options.workers is not None, "--workers"),
        (options.scheduler is not None, "--scheduler"),
        (options.windows is None, "--windows all"),
        (len(options.data) > 1, "more than one --data"),
        (options.drop_outputs, "--drop-outputs"),
    ):
        if given:
            raise ConfigError(f"{name} is for backend fast without --checkpoint, {what} was asked for; leave one out")
    return options.data[0] if options.data else None


def facts_of(
    backend: str,
    data: DataSet | EvaluationSet,
    windows: int,
    empty: int,
    seconds: float,
    scores: Mapping[str, DetectionScores],
) -> dict[str, Any]:
    """What run.json says of a run."""
    return {
        "backend": backend,
        "provenance": provenance(),
        "windows": windows,
        "empty_windows": empty if data.labelled else None,
        "data": data.origin,
        "events_decoded": data.events,
        "labelled": data.labelled,
        "seconds": round(seconds, 3),
        "scores": {stage: score.to_json() for stage, score in scores.items()},
    }


def print_run(
    facts: Mapping[str, Any],
    trace: Trace,
    graph: Graph,
    scores: Mapping[str, DetectionScores],
    confident: int,
    out: Path,
) -> None:
    """The run in a few lines."""
    spikes, synops, count = trace.total_spikes(graph), sum(trace.synops(graph).values()), facts["windows"]
    empty = f" ({facts['empty_windows']} without objects)" if facts["labelled"] else ""
    decoded = f" ({facts['events_decoded']:,} events decoded)" if facts["events_decoded"] is not None else ""
    print(
        f"{count} window{'' if count == 1 else 's'}{empty} from {facts['data']}{decoded}, backend {facts['backend']}: "
        f"{facts['seconds']:.1f} s"
    )
    print(f"per window: {spikes / count:,.0f} spikes, {synops / count:,.0f} synaptic operations")
    if scores:
        print_table(
            ("", "AP", "AP50", "AP50 car", "AP50 pedestrian"),
            [
                (stage, *(f"{x:.3f}" for x in (score.ap, score.ap50, *score.ap50_per_class.values())))
                for stage, score in scores.items()
            ],
        )
    else:
        print(f"{confident} detections above score 0.3 (the recording has no boxes to score against)")
    print(f"results in {out}/: trace.h5, run.json, detections.json{', truth.json' if facts['labelled'] else ''}")


def load_network(path: Path | None) -> tuple[Graph, str]:
    """The graph and a short name; without a path the shipped checkpoint is exported on the way (needs torch)."""
    if path is not None:
        return netx_export.read(path), path.stem
    from export_netx import export_checkpoint

    return export_checkpoint(shipped("tiny")).graph, "tiny"


def selection(names: list[str]) -> Any:
    """Population names, or 'all'."""
    return "all" if "all" in names else tuple(names)


def backend_options(options: argparse.Namespace) -> dict[str, object]:
    """What the chosen backend takes from the command line."""
    taken: dict[str, dict[str, object]] = {"sim": {"models": options.models}, "fast": {"threads": options.threads}}
    return taken.get(options.backend, {})


if __name__ == "__main__":
    sys.exit(exit_code(main))
