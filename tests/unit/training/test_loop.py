"""The training loop: learning, exact resume, curves, and the command line around it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from netx_export.command_line import exit_code  # noqa: E402
from netx_export.errors import CheckpointError, ConfigError  # noqa: E402
from train import main  # noqa: E402
from training.checkpoints.files import load_model  # noqa: E402
from training.config import CenterNetConfig, DetectorTask, Preset, TrainingConfig  # noqa: E402
from training.event_files import BOX_DTYPE  # noqa: E402
from training.interrupts import deferred_interrupt  # noqa: E402
from training.loop import WindowOrder, learning_rate, start, train, update  # noqa: E402
from training.runs import TrainingRequest, run_training, set_threads  # noqa: E402
from training.window_store import WindowStore, generated_windows  # noqa: E402
from training.windows import Window  # noqa: E402

ROOT = Path(__file__).parents[3]
SMALL = Preset(
    name="small",
    task=DetectorTask(steps=3, scale=8, grid=(32, 48)),
    model=CenterNetConfig(
        stem_channels=4, stem_kernel=3, stages=(4, 6), convolutions=1, head_channels=4, head_norm=True
    ),
    training=TrainingConfig(updates=14, windows=9, checkpoint_every=5, seed=3),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and lose much of their time on a busy machine."""
    before = torch.get_num_threads(), numba.get_num_threads()
    set_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


@pytest.fixture(scope="module")
def windows() -> WindowStore:
    """Nine windows with a bright block that is a car; two of them empty."""
    store = WindowStore(SMALL.task)
    generator = np.random.default_rng(0)
    for number in range(9):
        cube = (generator.random(SMALL.task.binning().shape) < 0.02).astype(np.uint8)
        boxes = np.zeros(int(number % 4 != 3), dtype=BOX_DTYPE)
        if boxes.size:
            column, row = int(generator.integers(0, 26)), int(generator.integers(0, 20))
            cube[:, :, row : row + 8, column : column + 10] |= (generator.random((3, 4, 8, 10)) < 0.5).astype(np.uint8)
            boxes[0] = (number, column * 8, row * 8, 80, 64, 0, 1, 1.0)
        store.add(Window(name=f"w{number}", t_end_us=number, cube=cube, boxes=boxes))
    return store


