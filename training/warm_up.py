"""Compile the loops of training before a run: python -m training.warm_up tiny 2

Loops that are compiled in the running process round differently from the same loops loaded from numba's cache. Two
updates in a process of their own fill the cache, so that the first run on a machine trains the same network as every
later one.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile

from training.config import preset


def fill_cache(name: str, threads: int) -> None:
    """Run this module in a process of its own; what it prints is dropped, a failure will show in the run itself."""
    subprocess.run([sys.executable, "-m", "training.warm_up", name, str(threads)], check=False, capture_output=True)


def main(name: str, threads: int) -> None:
    """Two updates and one evaluation of a preset, forgotten at once."""
    from training.evaluation import evaluate_model
    from training.loop import train
    from training.runs import set_threads
    from training.sources import open_windows
    from training.window_store import generated_windows

    set_threads(threads)
    chosen = preset(name)
    config = chosen.training
    chosen = dataclasses.replace(chosen, training=dataclasses.replace(config, updates=2))
    windows = generated_windows(
        chosen.task,
        count=2 * config.batch,
        first_seed=0,
        recording_s=config.recording_s,
        annotation_hz=config.annotation_hz,
    )
    with tempfile.TemporaryDirectory() as folder:
        module, _ = train(chosen, windows, folder)
    evaluate_model(module, chosen.task, open_windows(None, chosen.task, limit=1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
