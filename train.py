"""Train a spiking detector, or score one: python train.py --help"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from netx_export.command_line import exit_code, require_torch

DESCRIPTION = """\
Train a spiking detector on event-camera windows and score it on recordings it has never seen.

Without --data, traffic scenes are generated (the same ones every time): nothing needs to be downloaded.
Everything goes into --out:
  model.safetensors    the network, with its settings, this command and its scores beside the weights
  resume.safetensors   the run itself: stop it with Ctrl-C, go on with --resume and the same settings
  curves.png, .csv     losses and learning rate over the updates
"""

EXAMPLES = """\
examples:
  python train.py                                   about 4 minutes, recordings included
  python train.py --updates 6000 --out runs/longer  more updates find more pedestrians
  python train.py --resume                          go on with a run that was interrupted
  python train.py --data recordings/                a folder of GEN1 pairs *_td.dat, *_bbox.npy
  python -m training.make_recordings recordings/    makes such a folder
  python train.py --evaluate runs/tiny/model.safetensors
  python train.py slayer --preset tiny              lava-dl's SLAYER instead: a detector and a classifier
next: python export_netx.py runs/tiny/model.safetensors
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="train.py",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--preset", default="tiny", help="tiny (default) or full (30 GB of memory, days)")
    made.add_argument("--updates", type=int, help="optimiser steps; more is slower and better (default: the preset's)")
    made.add_argument("--seed", type=int, help="seed of weights, order and mirroring (default: the preset's)")
    made.add_argument("--data", type=Path, metavar="FOLDER", help="GEN1-style folder (default: generated recordings)")
    made.add_argument("--out", type=Path, metavar="FOLDER", help="where results go (default: runs/<preset>)")
    made.add_argument("--resume", action="store_true", help="go on from resume.safetensors in --out, to the bit")
    made.add_argument("--evaluate", type=Path, metavar="CKPT", help="score this checkpoint instead of training")
    made.add_argument(
        "--threads", type=int, default=2, help="processor threads (default: 2; on a busy machine 1 is faster)"
    )
    made.add_argument("--windows", type=int, help="windows to score on (default: 320; all of a folder with --evaluate)")
    made.add_argument("--quiet", action="store_true", help="no progress bars")
    return made


SLAYER_DESCRIPTION = """\
Train networks of lava-dl's SLAYER blocks on generated recordings, and score them on recordings they have never seen:
  detector     cuba convolutions, three skips by concatenation, a head for classes and one for boxes
  classifier   of crops with a car, a pedestrian or neither: cuba blocks with learned axonal delays and a recurrent layer
Their weights are trained in eight bits, so what is exported equals what was trained. Needs lava-dl (Python 3.10).
Each network goes into --out as <network>.safetensors.
next: python export_netx.py runs/slayer/detector.safetensors --verify 20
"""


def slayer_parser() -> argparse.ArgumentParser:
    """The command line of `train.py slayer`."""
    made = argparse.ArgumentParser(
        prog="train.py slayer", description=SLAYER_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--network", choices=("both", "detector", "classifier"), default="both", help="(default: both)")
    made.add_argument("--preset", default="tiny", help="tiny (default, minutes) or smoke (seconds, learns nothing)")
    made.add_argument("--updates", type=int, help="optimiser steps of each network (default: the preset's)")
    made.add_argument("--seed", type=int, default=0, help="seed of weights and order (default: 0)")
    made.add_argument("--out", type=Path, default=Path("runs/slayer"), metavar="FOLDER", help="(default: runs/slayer)")
    made.add_argument("--threads", type=int, default=2, help="processor threads (default: 2)")
    made.add_argument("--windows", type=int, default=150, help="windows to score on (default: 150)")
    made.add_argument("--quiet", action="store_true", help="no progress bars")
    return made


def train_slayer(arguments: list[str]) -> int:
    """`train.py slayer`: parse, call, print."""
    options = slayer_parser().parse_args(arguments)
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    require_torch("Training")
    from training.slayer.runs import SlayerRequest, run_slayer_training

    for network in ("detector", "classifier") if options.network == "both" else (options.network,):
        request = SlayerRequest(
            network=network,
            preset=options.preset,
            updates=options.updates,
            seed=options.seed,
            out=options.out,
            threads=options.threads,
            windows=options.windows,
        )
        result = run_slayer_training(request, progress=not options.quiet)
        print(f"{network}: {result.info.settings.updates} updates in {result.training_s:.0f} s")
        for name, value in result.info.scores.items():
            print(f"  {name:<22}{value:.3f}")
        print(f"checkpoint: {result.checkpoint}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Parse, call, print; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["slayer"]:
        return train_slayer(given[1:])
    options = parser().parse_args(arguments)
    # Read when torch loads: on a busy machine, threads that spin while they wait starve those that work.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    require_torch("Training")
    # Imported here so that --help answers at once.
    from training.runs import EVALUATION_WINDOWS, TrainingRequest, run_evaluation, run_training

    if options.evaluate is not None:
        info, evaluation = run_evaluation(
            options.evaluate,
            data=options.data,
            windows=options.windows,
            threads=options.threads,
            progress=not options.quiet,
        )
        print(f"{options.evaluate}: {info.preset}, {info.updates} updates, made by `{info.command}`")
        print(evaluation.table())
        return 0
    result = run_training(
        TrainingRequest(
            preset=options.preset,
            updates=options.updates,
            seed=options.seed,
            data=options.data,
            out=options.out or Path("runs") / options.preset,
            resume=options.resume,
            threads=options.threads,
            windows=EVALUATION_WINDOWS if options.windows is None else options.windows,
        ),
        progress=not options.quiet,
    )
    print(f"{result.info.updates} updates in {result.training_s:.0f} s, windows in {result.data_s:.0f} s")
    print(result.evaluation.table())
    print(f"checkpoint: {result.checkpoint}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