@pytest.mark.parametrize("stop", [5, 8])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, windows: WindowStore, stop: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(SMALL, windows, whole)
    train(SMALL, windows, parts, stop_after=stop)
    torch.manual_seed(99)
    train(SMALL, windows, parts, resume=True)
    for name in ("model.safetensors", "resume.safetensors", "curves.csv"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_ctrl_c_saves_the_run_at_the_update_where_it_stopped(
    tmp_path: Path, windows: WindowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(SMALL, windows, whole)

    def interrupted(*arguments: Any) -> Any:
        row = update(*arguments)
        if arguments[3] == 6:
            signal.raise_signal(signal.SIGINT)
        return row

    with monkeypatch.context() as patch:
        patch.setattr("training.loop.update", interrupted)
        with pytest.raises(KeyboardInterrupt, match="stopped after update 7 of 14; go on with --resume"):
            train(SMALL, windows, parts)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(SMALL, windows, parts, resume=True)
    for name in ("model.safetensors", "resume.safetensors", "curves.csv"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with deferred_interrupt() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:

        def elsewhere() -> bool:
            with deferred_interrupt() as asked:
                return asked()

        assert not pool.submit(elsewhere).result()


def test_curves_and_description(tmp_path: Path, windows: WindowStore) -> None:
    module, info = train(SMALL, windows, tmp_path, command="python train.py")
    assert not module.training
    assert (info.updates, info.command, info.preset) == (14, "python train.py", "small")
    assert load_model(tmp_path / "model.safetensors")[1] == info
    table = np.genfromtxt(tmp_path / "curves.csv", delimiter=",", names=True)
    assert table["update"].tolist() == list(range(1, 15))
    assert np.isfinite(table["total"]).all()
    np.testing.assert_allclose(table["learning_rate"], [learning_rate(n, SMALL.training) for n in range(14)], rtol=1e-5)
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_it_learns(tmp_path: Path, windows: WindowStore) -> None:
    longer = dataclasses.replace(SMALL, training=dataclasses.replace(SMALL.training, updates=100, checkpoint_every=100))
    train(longer, windows, tmp_path)
    table = np.genfromtxt(tmp_path / "curves.csv", delimiter=",", names=True)
    assert table["total"][-20:].mean() < 0.7 * table["total"][:20].mean()


def test_resume_refuses_other_settings(tmp_path: Path, windows: WindowStore) -> None:
    train(SMALL, windows, tmp_path, stop_after=2)
    other = dataclasses.replace(SMALL, training=dataclasses.replace(SMALL.training, updates=20))
    with pytest.raises(CheckpointError, match=r"this run has training updates = 14, not 20; resume it with the same"):
        train(other, windows, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"this run has data = 'generated', not 'elsewhere'"):
        train(SMALL, windows, tmp_path, resume=True, data="elsewhere")
    with pytest.raises(CheckpointError, match=r"resume\.safetensors: no such file, .* leave --resume out"):
        train(SMALL, windows, tmp_path / "empty", resume=True)
    raw = (tmp_path / "resume.safetensors").read_bytes()
    (tmp_path / "resume.safetensors").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(CheckpointError, match=r"resume\.safetensors: cut or corrupt"):
        train(SMALL, windows, tmp_path, resume=True)


def test_windows_of_another_task_or_none_are_refused(tmp_path: Path, windows: WindowStore) -> None:
    other = dataclasses.replace(SMALL, task=DetectorTask(steps=4, scale=8, grid=(32, 48)))
    with pytest.raises(ConfigError, match="windows were binned for"):
        train(other, windows, tmp_path)
    with pytest.raises(ConfigError, match="there are no windows to train on"):
        train(SMALL, WindowStore(SMALL.task), tmp_path)
    with pytest.raises(ConfigError, match=r"window w has shape \(1, 4, 32, 48\), the task needs \(3, 4, 32, 48\)"):
        windows.add(Window(name="w", t_end_us=0, cube=np.zeros((1, 4, 32, 48), np.uint8), boxes=windows.boxes[0]))


def test_divergence_stops_with_the_update(windows: WindowStore) -> None:
    state = start(SMALL)
    with torch.no_grad():
        state.flat.weights[0] = float("nan")
    with pytest.raises(ConfigError, match=r"training diverged at update 5: gradient norm nan, learning rate 0\.00"):
        update(state, windows, WindowOrder(len(windows), SMALL.training), 4, SMALL.training)


def test_every_window_once_per_epoch_and_half_of_them_mirrored() -> None:
    order = WindowOrder(101, SMALL.training)
    pairs = [order.batch(number) for number in range(101)]
    numbers = [n for batch, _ in pairs for n in batch]
    assert sorted(numbers[:101]) == list(range(101))
    assert sorted(numbers[101:]) == list(range(101))
    assert numbers[:101] != numbers[101:]
    assert 60 < sum(m for _, mirrored in pairs for m in mirrored) < 140
    assert WindowOrder(101, SMALL.training).batch(77) == pairs[77]
    still = WindowOrder(101, dataclasses.replace(SMALL.training, flip=False))
    assert not any(m for number in range(50) for m in still.batch(number)[1])


def test_mirroring_turns_windows_and_boxes_alike() -> None:
    task = DetectorTask()
    store = generated_windows(task, count=3, first_seed=5, recording_s=0.6, threads=2)
    again = generated_windows(task, count=3, first_seed=5, recording_s=0.6, threads=1)
    np.testing.assert_array_equal(store.batch([0, 1, 2]), again.batch([0, 1, 2]))
    plain, turned = store.batch([0, 1]), store.batch([0, 1], [False, True])
    np.testing.assert_array_equal(plain[:, 0], turned[:, 0])
    np.testing.assert_array_equal(plain[:, 1, :, :, :152], turned[:, 1, :, :, 151::-1])
    assert plain.sum() == turned.sum() > 1000
    boxes, mirrored = store.batch_boxes([1])[0], store.batch_boxes([1], [True])[0]
    np.testing.assert_allclose(mirrored["x"] + mirrored["w"], 304 - boxes["x"], rtol=1e-6)


def test_learning_rate_rises_and_falls() -> None:
    config = TrainingConfig(updates=100, warm_up=0.1, learning_rate=1.0)
    rates = [learning_rate(number, config) for number in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[55] == pytest.approx(0.5, abs=0.02)
    assert rates[99] < 0.001


def test_request_repeats_itself_as_a_command() -> None:
    assert TrainingRequest().command() == "python train.py --preset tiny"
    asked = TrainingRequest(updates=9, seed=2, data=Path("my data"), threads=1, out=Path("elsewhere"))
    assert asked.command() == "python train.py --preset tiny --updates 9 --seed 2 --data 'my data' --threads 1"
    assert asked.resolved().training.updates == 9
    assert (TrainingRequest().data_name(), asked.data_name()) == ("generated", "my data")
    assert TrainingRequest(data=Path()).data_name() == Path.cwd().name
    with pytest.raises(ConfigError, match="preset 'huge' is unknown; choose one of full, tiny"):
        TrainingRequest(preset="huge").resolved()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "preset 'huge' is unknown"),
        (["--updates", "0"], "training updates is 0, the limit is 1"),
        (["--threads", "0"], "threads is 0; use at least 1"),
        (["--evaluate", "absent.safetensors"], "absent.safetensors: no such file"),
        (["--data", "absent"], "absent: no such folder; give a folder of *_td.dat recordings"),
        (["--data", str(ROOT / "docs")], "docs: no *_td.dat in this folder"),
        (["--data", str(ROOT / "README.md")], "README.md: no such folder"),
        (["--windows", "0"], "windows = 0; score on at least 1 window"),
        (["--resume"], "resume.safetensors: no such file, there is no run to go on with; leave --resume out"),
    ],
)
def test_command_line_errors_take_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        assert exit_code(lambda: main([*arguments, "--out", str(tmp_path / "out")])) == 2
    text = stream.getvalue()
    assert text.startswith("error: ")
    assert message in text
    assert text.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_found_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    with pytest.raises(ConfigError, match=r"out: cannot hold results, .*mine is a file; choose another folder"):
        run_training(TrainingRequest(out=tmp_path / "mine" / "out"))


def test_a_short_run_makes_few_windows_and_repeats_itself(tmp_path: Path) -> None:
    """The whole way from the command line, twice; then refused as another run's continuation."""
    asked = ["--updates", "2", "--windows", "2", "--threads", "1", "--quiet", "--out"]
    for name in ("one", "other"):
        assert main([*asked, str(tmp_path / name)]) == 0
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other
    with pytest.raises(CheckpointError, match="this run has training updates = 2, not 3; resume it with the same"):
        main([*asked, str(tmp_path / "one"), "--updates", "3", "--resume"])


def test_help_answers_without_torch() -> None:
    probe = "import sys, train; train.parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False, timeout=60).returncode == 0
