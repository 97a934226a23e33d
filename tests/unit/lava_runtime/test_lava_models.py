"""This project's models of Lava's own processes: networks without anything of ours, under both run configurations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lava.magma.core.run_configs")

from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF, LIFReset, TernaryLIF
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta
from lava.proc.sparse.process import DelaySparse, Sparse
from scipy.sparse import csr_matrix

import netx_export
from lava_runtime.simulation import CompiledSimCfg
from lava_runtime.simulation.run_config import COMPILED_MODELS
from netx_export.graph import Conv as GraphConv
from netx_export.graph import Dense as GraphDense
from netx_export.graph import Graph, Input, Lif, Population, Projection
from tests.unit.lava_runtime.lava_networks import kernel

pytestmark = [pytest.mark.lava, pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")]

STEPS = 40


def both(build: Any, steps: int = STEPS) -> list[np.ndarray]:
    """What the network made by `build` records under Lava's models and under ours; the same.

    `build` returns (source process, port to record, processes and Vars to read at the end).
    """
    results = []
    for config in (Loihi2SimCfg(select_tag="fixed_pt"), CompiledSimCfg()):
        source, out, variables = build()
        sink = Sink(shape=out.shape, buffer=steps)
        out.connect(sink.a_in)
        try:
            source.run(condition=RunSteps(num_steps=steps), run_cfg=config)
            results.append([sink.data.get(), *(np.asarray(var.get()) for var in variables)])
        finally:
            source.stop()
    for stock, ours in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, stock)
    return results[0]


def source_of(shape: tuple[int, ...], *, density: float = 0.4, top: int = 1, seed: int = 0) -> Source:
    """Random messages: spikes, or integers of both signs up to `top`."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-top, top + 1, (*shape, STEPS)) if top > 1 else 1
    return Source(data=np.where(rng.random((*shape, STEPS)) < density, values, 0).astype(np.int32))


def feeding(neuron: Any, *, top: int = 3000, port: str = "a_in") -> Source:
    """Random currents into `neuron`."""
    source = source_of(neuron.s_out.shape, top=top)
    source.s_out.connect(getattr(neuron, port))
    return source


def test_every_process_has_one_model() -> None:
    known = {
        Conv,
        Dense,
        DelayDense,
        Sparse,
        DelaySparse,
        LIF,
        LIFReset,
        TernaryLIF,
        RF,
        RF_IZ,
        Sigma,
        Delta,
        SigmaDelta,
    }
    assert set(COMPILED_MODELS) == known
    assert all(model.implements_process is process for process, model in COMPILED_MODELS.items())


@pytest.mark.parametrize(("signs", "density"), [("mixed", 1), ("excitatory", 1), ("mixed", 0.2)])
def test_a_network_of_convolution_and_matrix(signs: str, density: float) -> None:
    rng = np.random.default_rng(2)
    low, high = {"mixed": (-90, 120), "excitatory": (0, 12)}[signs]
    kernel = rng.integers(-60, 90, (4, 3, 2, 1))
    weights = rng.integers(low, high, (9, 32)) * (rng.random((9, 32)) < density)

    def build() -> tuple[Any, Any, list[Any]]:
        source = source_of((6, 5, 2), density=0.3)
        conv = Conv(weight=kernel, input_shape=(6, 5, 2), stride=(1, 2), padding=(1, 0), dilation=(2, 1), groups=2)
        first = LIFReset(
            shape=conv.output_shape, vth=60, du=700, dv=300, bias_mant=50, bias_exp=-2, reset_interval=7, reset_offset=3
        )
        matrix = Dense if density == 1 else Sparse
        dense = matrix(weights=weights, weight_exp=-2 if density == 1 else 1, num_weight_bits=7)
        second = LIF(shape=(9,), vth=40, du=4095, dv=200)
        source.s_out.connect(conv.s_in)
        conv.a_out.connect(first.a_in)
        first.s_out.reshape((32,)).connect(dense.s_in)
        dense.a_out.connect(second.a_in)
        return source, second.s_out, [first.u, first.v, second.u, second.v]

    assert 10 < both(build)[0].sum() < 300


