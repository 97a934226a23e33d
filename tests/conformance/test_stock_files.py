"""Files that others wrote, and ours, in lava-dl's own loader and in Lava: the same output in every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")
pytest.importorskip("lava.lib.dl.netx.hdf5", reason="needs lava-nc and lava-dl (Python 3.10)")

import netx_export
from netx_export.graph import Graph, Lif, Rf, RfIz, Sigma, SigmaDelta
from netx_export.netx import layers_out
from tests.conformance.lava_dl_files import TALLIES, Tally, lava_dl, public, run_alone
from tests.conformance.stock_netx_run import StockRun, stock_run
from tests.unit.netx.networks import chained

pytestmark = pytest.mark.lava
TALLY = TALLIES["files in stock Lava, in fast and in sim"] = Tally()


def compare(name: str, graph: Graph, x: npt.NDArray[Any], found: StockRun) -> None:
    """Output of all steps and states of the last layer, stock Lava against the engine; and that against `sim`."""
    trace = run_alone(graph, x, states=True)
    assert trace.first_difference(run_alone(graph, x, "sim", states=True)) is None, f"{name}: fast against sim"
    last = graph.populations[-1]
    TALLY.file(len(x))
    TALLY.same(trace.rasters[last.id].reshape(len(x), -1).astype(np.int64), found.output, f"{name}: output")
    u, v = trace.u[last.id][-1].reshape(-1), trace.v[last.id][-1].reshape(-1)
    names = {Lif: ("u", "v"), Sigma: ("sigma",), SigmaDelta: ("sigma",), Rf: ("real", "imag"), RfIz: ("real", "imag")}
    for state, mine in zip(names[type(last.neuron)], (u, v), strict=False):
        TALLY.same(mine[None].astype(np.int64), found.states[state][None], f"{name}: last {state}", spikes=False)


def numbers(graph: Graph, steps: int, low: int, high: int, seed: int = 3) -> npt.NDArray[Any]:
    """Host values (T,C,H,W) that change every few steps."""
    shape = graph.populations[0].shape
    frames = np.random.default_rng(seed).integers(low, high, (steps // 3 + 1, *shape))
    return np.repeat(frames, 3, axis=0)[:steps]


def spikes(graph: Graph, steps: int, rate: float = 0.3) -> npt.NDArray[Any]:
    return (np.random.default_rng(5).random((steps, *graph.populations[0].shape)) < rate).astype(np.int32)


WHOLE: list[tuple[str, str, int, tuple[int, int], dict[str, Any]]] = [
    ("wheel", "tiny.net", 30, (0, 80), {"reset_interval": 11, "reset_offset": 3}),
    ("wheel", "mnist.net", 20, (0, 140), {}),
    ("wheel", "mnist.net", 20, (0, 140), {"reset_interval": 7}),
    ("wheel", "gts/pilotnet_lif/network.net", 14, (0, 76), {"num_layers": 9}),
    ("wheel", "gts/pilotnet_sdnn/network.net", 12, (-64, 64), {"spike_exp": 4}),
    ("wheel", "gts/pilotnet_sdnn/square_network.net", 10, (-64, 64), {}),
    ("public", "bootstrap_mnist.net", 16, (0, 140), {}),
    ("public", "pilotnet_snn_conv_only.net", 12, (0, 76), {"num_layers": 7}),
    ("public", "ndns_sdnn_delays.net", 8, (-40, 40), {}),
]


@pytest.mark.parametrize(("where", "name", "steps", "span", "options"), WHOLE)
def test_whole_files(where: str, name: str, steps: int, span: tuple[int, int], options: dict[str, Any]) -> None:
    path = lava_dl(name) if where == "wheel" else public(name)
    graph = netx_export.read(path, **options)
    x = numbers(graph, steps, *span)
    found = stock_run(path, x, **options)
    assert found.output.any() or any(state.any() for state in found.states.values())
    compare(name, graph, x, found)


def test_axonal_delays() -> None:
    path = lava_dl("gts/ntidigits/ntidigits.net")
    graph = netx_export.read(path, num_layers=4)
    x = spikes(graph, 36)
    compare("ntidigits", graph, x, stock_run(path, x, num_layers=4))


def test_graded_input_behind_skipped_layers() -> None:
    path = lava_dl("gts/pilotnet_sdnn/square_network.net")
    options = {"skip_layers": 2, "num_layers": 4}
    graph = netx_export.read(path, **options)
    assert graph.populations[0].neuron.message_bits == 24  # type: ignore[union-attr]
    x = numbers(graph, 9, -900, 900)
    compare("square SDNN, layers 2 and 3", graph, x, stock_run(path, x, **options))


@pytest.mark.parametrize("kind", ["sigma_delta", "recurrent", "delayed", "resonant"])
def test_files_that_we_write(kind: str, tmp_path: Path) -> None:
    graph = chained(kind)
    assert layers_out.obstacle(graph) is None
    netx_export.write(graph, tmp_path / "x.net")
    wired = graph.populations[0].neuron.message_bits  # type: ignore[union-attr]
    x = numbers(graph, 60, -30, 60) if wired else spikes(graph, 60)
    found = stock_run(tmp_path / "x.net", x, flat_input=kind in ("delayed", "resonant"))
    assert np.count_nonzero(found.output) > 20
    compare(f"our {kind} network", graph, x, found)
    # The NetX part of the file, as any other reader sees it.
    assert found.output.shape == (60, graph.populations[-1].size)


def test_recurrent_blocks_of_slayer(tmp_path: Path) -> None:
    """Two recurrent blocks as SLAYER writes them, with decays drawn for each neuron."""
    torch = pytest.importorskip("torch")
    import h5py
    from lava.lib.dl import slayer

    torch.manual_seed(1)
    parameters = {"threshold": 0.9, "current_decay": 0.4, "voltage_decay": 0.2, "shared_param": False}
    blocks = [slayer.block.cuba.Recurrent(parameters, n, 7, weight_scale=2) for n in (6, 7)]
    spike = torch.zeros((1, 6, 4))
    for block in blocks:
        spike = block(spike)
    with h5py.File(tmp_path / "x.net", "w") as file:
        for index, block in enumerate(blocks):
            block.export_hdf5(file.create_group(f"layer/{index}"))
    graph = netx_export.read(tmp_path / "x.net")
    x = spikes(graph, 80, 0.5)
    found = stock_run(tmp_path / "x.net", x)
    trace = run_alone(graph, x)
    TALLY.file(80)
    mine = np.concatenate([trace.rasters[f"layer1_dense_rec.{index}"].reshape(80, 1) for index in range(7)], axis=1)
    assert found.output.sum() > 20
    TALLY.same(mine.astype(np.int64), found.output, "recurrent blocks of SLAYER")
