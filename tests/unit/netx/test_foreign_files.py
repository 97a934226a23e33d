"""NetX files that other programs wrote: what is read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import netx_export
from netx_export.errors import NetxError
from netx_export.graph import Conv, Dense, Graph, Input, Lif
from tests.unit.netx.networks import FLAT, START, Layer, conv, dense, foreign, neuron


def layer(graph: Graph, index: int) -> Lif:
    spec = graph.populations[index].neuron
    assert isinstance(spec, Lif)
    return spec


# -- what is read ---------------------------------------------------------------------------------------------------


def test_a_sequential_network(tmp_path: Path) -> None:
    graph = netx_export.read(
        foreign(
            tmp_path / "x.net", START, conv(bias=[64.0, -32.0, 0.0]), FLAT, dense(), simulation={"Ts": 1, "tSample": 16}
        )
    )
    assert (graph.timing, graph.steps) == ("as_given", 16)
    assert [population.id for population in graph.populations] == ["input", "layer1_conv", "layer3_dense"]
    assert [population.shape for population in graph.populations] == [(2, 4, 4), (3, 3, 3), (4, 1, 1)]
    assert [projection.delay for projection in graph.projections] == [0, 0]
    assert graph.populations[0].neuron == Input()
    first = layer(graph, 1)
    # SLAYER's bias is a mantissa at exponent 6, its iDecay is du + 1.
    assert (first.vth_mant, first.du, first.dv, first.bias_exp) == (25, 4095, 1024, 6)
    assert first.bias_mant.tolist() == [64, -32, 0]
    assert isinstance(graph.projections[0].synapse, Conv)
    assert graph.projections[0].synapse.kernel.mantissa[0, 0].tolist() == [[-24, -22], [-20, -18]]
    assert isinstance(graph.projections[1].synapse, Dense)


def test_encodings_found_in_the_wild(tmp_path: Path) -> None:
    plain = netx_export.read(foreign(tmp_path / "a.net")).digest
    five_axes = conv(weight=conv()["weight"][..., None], type=b"conv", stride=1, padding=0, dilation=np.array([1]))
    named = dense(neuron=neuron(type="CUBA", gradedSpike=False, theta=1600, scaleRho=1.0, tauRho=0.5, wgtExp=0))
    spare = dense(shape=[4], weight=dense()["weight"].reshape(-1), delay=0, bias=np.zeros(4), neuron=named["neuron"])
    counted = {**five_axes, "inChannels": 2, "outChannels": 3, "kernelSize": [9, 9]}
    assert netx_export.read(foreign(tmp_path / "b.net", START, counted, FLAT, spare)).digest == plain


@pytest.mark.parametrize(
    ("weight", "exponent"), [([[-256, 254]], 1), ([[-20, 18]], 0), ([[-128, 127]], 0), ([[-512, 0]], 2), ([[0, 0]], 0)]
)
def test_the_smallest_exponent_is_chosen(weight: list[list[int]], exponent: int, tmp_path: Path) -> None:
    kernel = conv(shape=[1, 4, 4], weight=np.reshape(weight, (1, 2, 1, 1)).astype("f4"))
    graph = netx_export.read(foreign(tmp_path / "x.net", START, kernel))
    found = graph.projections[0].synapse.kernel
    assert found.exponent == exponent
    assert (found.mantissa.astype(int) << exponent).reshape(1, 2).tolist() == weight


def test_a_bias_per_neuron_is_stored_with_reversed_axes(tmp_path: Path) -> None:
    kernel = conv(shape=[3, 3, 2], stride=[1, 3], padding=[0, 1], bias=np.arange(18).reshape(2, 3, 3))
    graph = netx_export.read(foreign(tmp_path / "x.net", START, kernel))
    assert np.array_equal(layer(graph, 1).bias_mant, np.arange(18).reshape(2, 3, 3).transpose(2, 1, 0))


def test_one_delay_for_a_dense_layer(tmp_path: Path) -> None:
    for delay in (7, np.full(27, 7.0), np.full((4, 27), 7.0)):
        graph = netx_export.read(foreign(tmp_path / "x.net", START, conv(), FLAT, dense(delay=delay)))
        assert graph.projections[1].delay == 7


def test_without_an_input_layer(tmp_path: Path) -> None:
    graph = netx_export.read(foreign(tmp_path / "x.net", dense()))
    assert graph.populations[0].shape == (27, 1, 1)


def test_shapes_of_one_and_two_sides(tmp_path: Path) -> None:
    graph = netx_export.read(foreign(tmp_path / "x.net", {"type": b"input", "shape": [27]}, dense()))
    assert graph.populations[0].shape == (27, 1, 1)
    graph = netx_export.read(foreign(tmp_path / "x.net", {"type": b"input", "shape": [3, 9]}, dense()))
    assert graph.populations[0].shape == (1, 3, 9)


def test_skipping_layers_as_in_lava_dl(tmp_path: Path) -> None:
    own = {**START, "neuron": neuron(), "weight": [40.0], "bias": [36.0]}
    path = foreign(tmp_path / "x.net", own, conv(), FLAT, dense(neuron=None))
    graph = netx_export.read(path, skip_layers=1, num_layers=3)
    assert [population.shape for population in graph.populations] == [(2, 4, 4), (3, 3, 3)]
    last = foreign(tmp_path / "x.net", START, conv(), FLAT, dense())
    assert netx_export.read(last, skip_layers=2).populations[0].shape == (3, 3, 3)
    for wrong in ({"skip_layers": 4}, {"skip_layers": -1}, {"num_layers": 9}, {"num_layers": 0}):
        with pytest.raises(NetxError, match="leave nothing of the 4 layers"):
            netx_export.read(path, **wrong)
    with pytest.raises(NetxError, match=r"layer 2 \(flatten\): cannot be the last skipped layer"):
        netx_export.read(path, skip_layers=3)


# -- what is refused ------------------------------------------------------------------------------------------------

WIDE = np.array([[1, -129]] * 3, "f4").reshape(3, 2, 1, 1)
OWN = {"neuron": neuron(), "weight": [40.0], "bias": [36.0]}

REFUSED: list[tuple[tuple[Layer, ...], str]] = [
    ((START, conv(type=b"conv3d")), r"layer 1 \(conv3d\): layers of type 'conv3d' cannot be read, only \['conv', "),
    ((START, conv(type=b"pool")), "layers of type 'pool' cannot be read.*OR population"),
    ((START, conv(type=b"average")), "'average' cannot be read.*average on the host"),
    ((START, {"type": b"concat", "shape": [2, 4, 4], "layers": [0]}), "'concat' cannot be read.*dissolves them"),
    ((START, conv(type=b"dense_rec")), "'dense_rec' cannot be read.*recurrent projections are not supported"),
    ((START, conv(type=None)), "layer 1 has no 'type', it holds dilation, groups, neuron"),
    ((START, {}), "layer 1 has no 'type', it holds nothing"),
    ((START, conv(type=7)), "layer 1: 'type' is array"),
    ((START, conv(type=[b"conv", b"conv"])), "'type' is .'conv', 'conv'., it must be one text"),
    ((START,), "there is no layer with neurons"),
    ((START, START, conv()), r"layer 1 \(input\): an input layer after other layers"),
    ((conv(),), r"layer 0 \(conv\): the file has no input layer before it"),
    (({**START, **OWN}, conv()), r"layer 0 \(input\): the input layer has bias, weight, neuron .*skip_layers=1"),
    (({**START, "bias": 3.0}, conv()), "the input layer has bias of its own"),
    (({**START, "neuron": neuron(type=b"SDNN")}, conv()), r"layer 0 \(input\), neuron: type 'SDNN' cannot be read"),
    ((START, conv(neuron=neuron(type=b"SDNN"))), r"layer 1 \(conv\), neuron: type 'SDNN' cannot be read, only 'LOIHI'"),
    ((START, conv(neuron=neuron(type=b"RF_IZ"))), "type 'RF_IZ' cannot be read"),
    ((START, conv(neuron=neuron(type=3))), "type array.* cannot be read"),
    ((START, conv(neuron=None)), r"layer 1 \(conv\): no neuron group; NetX then means an integrator"),
    ((START, conv(neuron=neuron(refDelay=2))), "neuron: refDelay is 2, the limit is 1"),
    ((START, conv(neuron=neuron(gradedSpike=True))), "gradedSpike is 1, the limit is 0"),
    ((START, conv(neuron=neuron(messageBits=8))), "messageBits is 8, the limit is 0"),
    ((START, conv(neuron=neuron(wgtExp=2))), "wgtExp is 2, the limit is 0"),
    ((START, conv(neuron=neuron(vThMant=None))), "neuron: the dataset 'vThMant' is missing"),
    ((START, conv(neuron=neuron(vThMant=[1, 2]))), r"vThMant has shape \(2,\), it must be one number"),
    ((START, conv(neuron=neuron(vThMant=1 << 17))), r"Lif vth_mant is 131072, the limit is 0\.\.131071"),
    ((START, conv(neuron=neuron(vThMant=b"high"))), r"'vThMant' holds the text \('high',\), it must hold numbers"),
    ((START, conv(neuron=neuron(iDecay=0))), r"iDecay is 0 and vDecay is 1024, the limits are 1\.\.4096 and 0\.\.4095"),
    ((START, conv(neuron=neuron(vDecay=4096))), "iDecay is 4096 and vDecay is 4096, the limits"),
    ((START, conv(neuron=neuron(threshold_step=3))), "neuron: unknown dataset 'threshold_step'.*remove it"),
    ((START, conv(weight_exp=3)), r"layer 1 \(conv\): unknown dataset 'weight_exp'"),
    ((START, conv(delay=np.arange(3))), "a delay of up to 2 steps on a convolution; .*limit 0"),
    ((START, conv(weight=None)), "the dataset 'weight' is missing"),
    ((START, conv(weight=np.zeros((3, 2, 2)))), r"weight has shape \(3, 2, 2\); it must be \(C_out, C_in/groups"),
    ((START, conv(weight=np.zeros((0, 2, 2, 2)))), r"weight has shape \(0, 2, 2, 2\), it is empty"),
    ((START, conv(weight=np.zeros((3, 5, 2, 2)))), "Conv reads 5 channels, its source offers 2"),
    ((START, conv(weight=conv()["weight"] + 0.5)), "'weight' holds the fraction -23.5"),
    ((START, conv(weight=conv()["weight"] * np.nan)), "'weight' holds values that are not finite"),
    ((START, conv(weight=WIDE, shape=[3, 4, 4])), r"weights from -129 to 1 do not fit 8 bits .*even weights"),
    ((START, conv(shape=[3, 4, 4])), r"shape is \(3, 4, 4\), but weight .* make \(3, 3, 3\) of \(2, 4, 4\)"),
    ((START, conv(shape=[3, 0, 3])), r"shape is \[3, 0, 3\]; give \(C,H,W\)"),
    ((START, conv(shape=[1 << 20] * 3)), "1152921504606846976 neurons, the limit is 2147483647"),
    ((START, conv(stride=[1, 1, 1])), r"stride is \[1, 1, 1\]; give one number or \(vertical, horizontal\)"),
    ((START, conv(stride=[0, 1])), r"layer 1 \(conv\): Conv stride is \(0, 1\)"),
    ((START, conv(stride=None)), "layer 1 .conv.: the dataset 'stride' is missing"),
    ((START, conv(groups=2)), "Conv groups is 2, it must divide the 3 output channels"),
    ((START, conv(bias=[1, 2])), r"bias has shape \(2,\), it must be \(3,\) or \(3, 3, 3\)"),
    ((START, conv(bias=[0, 0, 5000])), r"Lif bias_mant reaches from 0 to 5000, the limit is -4096\.\.4095"),
    ((START, FLAT), "shape .1, 1, 27. does not hold the 32 neurons of the layer before it"),
    ((START, conv(), {**FLAT, "neuron": neuron()}, dense()), "a flatten layer has no neurons"),
    ((START, conv(), FLAT, conv()), r"layer 3 \(conv\): a convolution cannot read a flat layer"),
    ((START, conv(), dense()), r"layer 2 \(dense\): reads the map \(3, 3, 3\) without a flatten layer"),
    ((START, conv(), FLAT, dense(weight=np.ones((4, 26)))), r"weight has shape \(4, 26\); it must be \(4, 27\)"),
    ((START, conv(), FLAT, dense(shape=[5])), r"shape \(5, 1, 1\) has 5 neurons, weight \(4, 27\) feeds others"),
    ((START, conv(), FLAT, dense(weight=np.full((4, 27), -4))), "weights from -4 to -4: lava-dl's loader would not keep"),
    ((START, conv(), FLAT, dense(weight=np.full((4, 27), 201))), r"weights from 201 to 201 do not fit 8 bits"),
    ((START, conv(), FLAT, dense(delay=np.arange(27))), "27 delays from 0 to 26; a projection of this version holds one"),
    ((START, conv(), FLAT, dense(delay=63)), r"the delay is 63 steps, the limit is 0\.\.62"),
    ((START, conv(), FLAT, dense(delay=0.5)), "'delay' holds the fraction 0.5"),
    ((START, conv(), FLAT, dense(weight={"real": [1], "imag": [1]})), r"unknown group 'weight'"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_is_refused(layers: tuple[Layer, ...], message: str, tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.net", *layers)
    with pytest.raises(NetxError, match=message) as caught:
        netx_export.read(path)
    assert str(caught.value).startswith(str(path))


def test_layers_out_of_order(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.net")
    with h5py.File(path, "r+") as file:
        file.move("layer/1", "layer/first")
    with pytest.raises(NetxError, match=r"/layer: entry '1' is missing among \['0', '2', '3', 'first'\]"):
        netx_export.read(path)
    with h5py.File(path, "w") as file:
        file.create_group("layer")
    with pytest.raises(NetxError, match="/layer is empty; the file holds no network"):
        netx_export.read(path)
    path = foreign(tmp_path / "x.net", START, conv(), simulation={"tSample": 0})
    with pytest.raises(NetxError, match="tSample is 0, a sample has at least one step"):
        netx_export.read(path)


# -- networks that nobody here wrote --------------------------------------------------------------------------------

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "nets"

REAL: list[tuple[str, dict[str, Any], str | None]] = [
    ("pilotnet_snn_conv_only.net", {}, r"layer 0 \(input\): the input layer has bias, weight, neuron of its own"),
    ("pilotnet_snn_conv_only.net", {"skip_layers": 1}, None),
    ("bootstrap_mnist.net", {"skip_layers": 1}, r"layer 3 \(dense\): no neuron group"),
    ("bootstrap_mnist.net", {"skip_layers": 1, "num_layers": 3}, None),
    ("ndns_sdnn_delays.net", {}, r"layer 0 \(input\), neuron: type 'SDNN' cannot be read"),
    ("recurrent_example_tut.net", {}, "layer 0 has no 'type', it holds nothing; NetX needs one of"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), REAL)
def test_real_files(name: str, arguments: dict[str, Any], message: str | None) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the collection of public networks is not here ({name})")
    if message is None:
        graph = netx_export.read(path, **arguments)
        assert len(graph.populations) > 2
        assert graph.timing == "as_given"
        return
    with pytest.raises(NetxError, match=message):
        netx_export.read(path, **arguments)