@pytest.mark.parametrize("top", [1, 4000, 2**31 - 2])
@pytest.mark.parametrize("exponent", [-3, 0, 2])
@pytest.mark.parametrize("process", [DelayDense, DelaySparse])
def test_delays(process: type, exponent: int, top: int) -> None:
    rng = np.random.default_rng(1)
    weights = rng.integers(-100, 120, (7, 12)) * (rng.random((7, 12)) < 0.6)
    delays = rng.integers(0, 12, (7, 12)) * (weights != 0)

    def build() -> tuple[Any, Any, list[Any]]:
        source = source_of((12,), top=top)
        given = (weights, delays) if process is DelayDense else (csr_matrix(weights), csr_matrix(delays))
        options = {"weight_exp": exponent, "num_message_bits": 16 if top > 1 else 0, "max_delay": 20}
        synapse = process(weights=given[0], delays=given[1], **options)
        neuron = LIF(shape=(7,), vth=100, du=2000, dv=500)
        source.s_out.connect(synapse.s_in)
        synapse.a_out.connect(neuron.a_in)
        return source, neuron.s_out, [neuron.u, neuron.v, synapse.a_buff]

    assert both(build)[0].any()


def test_ternary_neurons() -> None:
    def build() -> tuple[Any, Any, list[Any]]:
        neuron = TernaryLIF(shape=(5, 4), vth_lo=-900, vth_hi=1100, du=900, dv=300, bias_mant=-20, bias_exp=3)
        return feeding(neuron), neuron.s_out, [neuron.u, neuron.v]

    spikes = both(build)[0]
    assert (spikes < 0).any()
    assert (spikes > 0).any()


def test_wrapping_and_saturating_neurons() -> None:
    def build() -> tuple[Any, Any, list[Any]]:
        neuron = LIF(shape=(30,), vth=120000, du=5, dv=3, bias_mant=-3000, bias_exp=6)
        return feeding(neuron, top=2**25), neuron.s_out, [neuron.u, neuron.v]

    assert both(build)[0].any()


@pytest.mark.parametrize("cum_error", [False, True])
@pytest.mark.parametrize("top", [400, 2**31 - 2])
def test_delta(cum_error: bool, top: int) -> None:
    def build() -> tuple[Any, Any, list[Any]]:
        neuron = Delta(shape=(6, 3), vth=300, cum_error=cum_error, spike_exp=1, state_exp=2)
        return feeding(neuron, top=top), neuron.s_out, [neuron.act, neuron.residue, neuron.error]

    assert both(build)[0].any()


@pytest.mark.parametrize("cum_error", [False, True])
@pytest.mark.parametrize("mode", [ActivationMode.RELU, ActivationMode.UNIT])
def test_sigma_delta_into_sigma(mode: ActivationMode, cum_error: bool) -> None:
    bias = np.random.default_rng(3).integers(-50, 60, (8,))
    weights = np.random.default_rng(4).integers(-90, 90, (5, 8))

    def build() -> tuple[Any, Any, list[Any]]:
        neuron = SigmaDelta(shape=(8,), vth=40, bias=bias, act_mode=mode, cum_error=cum_error, spike_exp=1, state_exp=3)
        dense = Dense(weights=weights, num_message_bits=16)
        last = Sigma(shape=(5,))
        source = feeding(neuron, top=100)
        neuron.s_out.connect(dense.s_in)
        dense.a_out.connect(last.a_in)
        return source, last.s_out, [neuron.sigma, neuron.act, neuron.residue, neuron.error, last.sigma]

    assert both(build)[0].any()


@pytest.mark.parametrize("process", [RF, RF_IZ])
@pytest.mark.parametrize(("period", "top"), [(9, 200), (-31, 2**17)])
def test_resonators(process: type, period: int, top: int) -> None:
    def build() -> tuple[Any, Any, list[Any]]:
        neuron = process(shape=(7, 2), period=period, alpha=0.04, state_exp=6, decay_bits=12, vth=150)
        imaginary = source_of((7, 2), top=top, seed=9)
        imaginary.s_out.connect(neuron.a_imag_in)
        return feeding(neuron, top=top, port="a_real_in"), neuron.s_out, [neuron.real, neuron.imag]

    assert both(build)[0].any()


