"""Run a network on recordings: in Lava's simulator, in the compiled engine, or on a Loihi 2 board."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import lava_runtime
import netx_export
from hw_profiles.run_frames import FRAMES
from lava_runtime import BACKENDS, Probes
from lava_runtime.run_folder import check_folder, save_run
from netx_export.command_line import exit_code, print_table, provenance, require_torch
from netx_export.errors import ConfigError
from netx_export.graph import Graph
from netx_export.netx.describe import describe
from training.checkpoints import shipped
from training.coco_files import write_coco, write_frames
from training.scoring import decode_outputs, score_windows, task_of
from training.sources import UNSEEN_SEED, open_windows

EXAMPLES = """
examples:
  python run_lava.py --backend sim                     the shipped detector in Lava's CPU simulator
  python run_lava.py --backend sim --models stock      the same with Lava's own process models (slow)
  python run_lava.py my.net --data recordings/         a folder of *_td.dat + *_bbox.npy, scored with pycocotools
  python run_lava.py my.net --data drive_td.dat        one recording, cut into windows
  python run_lava.py my.net --inspect                  what is inside a .net file; nothing is run
  python energy_report.py runs/tiny-sim                afterwards: what the run costs on a chip

The run folder holds trace.h5 (spike counts, outputs, probes), detections.json and truth.json (COCO), run.json
(scores, versions, command line) and network.net. Exit codes: 0 done, 2 a mistake in the input, 3 no such backend here.
"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="run_lava.py", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", type=Path, help="a .net file (default: the shipped detector, exported)")
    parser.add_argument("--backend", choices=list(BACKENDS), default="fast", help="where to run (default: %(default)s)")
    parser.add_argument(
        "--models",
        choices=("compiled", "stock"),
        default="compiled",
        help="sim: this project's process models or Lava's own (default: %(default)s)",
    )
    parser.add_argument("--data", type=Path, help="a *.dat file or a folder of recordings (default: generated, unseen)")
    parser.add_argument("--windows", type=int, default=32, help="at most this many windows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=UNSEEN_SEED, help="first seed of generated recordings")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/<network>-<backend>)")
    parser.add_argument("--probe", action="append", default=[], metavar="POPULATION", help="record its spikes ('all')")
    parser.add_argument(
        "--states", action="append", default=[], metavar="POPULATION", help="record its u and v ('all')"
    )
    parser.add_argument("--checkpoint", type=Path, help="also score the float and the quantised model (needs torch)")
    parser.add_argument("--threads", type=int, help="fast: worker threads (default: all cores)")
    parser.add_argument("--inspect", action="store_true", help="print the network's layers and stop")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Load, run, decode, score, save, print."""
    options = parse(arguments)
    graph, name = load_network(options.network)
    if options.inspect:
        print("\n".join(describe(graph)))
        return 0
    out = options.out or Path("runs") / f"{name}-{options.backend}"
    check_folder(out)
    task = task_of(graph.meta, name)
    probes = Probes(rasters=selection(options.probe), states=selection(options.states))
    lava_runtime.ready(graph, backend=options.backend, probes=probes, **backend_options(options))
    if options.checkpoint:
        require_torch("Scoring a checkpoint (--checkpoint)")
    data = open_windows(options.data, task, limit=options.windows, seed=options.seed, progress=True)
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
        graph, data.cubes(), backend=options.backend, probes=probes, progress=True, **backend_options(options)
    )
    seconds = time.perf_counter() - started

    detections = decode_outputs(trace.values(graph), task)
    if data.labelled:
        scores[options.backend] = score_windows(data, detections)

    def write_results(folder: Path) -> None:
        write_coco(folder, data.windows, detections, labelled=data.labelled)
        write_frames(folder / FRAMES, data, task)

    save_run(
        out,
        graph,
        replace(trace, meta={**trace.meta, **provenance()}),
        write_network=netx_export.write,
        write_results=write_results,
        facts={
            "provenance": provenance(),
            "windows": len(data.windows),
            "empty_windows": data.empty if data.labelled else None,
            "data": data.origin,
            "events_decoded": data.events,
            "labelled": data.labelled,
            "seconds": round(seconds, 3),
            "scores": {stage: score.to_json() for stage, score in scores.items()},
        },
    )
    spikes, synops = trace.total_spikes(graph), sum(trace.synops(graph).values())
    count = len(data.windows)
    empty = f" ({data.empty} without objects)" if data.labelled else ""
    decoded = f" ({data.events:,} events decoded)" if data.events is not None else ""
    print(
        f"{count} window{'' if count == 1 else 's'}{empty} from {data.origin}{decoded}, backend {options.backend}: {seconds:.1f} s"
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
        found = sum(len(boxes.above(0.3)) for boxes in detections)
        print(f"{found} detections above score 0.3 (the recording has no boxes to score against)")
    print(f"results in {out}/: trace.h5, run.json, detections.json{', truth.json' if data.labelled else ''}")
    return 0


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
