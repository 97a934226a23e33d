"""A Spiking CenterNet of random weights, its thresholds set so that every population fires near a given rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import lava_runtime
from lava_runtime import Probes
from netx_export.graph import Conv, Graph, Input, Kernel, Lif, NeuronSpec, Or, Population, Projection, Readout, Shape
from netx_export.graph.fixedpoint import VTH_MANT_MAX


@dataclass(frozen=True, kw_only=True)
class Size:
    """Widths of the network; (H,W) of its input; hidden = round(joined * 1.16)."""

    input_hw: tuple[int, int]
    stem_kernel: int
    stem: int
    stages: tuple[int, ...]
    convolutions: int
    head: int


SIZES = {
    "tiny": Size(input_hw=(128, 160), stem_kernel=5, stem=16, stages=(16, 32, 32, 48), convolutions=2, head=16),
    "full": Size(input_hw=(256, 320), stem_kernel=7, stem=64, stages=(64, 128, 256, 512), convolutions=4, head=64),
}
"""The widths of the shipped checkpoint and of the paper's network: 12.97 M parameters in training, 17.4 M weights here,
where depthwise and pointwise layers are merged into one convolution."""

STEPS = 5
_EXPANSION = 1.16


class _Builder:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shapes: dict[str, Shape] = {}
        self.depth: dict[str, int] = {}
        self.neurons: dict[str, NeuronSpec] = {}
        self.projections: list[Projection] = []

    def add(self, name: str, shape: Shape, neuron: NeuronSpec, sources: list[tuple[str, Conv]]) -> str:
        self.shapes[name], self.neurons[name] = shape, neuron
        self.depth[name] = 1 + max((self.depth[source] for source, _ in sources), default=-1)
        for source, conv in sources:
            delay = self.depth[name] - self.depth[source] - 1
            self.projections.append(Projection(src=source, dst=name, synapse=conv, delay=delay))
        return name

    def conv(self, channels: int, source: str, size: int, *, stride: int = 1, upsample: int = 1) -> Conv:
        mantissa = self.rng.integers(-127, 128, (channels, self.shapes[source][0], size, size), dtype=np.int16)
        padding = (size // 2, size // 2)
        return Conv(kernel=Kernel(mantissa=mantissa), stride=(stride, stride), padding=padding, upsample=upsample)

    def lif(self, name: str, channels: int, sources: list[tuple[str, int, int, int]]) -> str:
        """A population behind convolutions (source, kernel size, stride, upsample)."""
        convs = [(s, self.conv(channels, s, size, stride=stride, upsample=up)) for s, size, stride, up in sources]
        shape = convs[0][1].output_shape(self.shapes[convs[0][0]])
        bias = self.rng.integers(-300, 300, channels, dtype=np.int32)
        return self.add(name, shape, Lif(vth_mant=VTH_MANT_MAX, dv=2048, bias_mant=bias), convs)

    def graph(self) -> Graph:
        return Graph(
            populations=tuple(
                Population(id=name, shape=shape, neuron=self.neurons[name]) for name, shape in self.shapes.items()
            ),
            projections=tuple(self.projections),
            steps=STEPS,
        )


def random_centernet(size: Size, *, seed: int = 0) -> Graph:
    """The network before calibration: nothing spikes."""
    net = _Builder(seed)
    net.add("in", (4, *size.input_hw), Input(), [])
    last = net.lif("stem", size.stem, [("in", size.stem_kernel, 2, 1)])
    ones = Kernel(mantissa=np.ones((size.stem, 1, 3, 3), np.int16))
    pool = Conv(kernel=ones, stride=(2, 2), padding=(1, 1), groups=size.stem)
    last = net.add("pool", pool.output_shape(net.shapes[last]), Or(), [(last, pool)])
    skips = []
    for number, width in enumerate(size.stages, 1):
        for position in range(1, size.convolutions + 1):
            stride = 2 if number > 1 and position == 1 else 1
            last = net.lif(f"stage{number}.{position}", width, [(last, 3, stride, 1)])
        skips.append(last)
    below = skips.pop()
    for number, skip in enumerate(reversed(skips), 1):
        joined = net.shapes[below][0] + net.shapes[skip][0]
        hidden = net.lif(f"block{number}.expand", round(joined * _EXPANSION), [(below, 1, 1, 2), (skip, 1, 1, 1)])
        below = net.lif(f"block{number}.project", joined // 2, [(hidden, 3, 1, 1)])
    for name in ("heatmap", "offset", "size"):
        hidden = net.lif(f"{name}.hidden", size.head, [(below, 3, 1, 1)])
        out = net.conv(2, hidden, 1)
        net.add(name, (2, *net.shapes[hidden][1:]), Readout(), [(hidden, out)])
    return net.graph()


def event_input(size: Size, samples: int, *, rate: float = 0.08, seed: int = 1) -> npt.NDArray[np.int32]:
    """Random 0/1 events (T,B,4,H,W)."""
    return (np.random.default_rng(seed).random((STEPS, samples, 4, *size.input_hw)) < rate).astype(np.int32)


def calibrate(graph: Graph, inputs: npt.NDArray[np.int32], rate: float, *, progress: bool = False) -> Graph:
    """Set each threshold, in order, to the one that fires closest to `rate` (spikes per neuron and step).

    Every population is run by itself, on the spikes of its sources: delays play no part in what it does.
    """
    spikes: dict[str, npt.NDArray[np.int32]] = {graph.inputs[0].id: inputs}
    done = list(graph.populations)
    for index, population in enumerate(tqdm(done, desc="thresholds", disable=not progress)):
        if isinstance(population.neuron, Lif):
            low, high = 0, VTH_MANT_MAX
            while high - low > max(1, high // 50):
                middle = (low + high) // 2
                done[index] = replace(population, neuron=replace(population.neuron, vth_mant=middle))
                fired = _run_alone(graph, done[index], spikes).mean()
                low, high = (middle, high) if fired > rate else (low, middle)
        if graph.outgoing[population.id] and not isinstance(population.neuron, Input):
            spikes[population.id] = _run_alone(graph, done[index], spikes)
        later = {p.src for after in graph.populations[index + 1 :] for p in graph.incoming[after.id]}
        spikes = {name: kept for name, kept in spikes.items() if name in later}
    return Graph(populations=tuple(done), projections=graph.projections, steps=STEPS)


def _run_alone(graph: Graph, population: Population, spikes: dict[str, npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    """Spikes (T,B,C,H,W) of one population on those of its sources."""
    incoming = graph.incoming[population.id]
    sources = {projection.src: spikes[projection.src] for projection in incoming}
    part = Graph(
        populations=(*(replace(graph.by_id[name], neuron=Input()) for name in sources), population),
        projections=tuple(replace(projection, delay=0) for projection in incoming),
        steps=STEPS,
    )
    trace = lava_runtime.run(part, sources, probes=Probes(rasters=(population.id,)))
    return trace.aligned(population.id).astype(np.int32)