def test_variables_set_between_runs_are_heeded() -> None:
    results = []
    for config in (Loihi2SimCfg(select_tag="fixed_pt"), CompiledSimCfg()):
        neuron = LIF(shape=(4,), vth=90, du=4095, dv=100, bias_mant=10)
        source = feeding(neuron, top=50)
        sink = Sink(shape=(4,), buffer=STEPS)
        neuron.s_out.connect(sink.a_in)
        try:
            source.run(condition=RunSteps(num_steps=STEPS // 2), run_cfg=config)
            neuron.bias_mant.set(np.full(4, 4000))
            source.run(condition=RunSteps(num_steps=STEPS // 2))
            results.append(sink.data.get())
        finally:
            source.stop()
    np.testing.assert_array_equal(*results)
    assert results[0][:, STEPS // 2 :].sum() > results[0][:, : STEPS // 2].sum()


def test_weights_set_between_runs_are_rounded_no_more_than_by_lava() -> None:
    results = []
    for config in (Loihi2SimCfg(select_tag="fixed_pt"), CompiledSimCfg()):
        dense = Dense(weights=np.random.default_rng(5).integers(-100, 120, (9, 12)))
        source, sink = source_of((12,)), Sink(shape=(9,), buffer=STEPS)
        source.s_out.connect(dense.s_in)
        dense.a_out.connect(sink.a_in)
        try:
            source.run(condition=RunSteps(num_steps=STEPS // 2), run_cfg=config)
            before = dense.weights.get()
            dense.weights.set(before // 2 + 1)
            source.run(condition=RunSteps(num_steps=STEPS // 2))
            results.append([before, dense.weights.get(), sink.data.get()])
        finally:
            source.stop()
    for stock, ours in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, stock)
    assert (results[0][1] % 2).any()


EACH = np.arange(7) * 20


@pytest.mark.parametrize(
    "make",
    [
        lambda: LIF(shape=(7,), vth=EACH + 20, du=1000, dv=300),
        lambda: LIF(shape=(7,), vth=50, du=EACH * 10, dv=EACH),
        lambda: LIFReset(shape=(7,), vth=EACH + 20, du=1000, dv=300, reset_interval=5),
    ],
)
def test_neurons_with_parameters_of_their_own(make: Any) -> None:
    def build() -> tuple[Any, Any, list[Any]]:
        neuron = make()
        return feeding(neuron, top=1000), neuron.s_out, []

    assert both(build)[0].any()


def wheel(name: str) -> Path:
    """A network file that comes with lava-dl."""
    netx = pytest.importorskip("lava.lib.dl.netx")
    path = Path(netx.__file__).parents[4] / "tests" / "lava" / "lib" / "dl" / "netx" / name
    if not path.is_file():
        pytest.skip(f"the lava-dl wheel holds no {name}")
    return path


def test_a_network_of_lava_dl_as_its_own_loader_makes_it() -> None:
    pytest.importorskip("torch")
    path = wheel("gts/ntidigits/ntidigits.net")
    from lava.lib.dl import netx

    spikes = np.load(path.parent / "input.npy")[..., :25].astype(np.int32)

    def build() -> tuple[Any, Any, list[Any]]:
        network = netx.hdf5.Network(net_config=str(path), num_layers=5)
        source = Source(data=spikes)
        source.s_out.connect(network.inp)
        return network, network.out, []

    assert both(build, steps=25)[0].any()


def test_the_ground_truth_of_lava_dl_for_sigma_delta() -> None:
    """PilotNet's sigma-delta form, eight layers of it, whose output the wheel holds."""
    pytest.importorskip("torch")
    path = wheel("gts/pilotnet_sdnn/network.net")
    from lava.lib.dl import netx

    network = netx.hdf5.Network(net_config=str(path))
    source = Source(data=np.load(path.parent / "input.npy"))
    sink = Sink(shape=network.out.shape, buffer=len(network))
    source.s_out.connect(network.in_layer.neuron.a_in)
    network.out.connect(sink.a_in)
    try:
        network.run(condition=RunSteps(num_steps=len(network)), run_cfg=CompiledSimCfg())
        found = sink.data.get()
    finally:
        network.stop()
    np.testing.assert_array_equal(found, np.load(path.parent / "output.npy"))
    assert found.any()


def test_the_program_of_the_architecture_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    text = (Path(__file__).resolve().parents[3] / "docs/architecture.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    rng = np.random.default_rng(0)
    neurons = {"du": 2000, "dv": 300, "bias_exp": 6}
    graph = Graph(
        populations=(
            Population(id="in", shape=(2, 6, 8), neuron=Input()),
            Population(id="conv", shape=(4, 4, 6), neuron=Lif(vth_mant=150, **neurons)),
            Population(id="out", shape=(5, 1, 1), neuron=Lif(vth_mant=4000, **neurons)),
        ),
        projections=(
            Projection(src="in", dst="conv", synapse=GraphConv(kernel=kernel(rng, 4, 2, 3, 3))),
            Projection(src="conv", dst="out", synapse=GraphDense(kernel=kernel(rng, 5, 96, exponent=1))),
        ),
        timing="as_given",
    )
    netx_export.write(graph, tmp_path / "network.net")
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "page"}
    exec(compile(program, "docs/architecture.md", "exec"), space)
    assert 5 < space["one"].sum() < 180
