"""Small networks for the tests of the file format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
)
from netx_export.netx import guard
from netx_export.netx.tree import build


def sequential(seed: int = 0, *, shape: tuple[int, int, int] = (2, 9, 7), steps: int = 6) -> Graph:
    """Two convolutions and two dense layers that stock NetX can express: every field off its default."""
    rng = np.random.default_rng(seed)
    first = Conv(kernel=Kernel(mantissa=rng.integers(-60, 90, (4, 2, 3, 3))), stride=(2, 1), padding=(1, 0))
    second = Conv(
        kernel=Kernel(mantissa=rng.integers(-60, 90, (6, 2, 2, 3)), exponent=2),
        padding=(0, 2),
        dilation=(2, 1),
        groups=2,
    )
    shapes = [shape]
    shapes.append(first.output_shape(shapes[-1]))
    shapes.append(second.output_shape(shapes[-1]))
    wide = (3, 2, 2)
    third = Dense(kernel=Kernel(mantissa=rng.integers(-127, 128, (12, int(np.prod(shapes[-1])))), exponent=1))
    fourth = Dense(kernel=Kernel(mantissa=rng.integers(-128, 128, (5, 12))))
    neurons: list[NeuronSpec] = [
        Input(),
        Lif(vth_mant=90, du=4095, dv=300, bias_mant=rng.integers(-9, 10, 4), bias_exp=6, unit=0.25),
        Lif(vth_mant=600, du=1000, dv=500, bias_mant=rng.integers(-9, 10, shapes[2]), bias_exp=7),
        Lif(vth_mant=300, du=2000, dv=100, bias_mant=64 * rng.integers(-3, 4, 3), bias_exp=0),
        Lif(vth_mant=100, du=4095, dv=0),
    ]
    shapes += [wide, (5, 1, 1)]
    populations = tuple(
        Population(id=f"p{index}", name=f"layer {index}", source=f"net.{index}", shape=extent, neuron=neuron)
        for index, (extent, neuron) in enumerate(zip(shapes, neurons, strict=True))
    )
    synapses = (first, second, third, fourth)
    projections = tuple(
        Projection(src=f"p{index}", dst=f"p{index + 1}", synapse=synapse) for index, synapse in enumerate(synapses)
    )
    return Graph(populations=populations, projections=projections, steps=steps, meta={"seed": "7", "größe": "klein"})


def branched() -> Graph:
    """Every neuron and synapse kind, skips, a shared kernel, a channel slice, upsampling, delays, graded input."""
    rng = np.random.default_rng(1)

    def kernel(*shape: int, low: int = -128, **more: Any) -> Kernel:
        return Kernel(mantissa=rng.integers(low, 128, shape), **more)

    shared = kernel(4, 2, 3, 3, exponent=3)
    shared_conv = Conv(kernel=shared, padding=(1, 1))
    populations = (
        Population(id="in", shape=(2, 8, 8), neuron=Input()),
        Population(id="gray", shape=(2, 8, 8), neuron=Input(message_bits=9)),
        Population(
            id="a", name="encoder.a", source="net.a", shape=(4, 8, 8), neuron=Lif(vth_mant=9, bias_mant=[5], unit=0.1)
        ),
        Population(id="pool", shape=(4, 4, 4), neuron=Or()),
        Population(
            id="b",
            shape=(4, 8, 8),
            neuron=Lif(vth_mant=131071, du=0, dv=4095, bias_mant=[-4096, 0, 1, 4095], bias_exp=7),
        ),
        Population(id="heads", shape=(3, 1, 1), neuron=Readout(bias=[1, -(1 << 31), (1 << 31) - 1], unit=1 / 3)),
    )
    ones = Kernel(mantissa=np.ones((4, 1, 2, 2), np.int16))
    projections = (
        Projection(src="in", dst="a", synapse=shared_conv),
        Projection(src="gray", dst="a", synapse=Conv(kernel=shared, padding=(1, 1)), port="current"),
        Projection(src="a", dst="pool", synapse=Conv(kernel=ones, stride=(2, 2), groups=4)),
        Projection(src="pool", dst="b", synapse=Conv(kernel=kernel(4, 4, 3, 3), padding=(1, 1), upsample=2)),
        Projection(src="a", dst="b", synapse=OneToOne(kernel=kernel(4, exponent=7)), delay=1),
        Projection(
            src="a", dst="b", synapse=Conv(kernel=shared, padding=(1, 1)), delay=1, src_channels=(1, 3), port="skip"
        ),
        Projection(src="b", dst="heads", synapse=Dense(kernel=kernel(3, 256))),
    )
    return Graph(populations=populations, projections=projections, steps=5, meta={"command": "export", "empty": ""})


def graded() -> Graph:
    """What version 2 of the format added: sigma-delta neurons, resonators, recurrence, delays of every form."""
    rng = np.random.default_rng(4)

    def kernel(*shape: int, **more: Any) -> Kernel:
        return Kernel(mantissa=rng.integers(-128, 128, shape), **more)

    populations = (
        Population(id="in", shape=(2, 5, 4), neuron=Input(message_bits=24)),
        Population(id="delta", shape=(2, 5, 4), neuron=Delta(vth=3, spike_exp=5, state_exp=4)),
        Population(
            id="sd",
            shape=(3, 4, 3),
            neuron=SigmaDelta(vth=2, bias=[1, -2, 3], spike_exp=2, state_exp=1, activation="unit"),
        ),
        Population(id="up", shape=(2, 9, 6), neuron=SigmaDelta(vth=1)),
        Population(id="sum", shape=(6, 1, 1), neuron=Sigma()),
        Population(
            id="lif", shape=(6, 1, 1), neuron=Lif(vth_mant=131072, du=-1, dv=4096, reset_interval=7, reset_offset=3)
        ),
        Population(id="rf", shape=(5, 1, 1), neuron=Rf(sin=1200, cos=-3700, vth_mant=40, state_exp=5)),
        Population(id="iz", shape=(5, 1, 1), neuron=RfIz(sin=-900, cos=3900, vth_mant=60)),
    )
    once = kernel(5, 6, exponent=-3)
    projections = (
        Projection(src="in", dst="delta", synapse=Wire()),
        Projection(src="delta", dst="sd", synapse=Conv(kernel=kernel(3, 2, 2, 2))),
        Projection(
            src="sd",
            dst="up",
            synapse=ConvTranspose(
                kernel=kernel(3, 2, 2, 1, exponent=1), stride=(2, 2), padding=(0, 0), output_padding=(1, 1)
            ),
        ),
        Projection(
            src="up",
            dst="sum",
            synapse=Sparse(kernel=kernel(3, exponent=-8), rows=[0, 0, 5], columns=[3, 107, 50]),
            delays=[0, 62, 7],
        ),
        Projection(
            src="sum", dst="lif", synapse=Dense(kernel=kernel(6, 6)), delay=4, delays=rng.integers(0, 63, (6, 6))
        ),
        Projection(src="lif", dst="lif", synapse=Dense(kernel=kernel(6, 6)), port="back"),
        Projection(src="lif", dst="rf", synapse=Dense(kernel=once), port="re"),
        Projection(src="lif", dst="rf", synapse=Dense(kernel=once), port="im"),
        Projection(
            src="rf", dst="iz", synapse=OneToOne(kernel=kernel(5)), port="re", delays=rng.integers(0, 5, (5, 1, 1))
        ),
        Projection(src="rf", dst="iz", synapse=OneToOne(kernel=kernel(5)), port="im", delay=100),
        Projection(src="iz", dst="lif", synapse=Dense(kernel=kernel(6, 5))),
    )
    return Graph(
        populations=populations, projections=projections, timing="as_given", messages="graded", steps=9, meta={"a": "b"}
    )


def chained(kind: str) -> Graph:
    """A sequential network of a kind that stock NetX can express: sigma_delta, recurrent, delayed or resonant."""
    rng = np.random.default_rng(11)

    def dense_of(targets: int, sources: int, span: int = 60) -> Dense:
        return Dense(kernel=Kernel(mantissa=2 * rng.integers(-span, span, (targets, sources))))

    source = Population(id="in", shape=(2, 6, 5), neuron=Input())
    neurons: list[tuple[tuple[int, int, int], NeuronSpec, list[dict[str, Any]]]]
    match kind:
        case "sigma_delta":
            source = Population(id="in", shape=(2, 6, 5), neuron=Input(message_bits=24))
            conv = Conv(kernel=Kernel(mantissa=rng.integers(-9, 10, (3, 2, 3, 3))), stride=(2, 1), padding=(1, 0))
            neurons = [
                ((2, 6, 5), Delta(vth=5, spike_exp=6, state_exp=6), [{"synapse": Wire()}]),
                ((3, 3, 3), SigmaDelta(vth=4, bias=[5, -7, 9], spike_exp=6, state_exp=6), [{"synapse": conv}]),
                ((7, 1, 1), SigmaDelta(vth=9, spike_exp=6, state_exp=6), [{"synapse": dense_of(7, 27, 9)}]),
                ((4, 1, 1), Sigma(), [{"synapse": dense_of(4, 7, 9)}]),
            ]
        case "recurrent":
            spec = Lif(vth_mant=300, du=1200, dv=400, bias_mant=rng.integers(-9, 10, 9), bias_exp=6)
            neurons = [
                ((2, 6, 5), Lif(vth_mant=30, du=1000, dv=900, bias_exp=6), [{"synapse": Wire()}]),
                ((9, 1, 1), spec, [{"synapse": dense_of(9, 60)}, {"synapse": dense_of(9, 9), "src": "p1"}]),
                ((4, 1, 1), Lif(vth_mant=90, dv=100, bias_exp=6), [{"synapse": dense_of(4, 9)}]),
            ]
            source = Population(id="in", shape=(2, 6, 5), neuron=Input(message_bits=24))
        case "delayed":
            rows = np.broadcast_to(rng.integers(0, 20, (9, 1)), (9, 60))
            neurons = [
                (
                    (9, 1, 1),
                    Lif(vth_mant=300, du=1200, dv=400, bias_exp=6),
                    [{"synapse": dense_of(9, 60), "delays": rows}],
                ),
                (
                    (8, 1, 1),
                    Lif(vth_mant=60, du=3000, bias_exp=6),
                    [{"synapse": dense_of(8, 9), "delays": rng.integers(0, 9, (9, 1, 1))}],
                ),
                (
                    (8, 1, 1),
                    Lif(vth_mant=60, du=3000, bias_exp=6),
                    [{"synapse": dense_of(8, 8), "delays": rng.integers(0, 63, (8, 8))}],
                ),
                ((5, 1, 1), Lif(vth_mant=50, du=4095, bias_exp=6), [{"synapse": dense_of(5, 8), "delay": 6}]),
            ]
        case _:
            neurons = [
                (
                    (9, 1, 1),
                    Rf(sin=1200, cos=3778, vth_mant=150),
                    [{"synapse": dense_of(9, 60, 20), "port": "re"}, {"synapse": dense_of(9, 60, 20), "port": "im"}],
                ),
                (
                    (6, 1, 1),
                    RfIz(sin=2007, cos=3012, vth_mant=90),
                    [{"synapse": dense_of(6, 9), "port": "re"}, {"synapse": dense_of(6, 9), "port": "im"}],
                ),
                ((5, 1, 1), Lif(vth_mant=20, dv=400, bias_exp=6), [{"synapse": dense_of(5, 6)}]),
            ]
    populations, projections = [source], []
    for index, (shape, spec, feeds) in enumerate(neurons):
        name = f"p{index}"
        for feed in feeds:
            projections.append(Projection(**{"src": populations[-1].id, "dst": name, **feed}))
        populations.append(Population(id=name, shape=shape, neuron=spec))
    messages: Any = "graded" if kind == "sigma_delta" else "binary"
    return Graph(
        populations=tuple(populations), projections=tuple(projections), timing="as_given", messages=messages, steps=30
    )


def assert_same(found: Graph, wanted: Graph) -> None:
    """Everything equal, the names that the digest leaves out and the identity of shared kernels included."""
    assert found.digest == wanted.digest
    assert (found.timing, found.messages, found.steps) == (wanted.timing, wanted.messages, wanted.steps)
    assert dict(found.meta) == dict(wanted.meta)
    for one, other in zip(found.populations, wanted.populations, strict=True):
        assert (one.id, one.name, one.source, one.shape) == (other.id, other.name, other.source, other.shape)
        assert getattr(one.neuron, "unit", None) == getattr(other.neuron, "unit", None)
    assert [p.port for p in found.projections] == [p.port for p in wanted.projections]
    assert sharing(found) == sharing(wanted)


def sharing(graph: Graph) -> list[int]:
    """For each projection, the first projection that has the same kernel object."""
    kernels = [id(getattr(projection.synapse, "kernel", None)) for projection in graph.projections]
    return [kernels.index(kernel) for kernel in kernels]


def edit(path: Path, change: Callable[[h5py.File], object], *, seal: bool = True) -> None:
    """Change a file with h5py; `seal` makes its checksum right again, as an attacker would."""
    with h5py.File(path, "r+") as file:
        change(file)
    if seal:
        tree, payload = guard.collect(str(path))
        if "error" in tree:
            return
        extension = build(tree, memoryview(b"".join(payload)), str(path), "").groups["basalt"]
        del extension.attributes["checksum"]
        with h5py.File(path, "r+") as file:
            file["basalt"].attrs["checksum"] = extension.checksum()


Layer = dict[str, Any]


def neuron(**more: Any) -> Layer:
    """The neuron group that SLAYER writes."""
    return {"type": b"LOIHI", "iDecay": 4096, "vDecay": 1024, "vThMant": 25, "refDelay": 1, **more}


def conv(**more: Any) -> Layer:
    """A foreign convolution (2,4,4) -> (3,3,3) with float weights and a `type` that is an array, as in the wild."""
    return {
        "type": np.array([b"conv"]),
        "shape": [3, 3, 3],
        "weight": np.arange(-12, 12, dtype=np.float32).reshape(3, 2, 2, 2) * 2,
        "stride": [1, 1],
        "padding": [0, 0],
        "dilation": [1, 1],
        "groups": 1,
        "neuron": neuron(),
        **more,
    }


def dense(**more: Any) -> Layer:
    """A foreign dense layer of 27 -> 4 neurons."""
    weight = np.arange(-54, 54, dtype=np.float32).reshape(4, 27)
    return {"type": np.array([b"dense"]), "shape": [4, 1, 1], "weight": weight, "neuron": neuron(type=b"CUBA"), **more}


def sdnn(**more: Any) -> Layer:
    """The neuron group of SLAYER's sigma-delta blocks."""
    return {"type": b"SDNN", "activation": b"relu", "vThMant": 3, **more}


