"""lava-dl's recorded results, reproduced from its own files by the engine and in Lava: every neuron, every step."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netx_export
from lava_runtime import Trace
from netx_export.graph import Dense, Graph, Input, Kernel, Lif, Population, Projection, RfIz, Wire
from tests.conformance.lava_dl_files import TALLIES, Tally, lava_dl, run_alone, truth
from tests.unit.netx.networks import foreign, neuron, rf, sdnn

TALLY = TALLIES["ground truth of lava-dl, in fast and in sim"] = Tally()
Run = Callable[..., Trace]


@pytest.fixture(params=["fast", "sim"])
def run(request: pytest.FixtureRequest) -> Run:
    """One sample through the compiled engine, or through Lava's simulator with this project's models."""
    if request.param == "sim":
        pytest.importorskip("lava", reason="needs lava-nc (Python 3.10)")
    return functools.partial(run_alone, backend=request.param)


def test_tinynet(run: Run) -> None:
    """Every layer of tiny.net; upstream drives the input by a constant and resets layer by layer each 17 steps."""
    graph = netx_export.read(lava_dl("tiny.net"), reset_interval=17)
    host = np.load(lava_dl("gts/tinynet/input_bias.npy")).transpose(2, 1, 0).astype(int)
    trace = run(graph, np.repeat(host[None], 20, axis=0))
    TALLY.file(20)
    for lag, (name, recorded) in enumerate(
        (("layer0_input", "input"), ("layer1_conv", "layer1"), ("layer2_conv", "output"))
    ):
        wanted = np.load(lava_dl(f"gts/tinynet/{recorded}.npy"))[0].transpose(3, 0, 1, 2)[1:]
        TALLY.same(trace.rasters[name][lag : lag + 15], wanted, f"tinynet {name}")


PILOTNET = ["conv-0", "conv-1", "conv-2", "conv-3", "conv-4", "fc-0", "fc-1", "fc-2"]


def test_pilotnet_lif(run: Run) -> None:
    """Spikes, u and v of every layer from the picture on. lava-dl's v keeps 128 where a neuron fired, Lava's is 0."""
    graph = netx_export.read(lava_dl("gts/pilotnet_lif/network.net"), reset_interval=17)
    picture = np.load(lava_dl("gts/pilotnet_lif/image.npy")).transpose(2, 1, 0)
    trace = run(graph, np.repeat(picture[None], 24, axis=0), states=True)
    TALLY.file(24)
    TALLY.same(trace.rasters["layer0_input"], truth("pilotnet_lif/input").astype(np.uint8), "PilotNet LIF input")
    for population, name in zip(graph.populations[2:], PILOTNET, strict=False):
        spikes = truth(f"pilotnet_lif/{name}").astype(np.uint8)
        TALLY.same(trace.rasters[population.id], spikes, f"PilotNet LIF {name} spikes")
        TALLY.same(trace.u[population.id], truth(f"pilotnet_lif/{name}-u"), f"PilotNet LIF {name} u", spikes=False)
        kept = trace.v[population.id] + 128 * spikes.astype(np.int32)
        TALLY.same(kept, truth(f"pilotnet_lif/{name}-v"), f"PilotNet LIF {name} v", spikes=False)


def test_pilotnet_last_layer_was_recorded_in_another_run(run: Run) -> None:
    """fc-3 does not follow from the recorded spikes of fc-2; ours does. Up to its first reset both agree."""
    graph = netx_export.read(lava_dl("gts/pilotnet_lif/network.net"), reset_interval=17)
    picture = np.load(lava_dl("gts/pilotnet_lif/image.npy")).transpose(2, 1, 0)
    trace = run(graph, np.repeat(picture[None], 24, axis=0), states=True)
    last = graph.projections[-1].synapse
    assert isinstance(last, Dense)
    arriving = truth("pilotnet_lif/fc-2").reshape(24, -1).astype(np.int64) @ last.kernel.mantissa.astype(np.int64).T
    TALLY.same(
        trace.u["layer10_dense"].reshape(24)[1:], 64 * arriving[:-1, 0], "PilotNet LIF fc-3 u from fc-2", spikes=False
    )
    for state in "uv":
        recorded = truth(f"pilotnet_lif/fc-3-{state}").reshape(-1)
        found = getattr(trace, state)["layer10_dense"].reshape(-1)
        TALLY.same(found[:8], recorded[:8], f"PilotNet LIF fc-3 {state}, first 8 steps", spikes=False)
        assert not np.array_equal(found, recorded[:24])
    assert 64 * arriving[7, 0] == -1536
    assert truth("pilotnet_lif/fc-3-u").reshape(-1)[8] == 0


def test_pilotnet_sdnn(run: Run) -> None:
    graph = netx_export.read(lava_dl("gts/pilotnet_sdnn/network.net"))
    picture = truth("pilotnet_sdnn/input")
    trace = run(graph, np.repeat(picture, 20, axis=0), states=True)
    TALLY.file(20)
    output = trace.outputs["layer9_dense"].reshape(-1)[:9]
    TALLY.same(output, np.load(lava_dl("gts/pilotnet_sdnn/output.npy"))[0], "PilotNet SDNN output")
    TALLY.same(trace.rasters["layer0_input"], truth("pilotnet_sdnn/act0"), "PilotNet SDNN input messages")
    for index in (1, 2):
        found = trace.u[f"layer{index}_conv"]
        TALLY.same(found, truth(f"pilotnet_sdnn/sigma{index}"), f"PilotNet SDNN sigma {index}", spikes=False)


def test_pilotnet_sdnn_with_another_spike_exponent(run: Run) -> None:
    """With spike_exp 0 messages are 64 times smaller; upstream allows a mean error of 128 against output / 64."""
    graph = netx_export.read(lava_dl("gts/pilotnet_sdnn/network.net"), spike_exp=0)
    trace = run(graph, np.repeat(truth("pilotnet_sdnn/input"), 9, axis=0))
    TALLY.file(9)
    error = np.abs(trace.outputs["layer9_dense"].reshape(-1) - np.load(lava_dl("gts/pilotnet_sdnn/output.npy"))[0] / 64)
    print(f"PilotNet SDNN, spike_exp 0: mean error {error.mean():.1f}, upstream allows 128")
    assert 0 < error.mean() < 128


def test_pilotnet_sdnn_square(run: Run) -> None:
    graph = netx_export.read(lava_dl("gts/pilotnet_sdnn/square_network.net"))
    picture = truth("pilotnet_sdnn/input")[:, :, :, :33]
    trace = run(graph, np.repeat(picture, 20, axis=0), states=True)
    TALLY.file(20)
    for index in range(1, 5):
        found = trace.u[f"layer{index}_conv"]
        TALLY.same(found, truth(f"pilotnet_sdnn/sigma{index}_square"), f"square SDNN sigma {index}", spikes=False)


def test_ntidigits(run: Run) -> None:
    """Axonal delays of up to 62 steps, 3000 steps, all 242 outputs (upstream compares one time step).

    SLAYER recorded it: its output comes one step later than Lava's, as its input block delays too.
    """
    graph = netx_export.read(lava_dl("gts/ntidigits/ntidigits.net"), num_layers=5)
    x = np.load(lava_dl("gts/ntidigits/input.npy")).T.reshape(3000, 1, 1, 64).astype(int)
    found = run(graph, x).outputs["layer4_dense"]
    TALLY.file(3000)
    TALLY.same(found[:-1], truth("ntidigits/output")[1:].astype(np.uint8), "ntidigits output")


def test_ntidigits_average(run: Run) -> None:
    """The last layer of the file, which upstream leaves out: the mean over 22 neurons, one step later."""
    whole = netx_export.read(lava_dl("gts/ntidigits/ntidigits.net"))
    x = np.load(lava_dl("gts/ntidigits/input.npy")).T.reshape(3000, 1, 1, 64).astype(int)
    trace = run(whole, x[:600])
    TALLY.file(600)
    values = trace.values(whole)["layer5_average"].reshape(600, 11)
    means = truth("ntidigits/output")[1:600].reshape(599, 11, 22).mean(axis=2)
    assert np.allclose(values[1:], means, atol=1e-12)
    TALLY.same(np.rint(22 * values[1:]), np.rint(22 * means), "ntidigits average", spikes=False)


# -- blocks ---------------------------------------------------------------------------------------------------------


def file_kernel(name: str) -> np.ndarray[Any, Any]:
    """A kernel that upstream keeps as Lava takes it, (C_out,W,H,C_in) and flipped, as a file holds it."""
    return np.load(lava_dl(f"gts/{name}.npy")).transpose(0, 3, 2, 1)[:, :, ::-1, ::-1]


def conv_file(path: Path, name: str, of: dict[str, Any]) -> Path:
    layer = {
        "type": b"conv",
        "shape": [24, 6, 6],
        "weight": file_kernel(f"{name}/layer1_kernel"),
        "bias": np.load(lava_dl(f"gts/{name}/layer1_bias.npy")),
        "stride": [2, 2],
        "padding": [0, 0],
        "dilation": [1, 1],
        "groups": 1,
        "neuron": of,
    }
    return foreign(path, {"type": b"input", "shape": [3, 16, 16]}, layer)


def test_tinynet_conv_block(run: Run, tmp_path: Path) -> None:
    """u and spikes of the block; upstream clears u and v after the first step."""
    graph = netx_export.read(conv_file(tmp_path / "x.net", "tinynet", neuron()), reset_interval=1000, reset_offset=1)
    x = np.load(lava_dl("gts/tinynet/input.npy"))[0].transpose(3, 0, 1, 2)[1:].astype(int)
    trace = run(graph, np.concatenate([x, x[:1]]), states=True)
    TALLY.file(16)
    spikes = np.load(lava_dl("gts/tinynet/layer1.npy"))[0].transpose(3, 0, 1, 2).astype(np.uint8)
    current = 64 * np.load(lava_dl("gts/tinynet/current.npy"))[0].transpose(3, 0, 1, 2)
    TALLY.same(trace.rasters["layer1_conv"][1:], spikes[1:], "tinynet conv block spikes")
    TALLY.same(trace.u["layer1_conv"][1:], current[1:].astype(np.int32), "tinynet conv block u", spikes=False)


def test_tinynet_sdnn_blocks(run: Run, tmp_path: Path) -> None:
    """The input, convolution and output blocks of the sigma-delta network, each from its recorded input.

    The convolution's record holds one step: upstream's test runs no more, and compares zeros for the rest. The output
    block was recorded without message bits, so Lava cut what arrives to 0 and 1.
    """
    swing = np.load(lava_dl("gts/tinynet_sdnn/input_bias.npy"))[..., None] * np.sin(2 * np.pi * np.arange(15) / 15)
    host = swing.astype(int).transpose(3, 2, 1, 0)
    # A file needs a layer behind its input; what the input sends is compared.
    start = {"type": b"input", "shape": [3, 16, 16], "neuron": sdnn(vThMant=20)}
    one = {"type": b"dense", "shape": [1], "weight": np.ones((1, 768)), "neuron": sdnn(vThMant=0)}
    flat = {"type": b"flatten", "shape": [768]}
    trace = run(netx_export.read(foreign(tmp_path / "a.net", start, flat, one)), host)
    TALLY.file(15)
    TALLY.same(trace.rasters["layer0_input"], truth("tinynet_sdnn/input"), "tinynet SDNN input block")

    graph = netx_export.read(conv_file(tmp_path / "b.net", "tinynet_sdnn", sdnn(vThMant=20)), input_message_bits=16)
    recorded = truth("tinynet_sdnn/input").astype(int)
    wanted = truth("tinynet_sdnn/layer1")
    assert not wanted[1:].any()
    TALLY.file(1)
    TALLY.same(run(graph, recorded).outputs["layer1_conv"][:1], wanted[:1], "tinynet SDNN conv block")

    last = {
        "type": b"dense",
        "shape": [100],
        "weight": np.load(lava_dl("gts/tinynet_sdnn/layer2_weight.npy")),
        "neuron": sdnn(sigma_output=True),
    }
    graph = netx_export.read(foreign(tmp_path / "c.net", last))
    # Upstream flattens (W,H,C) as it lies.
    x = np.load(lava_dl("gts/tinynet_sdnn/layer1.npy")).reshape(-1, 16).T[:, :, None, None] != 0
    found = run(graph, x).outputs["layer0_dense"]
    TALLY.file(16)
    TALLY.same(found, truth("tinynet_sdnn/layer2"), "tinynet SDNN output block")


def test_dense_block(run: Run, tmp_path: Path) -> None:
    layer = {
        "type": b"dense",
        "shape": [256],
        "weight": np.load(lava_dl("gts/dense/weight.npy")),
        "neuron": neuron(vThMant=6, iDecay=4096, vDecay=415),
    }
    graph = netx_export.read(foreign(tmp_path / "x.net", layer))
    found = run(graph, truth("dense/in").astype(int)).outputs["layer0_dense"]
    TALLY.file(2000)
    TALLY.same(found, truth("dense/out"), "dense block")


def rotation(period: float, alpha: float) -> tuple[int, int]:
    """sin and cos in 1/4096 as Lava's RF makes them of a period and a decay."""
    angle = 2 * math.pi / period
    return int((1 - alpha) * np.sin(angle) * 4096), int((1 - alpha) * np.cos(angle) * 4096)


