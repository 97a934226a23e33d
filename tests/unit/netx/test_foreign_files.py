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
from tests.unit.netx.networks import (
    FLAT,
    START,
    Layer,
    complex_conv,
    concat,
    conv,
    dense,
    foreign,
    neuron,
    pool,
    recurrent,
    rf,
    sdnn,
    unpool,
)


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

REFUSED: list[tuple[tuple[Layer, ...], str]] = [
    ((START, conv(type=b"conv3d")), r"layer 1 \(conv3d\): layers of type 'conv3d' cannot be read, only \['average', .* without saying so"),
    ((START, conv(type=None)), "layer 1 has no 'type', it holds dilation, groups, neuron.*export_hdf5"),
    ((START, {}), "layer 1 has no 'type', it holds nothing"),
    ((START, conv(type=7)), "layer 1: 'type' is array"),
    ((START, conv(type=[b"conv", b"conv"])), "'type' is .'conv', 'conv'., it must be one text"),
    ((START,), "there is no layer with neurons"),
    ((START, START, conv()), r"layer 1 \(input\): an input layer after other layers"),
    ((conv(),), r"layer 0 \(conv\): the file has no input layer before it.*input_shape="),
    (({**START, "bias": [3.0, 4.0]}, conv()), r"layer 0 \(input\): bias has shape \(2,\), it must be one number"),
    ((START, conv(neuron=neuron(type=b"ALIF"))), r"layer 1 \(conv\), neuron: type 'ALIF' cannot be read \(adaptive thresholds"),
    ((START, conv(neuron=neuron(type=b"ADRF_PHASE"))), "type 'ADRF_PHASE' cannot be read .*as plain RF neurons, without saying so"),
    ((START, conv(neuron=neuron(type=b"KWTA"))), "type 'KWTA' cannot be read .*winner-take-all"),
    ((START, conv(neuron=neuron(type=b"Izhikevich"))), "type 'Izhikevich' cannot be read, only .'LOIHI', 'CUBA', 'SDNN', 'RF_PHASE'"),
    ((START, conv(neuron=neuron(type=3))), "type array.* cannot be read"),
    ((START, conv(neuron=neuron(refDelay=2))), "neuron: refDelay is 2, the limit is 1.*ignores refractory delays"),
    ((START, conv(neuron=neuron(gradedSpike=True))), "gradedSpike is 1, the limit is 0"),
    ((START, conv(neuron=neuron(wgtExp=2))), "wgtExp is 2, the limit is 0"),
    ((START, conv(neuron=neuron(weight_exp=-1))), "weight_exp is -1, the limit is 0.*fold the norm into the weights"),
    ((START, conv(neuron=neuron(vThMant=None))), "neuron: the dataset 'vThMant' is missing"),
    ((START, conv(neuron=neuron(vThMant=[1, 2]))), r"vThMant has shape \(2,\), it must be one number.*shared parameters"),
    ((START, conv(neuron=neuron(iDecay=[1, 2]))), r"iDecay has shape \(2,\), it must be one number"),
    ((START, pool(neuron=neuron(iDecay=[1, 2]))), "constants that differ by channel, on a grouped, transposed or pooling"),
    ((START, dense(shape=[300], weight=np.ones((300, 32)), neuron=neuron(vDecay=np.arange(300)))), "300 different sets of constants, the limit is 256"),
    ((START, conv(neuron=neuron(vThMant=-1))), r"Lif vth_mant is -1, the limit is 0\.\.131072"),
    ((START, conv(neuron=neuron(vThMant=b"high"))), r"'vThMant' holds the text \('high',\), it must hold numbers"),
    ((START, conv(neuron=neuron(iDecay=-1))), r"iDecay is -1 and vDecay is 1024, the limits are 0\.\.4096 and 0\.\.4096"),
    ((START, conv(neuron=neuron(vDecay=4097))), "iDecay is 4096 and vDecay is 4097, the limits"),
    ((START, conv(neuron=neuron(threshold_step=3))), "neuron: unknown dataset 'threshold_step'.*remove it"),
    ((START, conv(neuron=sdnn(gradedSpike=False, iDecay=3))), "neuron: unknown dataset 'iDecay'"),
    ((START, conv(neuron=sdnn(activation=[1, 2]))), r"activation is array\(\[1, 2\]\), the graph has 'relu' and 'unit'"),
    ((START, conv(neuron=sdnn(activation=b"tanh"))), "activation is 'tanh', the graph has 'relu' and 'unit'.*without saying so"),
    ((START, conv(neuron=sdnn(vThMant=1 << 20))), r"SigmaDelta vth is 1048576, the limit is 0\.\.524287"),
    ((START, conv(neuron=sdnn(sigma_output=True), bias=[1, 2, 3])), "a bias on neurons with sigma_output, which only sum"),
    ((START, conv(neuron=rf())), "the weights are one matrix, its neurons need complex"),
    ((START, conv(weight={"real": conv()["weight"], "imag": conv()["weight"]})), "weights are complex, its neurons need one matrix"),
    ((START, conv(weight={"real": conv()["weight"]}, neuron=rf())), "weight: the dataset 'imag' is missing"),
    ((START, conv(weight={"real": [1], "imag": [1], "more": [1]}, neuron=rf())), "weight: unknown dataset 'more'"),
    ((START, complex_conv(bias=[1, 2, 3])), "a bias on resonators; .*without norm"),
    ((START, complex_conv(neuron=rf(sinDecay=5000))), r"Rf sin is 5000, the limit is -4096\.\.4096"),
    ((START, conv(weight_exp=3)), r"layer 1 \(conv\): unknown dataset 'weight_exp'"),
    ((START, conv(delay=np.arange(3))), r"layer 1 \(conv\): a delay of up to 2 steps on a convolution \(limit 0\).*delay=False.*or make it a dense layer"),
    ((START, pool(delay=4)), "a delay of up to 4 steps on a pooling layer"),
    ((START, conv(weight=None)), "the dataset 'weight' is missing"),
    ((START, conv(weight=np.zeros((3, 2, 2)))), r"weight has shape \(3, 2, 2\); it must be \(C_out, C_in/groups"),
    ((START, conv(weight=np.zeros((0, 2, 2, 2)))), r"weight has shape \(0, 2, 2, 2\), it is empty"),
    ((START, conv(weight=np.zeros((3, 5, 2, 2)))), "Conv reads 5 channels, its source offers 2"),
    ((START, conv(weight=conv()["weight"] + 0.5)), "'weight' holds the fraction -23.5"),
    ((START, conv(weight=conv()["weight"] * np.nan)), "'weight' holds values that are not finite"),
    ((START, conv(weight=WIDE * 300, shape=[3, 4, 4])), r"weights reach from -38700 to 300, the limit is -16256\.\.16256 .*even weights"),
    ((START, conv(shape=[3, 4, 4])), r"shape is \(3, 4, 4\), but weight .* make \(3, 3, 3\) of \(2, 4, 4\)"),
    ((START, conv(shape=[3, 0, 3])), r"shape is \[3, 0, 3\]; give \(C,H,W\)"),
    ((START, conv(shape=[1 << 20] * 3)), "1152921504606846976 neurons, the limit is 2147483647"),
    ((START, conv(stride=[1, 1, 1])), r"stride is \[1, 1, 1\]; give one number or \(vertical, horizontal\)"),
    ((START, conv(stride=[0, 1])), r"layer 1 \(conv\): Conv stride is \(0, 1\)"),
    ((START, conv(stride=None)), "layer 1 .conv.: the dataset 'stride' is missing"),
    ((START, conv(groups=2)), "Conv groups is 2, it must divide the 3 output channels"),
    ((START, conv(bias=[1, 2])), r"bias has shape \(2,\), it must be \(3,\) or \(3, 3, 3\)"),
    ((START, conv(bias=[0, 0, 5000])), r"Lif bias_mant reaches from 0 to 5000, the limit is -4096\.\.4095"),
    ((START, pool(weight=np.ones((3, 1, 2, 2)))), r"weight has shape \(3, 1, 2, 2\); it must be \(1, 1, kh, kw\) or \(2, 1, kh, kw\)"),
    (({**START, "shape": [1 << 22, 4, 4]}, pool(shape=[1 << 22, 2, 2])), "the weights of all channels are 16777216, the limit is 4194304"),
    ((START, pool(groups=1)), r"layer 1 \(pool\): unknown dataset 'groups'"),
    ((START, unpool(shape=[2, 7, 8])), "shape is .2, 7, 8., but weight .* make a larger map"),
    ((START, unpool(shape=[2, 11, 8])), "output_padding is .3, 0.; it must be smaller than stride"),
    ((START, FLAT), "shape .1, 1, 27. does not hold the 32 neurons of the layer before it"),
    ((START, conv(), {**FLAT, "neuron": neuron()}, dense()), r"layer 2 \(flatten\): unknown group 'neuron'"),
    ((START, conv(), FLAT, conv()), r"layer 3 \(conv\): a convolution cannot read a flat layer"),
    ((START, conv(), dense()), r"layer 2 \(dense\): reads the map \(3, 3, 3\) without a flatten layer"),
    ((START, conv(), FLAT, dense(weight=np.ones((4, 26)))), r"weight has shape \(4, 26\); it must be \(4, 27\)"),
    ((START, conv(), FLAT, dense(shape=[5])), r"shape \(5, 1, 1\) has 5 neurons, weight \(4, 27\) feeds others"),
    ((START, conv(), FLAT, dense(delay=np.arange(26))), r"delay has shape \(26,\); give one number, one per neuron \(4,\), one per axon \(27,\)"),
    ((START, conv(), FLAT, dense(delay=-3)), r"a delay is -3 steps, the limit is 0\.\.62"),
    ((START, conv(), FLAT, dense(delay=0.5)), "'delay' holds the fraction 0.5"),
    ((START, conv(), FLAT, recurrent(delay=[1, 0, 0, 0])), "a delay of up to 1 steps on a recurrent layer: SLAYER delays what leaves"),
    ((START, conv(), FLAT, recurrent(weight_rec=np.ones((4, 3)))), r"weight_rec has shape \(4, 3\); it must be \(4, 4\)"),
    ((START, conv(), FLAT, dense(weight={"real": [1], "imag": [1]})), "weights are complex, its neurons need one matrix"),
    ((START, conv(), concat([0])), r"joins \[\(3, 3, 3\), \(2, 4, 4\)\]; all maps must have the same height and width"),
    ((START, conv(), concat([0, 9])), "refers to layer 9; give the numbers of other layers that are read"),
    ((START, conv(), concat([2])), "refers to layer 2; give the numbers of other layers"),
    ((START, conv(), concat([3]), FLAT), r"refers to the later layer 3, of type 'flatten', which has no neurons"),
    ((START, conv(), concat([], shape=[4, 3, 3])), r"shape is \(4, 3, 3\), but the layer before it and the listed ones make \(3, 3, 3\)"),
    ((START, conv(), concat([1] * 400)), "joins 258 layers, the limit is 256"),
    ((concat([]),), r"layer 0 \(concat\): the file has no input layer before it"),
    ((START, conv(), {"type": b"average", "shape": [3]}, dense()), r"an average sends fractions, so nothing can follow it; .*num_layers=2"),
    ((START, conv(), {"type": b"average", "shape": [4]}), "has 4 outputs, which do not divide the 27 neurons"),
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
    ("pilotnet_snn_conv_only.net", {}, None),
    ("pilotnet_snn_conv_only.net", {"skip_layers": 1}, None),
    ("bootstrap_mnist.net", {}, None),
    ("bootstrap_mnist.net", {"skip_layers": 1, "num_layers": 3}, None),
    ("ndns_sdnn_delays.net", {}, None),
    (
        "recurrent_example_tut.net",
        {},
        "layer 0 has no 'type', it holds nothing; NetX needs one of .* every block's own export_hdf5",
    ),
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
