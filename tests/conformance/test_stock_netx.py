"""Files that we write, in lava-dl's own loader: the same spikes where NetX can express the network, a stop where not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lava.lib.dl.netx.hdf5", reason="needs lava-nc and lava-dl (Python 3.10)")

import netx_export
from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, Population, Projection, Readout
from netx_export.netx import layers_out
from netx_export.netx.stock import dense_as_loaded
from tests.conformance.stock_netx_run import graph_spikes, stock_spikes
from tests.unit.netx.networks import branched, sequential

pytestmark = pytest.mark.lava


def lively(spikes: dict[str, np.ndarray]) -> str:
    """Rates of all populations; fails when one is silent or always on."""
    rates = {name: float(array.mean()) for name, array in spikes.items()}
    assert all(0.01 < rate < 0.95 for rate in rates.values()), rates
    return ", ".join(f"{name} {100 * rate:.0f} %" for name, rate in rates.items())


def spikes_in(rng: np.random.Generator, steps: int, shape: tuple[int, int, int]) -> np.ndarray:
    return (rng.random((steps, *shape)) < 0.3).astype(np.int32)


@pytest.mark.parametrize("seed", [0, 3])
def test_convolutions_flatten_and_dense_give_the_same_spikes(seed: int, tmp_path: Path) -> None:
    graph = sequential(seed)
    assert layers_out.obstacle(graph) is None
    netx_export.write(graph, tmp_path / "x.net")
    x = spikes_in(np.random.default_rng(seed), 30, graph.populations[0].shape)
    expected = graph_spikes(netx_export.read(tmp_path / "x.net"), x)
    print(lively(expected))
    found = stock_spikes(tmp_path / "x.net", x)
    assert np.array_equal(found, expected["p4"].reshape(30, -1))


def dense_only() -> Graph:
    """Mixed, excitatory and harmless all-negative weights, an odd weight beside an exponent."""
    rng = np.random.default_rng(5)
    populations = [Population(id="in", shape=(3, 4, 2), neuron=Input())]
    weights = [rng.integers(-127, 128, (16, 24)), rng.integers(0, 128, (10, 16)), -rng.integers(1, 4, (6, 10))]
    neurons = [
        Lif(vth_mant=200, du=2000, dv=128, bias_mant=rng.integers(-20, 20, 16), bias_exp=6),
        Lif(vth_mant=300, du=4095, dv=1024),
        Lif(vth_mant=10, du=4095, dv=2000, bias_mant=[9, 8, 7, 6, 12, 13], bias_exp=6),
    ]
    projections = []
    for index, (mantissa, neuron) in enumerate(zip(weights, neurons, strict=True)):
        populations.append(Population(id=f"d{index}", shape=(mantissa.shape[0], 1, 1), neuron=neuron))
        kernel = Kernel(mantissa=mantissa)
        projections.append(Projection(src=populations[-2].id, dst=f"d{index}", synapse=Dense(kernel=kernel)))
    return Graph(populations=tuple(populations), projections=tuple(projections), timing="as_given", steps=30)


def test_dense_networks_give_the_same_spikes(tmp_path: Path) -> None:
    graph = dense_only()
    assert layers_out.obstacle(graph) is None
    netx_export.write(graph, tmp_path / "x.net")
    x = spikes_in(np.random.default_rng(9), 40, (3, 4, 2))
    expected = graph_spikes(graph, x)
    print(lively(expected))
    assert np.array_equal(stock_spikes(tmp_path / "x.net", x, flat_input=True), expected["d2"].reshape(40, -1))


@pytest.mark.parametrize(
    "weight",
    [
        [[-2, -4]],
        [[-2, -3]],
        [[-128, -1]],
        [[-127, -63]],
        [[0, -3]],
        [[0, -128]],
        [[0, 0], [0, 1]],
        [[-256, 254]],
        [[-250, 129]],
        [[-1, 127]],
        [[-128, 127]],
        [[255, 254]],
        [[-300, 20]],
        [[3, 0]],
    ],
)
def test_what_the_loader_does_to_dense_weights(weight: list[list[int]]) -> None:
    """`dense_as_loaded` against Lava itself: one spike into each input in turn, the currents are the weights."""
    from lava.lib.dl.netx.utils import optimize_weight_bits
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense as LavaDense
    from lava.proc.io import sink, source

    given = np.array(weight, np.int32)
    inputs = given.shape[1]
    changed, bits, exponent, _ = optimize_weight_bits(given)
    synapse = LavaDense(weights=changed, weight_exp=exponent, num_weight_bits=bits)
    spikes, currents = source.RingBuffer(data=np.eye(inputs)), sink.RingBuffer(shape=(len(given),), buffer=inputs + 1)
    spikes.s_out.connect(synapse.s_in)
    synapse.a_out.connect(currents.a_in)
    synapse.run(condition=RunSteps(num_steps=inputs + 1), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    # A synapse costs one step.
    acting = currents.data.get()[:, 1:].astype(np.int64)
    synapse.stop()
    found = dense_as_loaded(given)
    assert np.array_equal(given, acting) == (found is not None and np.array_equal(found, given))
    if found is not None:
        assert np.array_equal(found, acting)


def test_extended_files_stop_the_stock_loader(tmp_path: Path) -> None:
    from lava.lib.dl.netx import hdf5

    chain = sequential()
    head = Population(id="head", shape=(2, 1, 1), neuron=Readout())
    kernel = Kernel(mantissa=np.ones((2, 5), np.int16))
    with_readout = dataclasses.replace(
        chain,
        populations=(*chain.populations, head),
        projections=(*chain.projections, Projection(src="p4", dst="head", synapse=Dense(kernel=kernel))),
    )
    for graph in (branched(), with_readout):
        netx_export.write(graph, tmp_path / "x.net")
        for arguments in ({}, {"num_layers": 1}, {"skip_layers": 1}, {"input_shape": (8, 8, 2)}):
            with pytest.raises(NotImplementedError, match="concat is not implemented"):
                hdf5.Network(net_config=str(tmp_path / "x.net"), **arguments)


def test_a_strided_padded_convolution_after_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    first = Conv(
        kernel=Kernel(mantissa=rng.integers(-128, 128, (3, 1, 1, 4)), exponent=1), padding=(3, 2), stride=(3, 2)
    )
    shape = first.output_shape((1, 5, 11))
    second = Conv(
        kernel=Kernel(mantissa=rng.integers(-40, 90, (2, 3, 3, 2)), exponent=0), dilation=(1, 3), padding=(1, 2)
    )
    graph = Graph(
        populations=(
            Population(id="in", shape=(1, 5, 11), neuron=Input()),
            Population(id="a", shape=shape, neuron=Lif(vth_mant=90, dv=400)),
            Population(id="b", shape=second.output_shape(shape), neuron=Lif(vth_mant=60, du=3000, dv=1000)),
        ),
        projections=(
            Projection(src="in", dst="a", synapse=first),
            Projection(src="a", dst="b", synapse=second),
        ),
    )
    netx_export.write(graph, tmp_path / "x.net")
    x = spikes_in(rng, 30, (1, 5, 11))
    expected = graph_spikes(graph, x)
    print(lively(expected))
    assert np.array_equal(stock_spikes(tmp_path / "x.net", x), expected["b"].reshape(30, -1))


def lava_dl_file(name: str) -> Path:
    """A network from lava-dl's own tests, which lie in its wheel."""
    from lava.lib.dl.netx import hdf5

    path = Path(hdf5.__file__).parents[4] / "tests/lava/lib/dl/netx" / name
    if not path.exists():
        pytest.skip(f"this installation of lava-dl came without its test network {name}")
    return path


@pytest.mark.parametrize(("name", "layers"), [("tiny.net", 3), ("mnist.net", 3)])
def test_networks_that_nobody_here_trained(name: str, layers: int, tmp_path: Path) -> None:
    path = lava_dl_file(name)
    graph = netx_export.read(path, skip_layers=1, num_layers=layers)
    shape = graph.populations[0].shape
    x = spikes_in(np.random.default_rng(1), 25, shape)
    expected = graph_spikes(graph, x)[graph.populations[-1].id].reshape(25, -1)
    found = stock_spikes(path, x, flat_input=shape[1:] == (1, 1), skip_layers=1, num_layers=layers)
    print(f"{name}: {expected.sum()} spikes compared")
    assert expected.sum() > 20
    assert np.array_equal(found, expected)
    # Once more through our writer.
    netx_export.write(graph, tmp_path / "again.net")
    again = stock_spikes(tmp_path / "again.net", x, flat_input=shape[1:] == (1, 1))
    assert np.array_equal(again, expected)