def test_complex_dense_block(run: Run, tmp_path: Path) -> None:
    sin, cos = rotation(11, 0.05)
    weight = {
        part: np.load(lava_dl(f"gts/complex_dense/weight_{short}.npy"))
        for part, short in (("real", "r"), ("imag", "img"))
    }
    layer = {"type": b"dense", "shape": [256], "weight": weight, "neuron": rf(vThMant=25, sinDecay=sin, cosDecay=cos)}
    graph = netx_export.read(foreign(tmp_path / "x.net", layer))
    found = run(graph, truth("complex_dense/in").astype(int)).outputs["layer0_dense"]
    TALLY.file(2000)
    TALLY.same(found, truth("complex_dense/out"), "complex dense block (RF)")


def test_complex_input_block(run: Run) -> None:
    """RF_IZ with a threshold of 1.1, which no file can say: 70 / 64, so the graph is built here in halves."""
    sin, cos = rotation(7, 0.05)
    graph = Graph(
        populations=(
            Population(id="in", shape=(200, 1, 1), neuron=Input(message_bits=8)),
            Population(id="iz", shape=(200, 1, 1), neuron=RfIz(sin=sin, cos=cos, vth_mant=35, state_exp=1)),
        ),
        projections=tuple(Projection(src="in", dst="iz", synapse=Wire(), port=port) for port in ("re", "im")),
        timing="as_given",
    )
    found = run(graph, 32 * truth("complex_dense/in").astype(int)).outputs["iz"]
    TALLY.file(2000)
    TALLY.same(found, truth("complex_dense/current"), "complex input block (RF_IZ)")


