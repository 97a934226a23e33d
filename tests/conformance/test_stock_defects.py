"""Where stock Lava does not run a file as it is meant: each defect shown in Lava, beside what the reader does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lava.lib.dl.netx.hdf5", reason="needs lava-nc and lava-dl (Python 3.10)")

import netx_export
from netx_export.errors import NetxError
from netx_export.netx.inspection import inspect
from tests.conformance.lava_dl_files import run_alone
from tests.conformance.stock_netx_run import stock_run
from tests.unit.netx.networks import FLAT, START, Layer, concat, conv, dense, foreign, neuron, pool, recurrent, rf, sdnn

pytestmark = pytest.mark.lava

STEPS = 24


def load(path: Path, **options: Any) -> Any:
    from lava.lib.dl.netx import hdf5

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hdf5.Network(net_config=str(path), **options)


def effects(path: Path) -> list[str]:
    return [finding.effect for finding in inspect(path).findings]


def outputs(path: Path, x: np.ndarray[Any, Any], **options: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(stock, ours): output of every step, (T,N)."""
    graph = netx_export.read(path, **options)
    mine = run_alone(graph, x).rasters[graph.populations[-1].id].reshape(len(x), -1).astype(np.int64)
    return stock_run(path, x, **options).output, mine


def ones(path: Path, *layers: Layer) -> np.ndarray[Any, Any]:
    """A spike at every input in the first step, then nothing."""
    shape = netx_export.read(foreign(path, *layers)).populations[0].shape
    x = np.zeros((STEPS, *shape), np.int32)
    x[0] = 1
    return x


def small_dense(weight: list[list[int]], **more: Any) -> Layer:
    """A dense layer of neurons that keep what they receive, and fire above 25."""
    shape = [len(weight)]
    constants = neuron(type=b"CUBA", iDecay=4096, vDecay=0, **more.pop("neuron", {}))
    return {"type": b"dense", "shape": shape, "weight": np.array(weight), "neuron": constants, **more}


