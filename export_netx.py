"""Export a trained detector to a NetX `.net` file, and prove that nothing changed on the way."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import netx_export
from netx_export.command_line import exit_code, provenance
from netx_export.graph import Graph
from netx_export.netx.describe import describe
from training.checkpoints import shipped
from training.scoring import TASK_KEY

EXAMPLES = """
examples:
  python export_netx.py                               the shipped tiny Spiking CenterNet to runs/tiny/tiny.net
  python export_netx.py runs/mine/tiny.safetensors --out mine.net
  python export_netx.py --verify 8                    one row per stage, from torch to stock Lava: spikes, mismatches
  python run_lava.py runs/tiny/tiny.net --backend sim afterwards: run it

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
        default=300,
        metavar="N",
        help="with --verify: windows for AP50 before and after quantisation, 0 for none (default: %(default)s)",
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
    checkpoint = options.checkpoint or shipped("tiny")
    graph = export_checkpoint(checkpoint, relays=options.relays, rounding=options.rounding)
    out = options.out or Path("runs") / checkpoint.stem / f"{checkpoint.stem}.net"
    netx_export.write(graph, out)
    print("\n".join(describe(graph)))
    neurons = sum(population.size for population in graph.populations)
    print(f"{out}: {len(graph.populations)} populations, {neurons:,} neurons, {len(graph.projections)} projections,")
    print(f"  latency {max(graph.depth.values())} steps, {out.stat().st_size / 1024:.0f} KiB")
    if not options.verify:
        return 0
    from lava_runtime.verification import verify_export

    return verify_export(checkpoint, out, windows=options.verify)


def export_checkpoint(checkpoint: Path, **settings: Any) -> Graph:
    """The integer graph of a detector's checkpoint, with its task and provenance in `meta`. Needs torch."""
    import torch

    from training.checkpoints.files import load_model

    module, info = load_model(checkpoint)
    example = torch.zeros(info.task.steps, 1, info.task.channels, *info.task.grid)
    meta = {TASK_KEY: json.dumps(info.task.to_json(), sort_keys=True), "checkpoint": checkpoint.name, **provenance()}
    return netx_export.export(module, example, meta=meta, **settings)


if __name__ == "__main__":
    sys.exit(exit_code(main))