# -- the recurrent network of upstream's test_hdf5.py -------------------------------------------------------------------


def recurrent_file(path: Path) -> tuple[Path, Any]:
    """Upstream's two recurrent blocks, written by SLAYER's own export, and SLAYER's output for an input of 0.2."""
    torch = pytest.importorskip("torch")
    slayer = pytest.importorskip("lava.lib.dl.slayer")
    import h5py

    torch.manual_seed(0)
    parameters = {
        "threshold": 0.95,
        "current_decay": 0.5,
        "voltage_decay": 0.15,
        "tau_grad": 1.0,
        "scale_grad": 1.0,
        "shared_param": False,
        "requires_grad": False,
        "graded_spike": False,
    }
    blocks = [slayer.block.cuba.Recurrent(parameters, n, 5, weight_scale=0.0, pre_hook_fx=None) for n in (6, 5)]
    for block in blocks:
        block.input_synapse.weight.data += 0.1
        block.recurrent_synapse.weight.data += 0.05
    spikes = torch.zeros((1, 6, 101)) + 0.2
    for block in blocks:
        spikes = block(spikes)
    with h5py.File(path, "w") as file:
        for index, block in enumerate(blocks):
            block.export_hdf5(file.create_group(f"layer/{index}"))
    return path, spikes.detach().numpy()