def last_v(path: Path, x: np.ndarray[Any, Any]) -> tuple[list[int], list[int]]:
    """(stock, ours): v of the last layer in weight units, after the last step."""
    graph = netx_export.read(path)
    mine = run_alone(graph, x, states=True).v[graph.populations[-1].id][-1].reshape(-1) // 64
    return (stock_run(path, x).states["v"] // 64).tolist(), mine.tolist()


@pytest.mark.parametrize(
    ("weight", "acts"),
    [([[-2, -4]], [-4]), ([[0, -135]], [0]), ([[-300, 20]], [-236]), ([[300, 2]], [0]), ([[-257, -1]], [0])],
    ids=["all negative", "largest weight 0", "mixed beyond -256", "above 255", "below -256"],
)
def test_dense_weights_are_changed(weight: list[list[int]], acts: list[int], tmp_path: Path) -> None:
    """Currents of one spike at each input: lava-dl's loader alters the weights, the reader computes what is written."""
    layer = small_dense(weight, neuron={"vThMant": 5000})
    x = ones(tmp_path / "x.net", layer)
    found, mine = last_v(tmp_path / "x.net", x)
    assert mine == [sum(weight[0])]
    assert found == acts
    assert found != mine
    assert "differs" in effects(tmp_path / "x.net")


def test_all_zero_weights_stop_the_loader(tmp_path: Path) -> None:
    layer = small_dense([[0, 0]])
    x = ones(tmp_path / "x.net", layer)
    with pytest.raises((OverflowError, ValueError)):
        load(tmp_path / "x.net")
    assert not run_alone(netx_export.read(tmp_path / "x.net"), x).outputs["layer0_dense"].any()
    assert "fails" in effects(tmp_path / "x.net")


def test_fractions_are_truncated(tmp_path: Path) -> None:
    """Weights that were never quantised: 30.9 acts as 30 in Lava; the reader refuses them."""
    path = foreign(tmp_path / "x.net", {**small_dense([[30, 30]], neuron={"vThMant": 5000}), "weight": [[30.9, 30.9]]})
    assert (stock_run(path, np.ones((4, 2, 1, 1), int)).states["v"] // 64).tolist() == [180]
    with pytest.raises(NetxError, match=r"'weight' holds the fraction 30\.9"):
        netx_export.read(path)


def test_a_delay_on_a_convolution_is_dropped(tmp_path: Path) -> None:
    for delay in (0, 5):
        path = foreign(tmp_path / f"{delay}.net", START, conv(delay=delay))
        x = np.zeros((STEPS, 2, 4, 4), int)
        x[0] = 1
        assert stock_run(path, x).output.any(axis=1).argmax() == 1
    with pytest.raises(NetxError, match="a delay of up to 5 steps on a convolution"):
        netx_export.read(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("refDelay", 4, "refDelay is 4, the limit is 1"),
        ("gradedSpike", True, "gradedSpike is 1, the limit is 0"),
        ("wgtExp", 3, "wgtExp is 3, the limit is 0"),
        ("weight_exp", 2, "weight_exp is 2, the limit is 0"),
    ],
)
def test_neuron_fields_are_ignored(field: str, value: object, message: str, tmp_path: Path) -> None:
    plain = foreign(tmp_path / "plain.net", small_dense([[40, 40]]))
    path = foreign(tmp_path / "x.net", small_dense([[40, 40]], neuron={field: value}))
    x = np.ones((8, 2, 1, 1), int)
    expected = stock_run(plain, x).output
    assert expected.sum() == 7, "one spike in each step but the first: no refractory step, no scaling"
    assert np.array_equal(stock_run(path, x).output, expected)
    with pytest.raises(NetxError, match=message):
        netx_export.read(path)


def test_unknown_layers_are_skipped(tmp_path: Path) -> None:
    """A layer whose type the loader does not know is left out; the network runs without it."""
    path = foreign(
        tmp_path / "x.net", small_dense([[30, 0], [0, 30]]), {"type": b"dropout", "shape": [2]}, small_dense([[30, 30]])
    )
    assert len(load(path)) == 2
    with pytest.raises(
        NetxError, match=r"layers of type 'dropout' cannot be read.*leave the layer out without saying so"
    ):
        netx_export.read(path)


def test_adaptive_resonators_run_as_plain_ones(tmp_path: Path) -> None:
    weight = {"real": np.full((2, 3), 40), "imag": np.full((2, 3), -40)}
    layer: Layer = {"type": b"dense", "shape": [2], "weight": weight, "neuron": rf(type=b"ADRF_PHASE")}
    assert type(load(foreign(tmp_path / "x.net", layer)).layers[0].neuron).__name__ == "RF"
    with pytest.raises(NetxError, match=r"ADRF_PHASE.*plain RF neurons, without saying so"):
        netx_export.read(tmp_path / "x.net")


@pytest.mark.parametrize("word", ["pool", "unpool", "convT", "average", "concat"])
def test_layers_that_the_loader_refuses(word: str, tmp_path: Path) -> None:
    """Read and run here; NotImplementedError there."""
    layers: dict[str, tuple[Layer, ...]] = {
        "pool": (pool(),),
        "unpool": (pool(type=b"unpool", shape=[2, 8, 8]),),
        "convT": (conv(type=b"convT", shape=[2, 5, 5], weight=np.full((2, 2, 2, 2), 40)),),
        "average": (conv(), FLAT, dense(), {"type": b"average", "shape": [2]}),
        "concat": (
            conv(),
            pool(shape=[3, 3, 3], weight=np.full((1, 1, 1, 1), 40), stride=[1, 1]),
            concat([1], shape=[6, 3, 3]),
        ),
    }
    path = foreign(tmp_path / "x.net", START, *layers[word])
    if word == "average":
        assert "create_average" in dir(type(load(path, num_layers=4)))
    with pytest.raises(NotImplementedError):
        load(path)
    assert "fails" in effects(path)
    x = (np.random.default_rng(0).random((STEPS, 2, 4, 4)) < 0.5).astype(int)
    trace = run_alone(netx_export.read(path), x)
    assert any(output.any() for output in trace.outputs.values())


def test_dense_comp_stops_the_loader(tmp_path: Path) -> None:
    weight = {"real": np.full((2, 3), 40), "imag": np.full((2, 3), -40)}
    path = foreign(tmp_path / "x.net", {"type": b"dense_comp", "shape": [2], "weight": weight, "neuron": rf()})
    with pytest.raises(AttributeError, match="create_complex_dense"):
        load(path)
    assert "fails" in effects(path)


def test_delays_of_complex_weights_are_dropped(tmp_path: Path) -> None:
    """Resonators two steps late: dropped by the loader, computed by the reader."""
    weight = {"real": np.full((2, 3), 120), "imag": np.full((2, 3), -100)}
    layer: Layer = {
        "type": b"dense",
        "shape": [2],
        "weight": weight,
        "neuron": rf(cosDecay=3778),
        "delay": np.array([2, 2]),
    }
    x = ones(tmp_path / "x.net", layer)
    found, mine = outputs(tmp_path / "x.net", x)
    assert found.any()
    assert np.array_equal(mine[2:], found[:-2])
    assert not np.array_equal(mine, found)
    assert "differs" in effects(tmp_path / "x.net")


def test_a_rotation_loses_a_unit(tmp_path: Path) -> None:
    weight = {"real": np.full((2, 3), 40), "imag": np.full((2, 3), -40)}
    layer: Layer = {"type": b"dense", "shape": [2], "weight": weight, "neuron": rf(sinDecay=1246, cosDecay=3800)}
    path = foreign(tmp_path / "x.net", layer)
    loaded = load(path).layers[0].neuron
    assert (int(loaded.sin_decay.init), int(loaded.cos_decay.init)) == (1245, 3800)
    graph = netx_export.read(path)
    assert (graph.populations[-1].neuron.sin, graph.populations[-1].neuron.cos) == (1246, 3800)  # type: ignore[union-attr]
    assert "differs" in effects(path)


def test_an_integrator_by_a_false_flag(tmp_path: Path) -> None:
    """`sigma_output` = False: the loader looks at the name alone."""
    layer: Layer = {"type": b"dense", "shape": [1], "weight": [[1, 1]], "neuron": sdnn(sigma_output=False)}
    path = foreign(tmp_path / "x.net", layer)
    assert type(load(path).layers[0].neuron).__name__ == "Sigma"
    assert type(netx_export.read(path).populations[-1].neuron).__name__ == "SigmaDelta"
    assert "differs" in effects(path)


def test_the_activation_is_always_relu(tmp_path: Path) -> None:
    layer: Layer = {"type": b"dense", "shape": [1], "weight": [[-9, -8]], "neuron": sdnn(activation=b"unit", vThMant=1)}
    start = {"type": b"input", "shape": [2], "neuron": sdnn(vThMant=1)}
    x = 30 * ones(tmp_path / "x.net", start, layer)
    found, mine = outputs(tmp_path / "x.net", x)
    assert not found.any()
    assert mine.any()
    assert "differs" in effects(tmp_path / "x.net")


def test_delays_of_a_recurrent_layer_break_its_weights(tmp_path: Path) -> None:
    """With a delay the loader forgets the weight exponent: weights of 2 act as 128."""
    layer = small_dense([[2, 2], [2, 2]], neuron={"vThMant": 5000})
    layer = {**layer, "type": b"dense_rec", "weight_rec": np.full((2, 2), 2)}
    x = np.zeros((STEPS, 2, 1, 1), int)
    x[0] = 1
    plain = stock_run(foreign(tmp_path / "plain.net", layer), x)
    path = foreign(tmp_path / "x.net", {**layer, "delay": np.array([1, 1])})
    assert (plain.states["v"] // 64).tolist() == [4, 4]
    assert (stock_run(path, x).states["v"] // 64).tolist() != [4, 4]
    with pytest.raises(NetxError, match="a delay of up to 1 steps on a recurrent layer"):
        netx_export.read(path)


def test_delays_beyond_62_are_clamped(tmp_path: Path) -> None:
    """Not silent: lava-dl warns, and the reader says so in a finding; both run 62."""
    path = foreign(tmp_path / "x.net", small_dense([[40]], delay=np.array([[70.0]])))
    x = np.zeros((70, 1, 1, 1), int)
    x[0] = 1
    with pytest.warns(UserWarning, match="Found max delay of 70"):
        found = stock_run(path, x).output
    assert found[:, 0].nonzero()[0].tolist() == [63]
    mine = run_alone(netx_export.read(path), x).outputs["layer0_dense"]
    assert mine.reshape(-1).nonzero()[0].tolist() == [63]
    assert effects(path) == ["adopted"]


def test_messagebits_stop_lava(tmp_path: Path) -> None:
    """The loader takes the HDF5 object for the number, and Lava fails on it when the network is compiled."""
    path = foreign(tmp_path / "x.net", small_dense([[40]], neuron={"messageBits": 8}), small_dense([[40]]))
    assert type(load(path).layers[1].input_message_bits).__name__ == "NetDict"
    assert run_alone(netx_export.read(path), np.ones((9, 1, 1, 1), int)).outputs["layer1_dense"].any()
    assert "fails" in effects(path)


def test_the_input_port_of_a_file_with_input_neurons_leads_nowhere(tmp_path: Path) -> None:
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    path = foreign(tmp_path / "x.net", {"type": b"input", "shape": [2], "neuron": neuron()}, small_dense([[40, 40]]))
    network = load(path)
    assert network.in_layer.inp.out_connections == []
    source, sink = io.source.RingBuffer(data=np.full((2, 6), 90)), io.sink.RingBuffer(shape=(1,), buffer=6)
    source.s_out.connect(network.in_layer.neuron.a_in)
    network.out_layer.out.connect(sink.a_in)
    network.run(condition=RunSteps(num_steps=6), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    found = sink.data.get()
    network.stop()
    mine = run_alone(netx_export.read(path), np.full((6, 2, 1, 1), 90)).outputs["layer1_dense"]
    assert np.array_equal(found.reshape(-1), mine.reshape(-1))
    assert found.any()


def test_recurrent_layers_scale_both_matrices_together(tmp_path: Path) -> None:
    """No defect: forward and recurrent weights of opposite signs come out of the joint scaling as they went in."""
    path = foreign(tmp_path / "x.net", recurrent(weight=np.full((4, 27), 6), weight_rec=-2 * np.eye(4, dtype=int)))
    x = (np.random.default_rng(1).random((STEPS, 27, 1, 1)) < 0.4).astype(int)
    found, mine = outputs(path, x)
    assert found.any()
    wrong = [finding for finding in inspect(path).findings if finding.effect == "differs"]
    assert np.array_equal(found, mine) == (not wrong)
