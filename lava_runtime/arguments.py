"""The options of run_lava.py, in groups."""

from __future__ import annotations

import argparse
from pathlib import Path

from lava_runtime.backend import BACKENDS


def add_arguments(parser: argparse.ArgumentParser, *, seed: int) -> None:
    """Add every option; `seed` is the first one of generated recordings."""
    parser.add_argument("network", nargs="?", type=Path, help="a .net file (default: the shipped detector, exported)")
    _add_backend(parser.add_argument_group("where to run"))
    _add_data(parser.add_argument_group("what to run it on"), seed)
    _add_records(parser.add_argument_group("what to keep"))
    _add_comparison(parser.add_argument_group("comparing two runs instead of running"))
    _add_scale(parser.add_argument_group("a data set on many cores or machines (backend fast)"))


def _add_backend(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--backend", choices=list(BACKENDS), default="fast", help="(default: %(default)s)")
    group.add_argument(
        "--models",
        choices=("compiled", "stock"),
        default="compiled",
        help="sim: this project's process models or Lava's own (default: %(default)s)",
    )
    group.add_argument(
        "--threads", type=int, help="fast: threads of the engine (default: all cores; 1 per worker on a cluster)"
    )
    group.add_argument("--inspect", action="store_true", help="print the network's layers and stop")


def _add_data(group: argparse._ArgumentGroup, seed: int) -> None:
    group.add_argument(
        "--data",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="a recording (*.dat, *.raw) or a folder of them; may be repeated (default: generated, unseen)",
    )
    group.add_argument(
        "--windows", type=_windows, default=32, metavar="N|all", help="at most this many windows (default: %(default)s)"
    )
    group.add_argument("--seed", type=int, default=seed, help="first seed of generated recordings")
    group.add_argument("--checkpoint", type=Path, help="also score the float and the quantised model (needs torch)")


def _add_records(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--out", type=Path, help="run folder (default: runs/<network>-<backend>)")
    group.add_argument("--probe", action="append", default=[], metavar="POPULATION", help="record its spikes ('all')")
    group.add_argument("--states", action="append", default=[], metavar="POPULATION", help="record its u and v ('all')")
    group.add_argument(
        "--drop-outputs",
        action="store_true",
        help="fast: leave raw output values out of trace.h5, which they make large in long runs; boxes are kept",
    )


def _add_comparison(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A.h5", "B.h5"),
        help="two traces or run folders of one network: name the first population, step and neuron where they differ",
    )
    group.add_argument(
        "--network", dest="compared_network", type=Path, metavar="NET", help="(default: network.net beside the traces)"
    )
    group.add_argument(
        "--picture", type=Path, metavar="PNG", help="both rasters over each other (default: divergence.png beside A.h5)"
    )


def _add_scale(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--workers", type=int, metavar="N", help="spread windows over N processes of this machine")
    group.add_argument(
        "--scheduler", metavar="ADDRESS", help="spread them over a Dask cluster: tcp://HOST:8786 of its scheduler"
    )
    group.add_argument(
        "--restart", action="store_true", help="discard what an interrupted run left, instead of going on from there"
    )


def _windows(text: str) -> int | None:
    """A number, or None for all."""
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor 'all'") from None
