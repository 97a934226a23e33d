"""One training run from settings to a scored checkpoint, and the evaluation of a checkpoint: what train.py calls."""

from __future__ import annotations

import dataclasses
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import torch

from netx_export.errors import ConfigError
from netx_export.files import folder_obstacle
from training.checkpoints.files import load_model, save_model
from training.checkpoints.info import CheckpointInfo
from training.checkpoints.resume import check_resume
from training.config import Preset, preset
from training.evaluation import Evaluation, evaluate_model
from training.loop import CHECKPOINT, RESUME, describe, train
from training.sources import UNSEEN_SEED, open_windows
from training.warm_up import fill_cache
from training.window_store import WindowStore, generated_windows, stored_windows
from training.windows import WindowSet

EVALUATION_WINDOWS = 320
"""Windows of unseen recordings that score a checkpoint."""

DEFAULT_THREADS = 2
"""Fixed, not the number of cores, so that the same command gives the same network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What was asked for on the command line; None means what the preset says.

    `data` is a folder of GEN1 pairs (None: generated recordings), `out` the folder of the results.
    """

    preset: str = "tiny"
    updates: int | None = None
    seed: int | None = None
    data: Path | None = None
    out: Path = Path("runs/tiny")
    resume: bool = False
    threads: int = DEFAULT_THREADS
    windows: int = EVALUATION_WINDOWS

    def resolved(self) -> Preset:
        """The preset with what was asked for put in; raises ConfigError for a setting outside its limits."""
        chosen = preset(self.preset)
        asked = {name: value for name in ("updates", "seed") if (value := getattr(self, name)) is not None}
        return dataclasses.replace(chosen, training=dataclasses.replace(chosen.training, **asked))

    def command(self) -> str:
        """The command that repeats this run: all that changes its result, and nothing else."""
        words = ["python", "train.py", "--preset", self.preset]
        if self.updates is not None:
            words += ["--updates", str(self.updates)]
        if self.seed is not None:
            words += ["--seed", str(self.seed)]
        if self.data is not None:
            words += ["--data", str(self.data)]
        if self.threads != DEFAULT_THREADS:
            words += ["--threads", str(self.threads)]
        return shlex.join(words)

    def data_name(self) -> str:
        """What a checkpoint says about its data: the folder's own name, or "generated"."""
        return "generated" if self.data is None else self.data.resolve().name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A checkpoint, its description with scores, its evaluation, and the seconds that data and updates took."""

    checkpoint: Path
    info: CheckpointInfo
    evaluation: Evaluation
    data_s: float
    training_s: float


def run_training(request: TrainingRequest, *, progress: bool = False) -> RunResult:
    """Make or read windows, train, score on unseen recordings, write the checkpoint with its scores.

    Trained on a folder, the network is scored on unseen generated recordings all the same; `run_evaluation` scores it on
    a folder. Raises BasaltError for anything that the user can mend.
    """
    chosen = request.resolved()
    fill_cache(request.preset, request.threads)
    set_threads(request.threads)
    _check_before_work(chosen, request)
    began = time.perf_counter()
    windows = _training_windows(chosen, request, progress)
    ready = time.perf_counter()
    module, info = train(
        chosen,
        windows,
        request.out,
        command=request.command(),
        data=request.data_name(),
        resume=request.resume,
        progress=progress,
    )
    trained = time.perf_counter()
    unseen = open_windows(None, chosen.task, limit=request.windows, progress=progress)
    evaluation = evaluate_model(module, chosen.task, unseen, progress=progress)
    info = dataclasses.replace(info, scores=evaluation.summary())
    path = request.out / CHECKPOINT
    save_model(path, module, info)
    return RunResult(
        checkpoint=path, info=info, evaluation=evaluation, data_s=ready - began, training_s=trained - ready
    )


def run_evaluation(
    checkpoint: Path,
    *,
    data: Path | None = None,
    windows: int | None = None,
    threads: int = DEFAULT_THREADS,
    progress: bool = False,
) -> tuple[CheckpointInfo, Evaluation]:
    """Score a checkpoint on a folder of GEN1 pairs (all its windows) or on unseen generated recordings."""
    set_threads(threads)
    module, info = load_model(checkpoint)
    if data is not None and not data.is_dir():
        raise ConfigError(f"{data}: is no folder; give a folder of *_td.dat recordings with their *_bbox.npy")
    if windows is None:
        windows = EVALUATION_WINDOWS if data is None else max(1, len(WindowSet(data, info.task.binning())))
    unseen = open_windows(data, info.task, limit=windows, progress=progress)
    return info, evaluate_model(module, info.task, unseen, progress=progress)


def set_threads(threads: int) -> None:
    """Threads for torch and for the compiled loops; raises ConfigError below 1."""
    if threads < 1:
        raise ConfigError(f"threads is {threads}; use at least 1")
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def _check_before_work(chosen: Preset, request: TrainingRequest) -> None:
    """Raise now what would otherwise be found out only after minutes of work."""
    if request.windows < 1:
        raise ConfigError(f"windows = {request.windows}; score on at least 1 window")
    obstacle = folder_obstacle(request.out)
    if obstacle is not None:
        raise ConfigError(f"{request.out}: cannot hold results, {obstacle}; choose another folder")
    if request.resume:
        check_resume(request.out / RESUME, describe(chosen, command="", data=request.data_name()))


def _training_windows(chosen: Preset, request: TrainingRequest, progress: bool) -> WindowStore:
    if request.data is not None:
        return stored_windows(chosen.task, request.data, progress=progress)
    config = chosen.training
    # A short run looks at few windows: more need not be made.
    count = min(config.windows, config.updates * config.batch)
    recordings = -(-count // max(1, int((config.recording_s - 0.35) * config.annotation_hz)))
    if config.first_recording + recordings > UNSEEN_SEED:
        raise ConfigError(
            f"training first_recording is {config.first_recording}: {count} windows reach the seeds from "
            f"{UNSEEN_SEED} on, which are kept for evaluation; start lower"
        )
    return generated_windows(
        chosen.task,
        count=count,
        first_seed=config.first_recording,
        recording_s=config.recording_s,
        annotation_hz=config.annotation_hz,
        # Recordings are the same however many threads make them.
        threads=os.cpu_count() or 1,
        progress=progress,
    )
