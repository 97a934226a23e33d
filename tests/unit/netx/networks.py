"""Small networks for the tests of the file format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from netx_export.graph import (
    Conv,
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


def assert_same(found: Graph, wanted: Graph) -> None:
    """Everything equal, the names that the digest leaves out and the identity of shared kernels included."""
    assert found.digest == wanted.digest
    assert (found.timing, found.steps, dict(found.meta)) == (wanted.timing, wanted.steps, dict(wanted.meta))
    for one, other in zip(found.populations, wanted.populations, strict=True):
        assert (one.id, one.name, one.source, one.shape) == (other.id, other.name, other.source, other.shape)
        assert getattr(one.neuron, "unit", None) == getattr(other.neuron, "unit", None)
    assert [p.port for p in found.projections] == [p.port for p in wanted.projections]
    assert sharing(found) == sharing(wanted)


def sharing(graph: Graph) -> list[int]:
    """For each projection, the first projection that has the same kernel object."""
    kernels = [id(projection.synapse.kernel) for projection in graph.projections]
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