def rf(**more: Any) -> Layer:
    """The neuron group of SLAYER's resonators."""
    return {"type": b"RF_PHASE", "sinDecay": 1200, "cosDecay": 3700, "vThMant": 30, "gradedSpike": False, **more}


def complex_conv(**more: Any) -> Layer:
    """The convolution of `conv` with complex weights and resonators."""
    weight = {"real": conv()["weight"], "imag": -conv()["weight"]}
    return conv(**{"weight": weight, "neuron": rf(), **more})


def pool(**more: Any) -> Layer:
    """SLAYER's Pool (2,4,4) -> (2,2,2): one kernel for all channels."""
    fields = {"stride": [2, 2], "padding": [0, 0], "dilation": [1, 1], "kernelSize": [2, 2], "neuron": neuron()}
    return {"type": b"pool", "shape": [2, 2, 2], "weight": np.full((1, 1, 2, 2), 64.0), **fields, **more}


def unpool(**more: Any) -> Layer:
    """SLAYER's Unpool (2,4,4) -> (2,8,8)."""
    return pool(**{"type": b"unpool", "shape": [2, 8, 8], **more})


def recurrent(**more: Any) -> Layer:
    """A recurrent dense layer of 27 -> 4 neurons."""
    return dense(**{"type": b"dense_rec", "weight_rec": np.arange(-8, 8).reshape(4, 4) * 2, **more})


def concat(layers: list[int], **more: Any) -> Layer:
    """A concat of the layer before and others."""
    return {"type": b"concat", "shape": [3, 3, 3], "layers": np.array(layers, "i8"), **more}


def foreign(path: Path, *layers: Layer, **root: Any) -> Path:
    """A NetX file as other programs write it; None leaves a field out."""

    def fill(group: h5py.Group, content: Layer) -> None:
        for name, value in content.items():
            if isinstance(value, dict):
                fill(group.create_group(name), value)
            elif value is not None:
                group[name] = value

    chosen = layers or (START, conv(), FLAT, dense())
    with h5py.File(path, "w") as file:
        fill(file, {"layer": {str(index): layer for index, layer in enumerate(chosen)}, **root})
    return path


START: Layer = {"type": np.array([b"input"]), "shape": [2, 4, 4]}
FLAT: Layer = {"type": np.array([b"flatten"]), "shape": [1, 1, 27]}