def test_recurrent(run: Run, tmp_path: Path) -> None:
    """Firing rates within 2 % of SLAYER's, as upstream asks; the input is 204, so one layer is scaled by 2**10."""
    path, slayer_output = recurrent_file(tmp_path / "x.net")
    graph = netx_export.read(path, input_message_bits=24)
    first = {population.id for population in graph.populations if population.id.startswith("layer0")}
    assert len(first) == 5, "SLAYER draws the decays of each neuron"
    populations = tuple(
        dataclasses.replace(p, neuron=dataclasses.replace(p.neuron, vth_mant=p.neuron.vth_mant << 10))
        if p.id in first and isinstance(p.neuron, Lif)
        else p
        for p in graph.populations
    )
    projections = tuple(
        dataclasses.replace(projection, synapse=Dense(kernel=shifted(projection.synapse.kernel, 10)))
        if projection.src in first and projection.dst in first and isinstance(projection.synapse, Dense)
        else projection
        for projection in graph.projections
    )
    graph = dataclasses.replace(graph, populations=populations, projections=projections)
    x = np.full((101, 6, 1, 1), int(0.2 * 1024))
    trace = run(graph, x)
    TALLY.file(101)
    found = trace.rasters["layer1_dense_rec.0"].mean()
    wanted = float(slayer_output[0][0].mean())
    print(f"recurrent network: mean rate {found:.4f}, SLAYER {wanted:.4f}")
    assert wanted > 0.05
    assert abs(found - wanted) / wanted <= 0.02


def shifted(kernel: Kernel, bits: int) -> Kernel:
    """The same weights times 2**bits, as mantissa and exponent."""
    weight = kernel.mantissa.astype(np.int64) << (kernel.exponent + bits)
    exponent = min(7, kernel.exponent + bits)
    return Kernel(mantissa=weight >> exponent, exponent=exponent)
