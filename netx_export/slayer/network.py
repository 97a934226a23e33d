"""Populations and projections from SLAYER blocks and the signals that they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from netx_export.errors import ExportError
from netx_export.graph import (
    GRADED,
    Conv,
    ConvTranspose,
    Dense,
    Graph,
    Input,
    Kernel,
    OneToOne,
    Population,
    Projection,
    Readout,
    Shape,
    SynapseSpec,
    Wire,
    bias_of,
)
from netx_export.graph.fixedpoint import DELAY_MAX
from netx_export.slayer.blocks import Block, Synapse
from netx_export.slayer.numbers import WEIGHT_SCALE, whole
from netx_export.slayer.signals import Part, Signal, later

INPUT = "input"
"""Id of the population that carries the network's input."""


class Network:
    """Collects what becomes the Graph. SLAYER's step t of a signal is hardware step t + offset of its population.

    A block that reads populations of offsets o works on SLAYER's step t in hardware step t + 1 + max(o); what leads
    there from the others waits. With `delay_shift` everywhere all offsets are 0 and nothing waits.
    """

    def __init__(self, shape: Shape, *, input_bits: int) -> None:
        self._populations = [Population(id=INPUT, shape=shape, neuron=Input(message_bits=input_bits))]
        self._projections: list[Projection] = []
        self._read: set[str] = set()
        self.input = Signal(
            terms=((Part(population=INPUT, shape=shape, first=0, last=shape[0], offset=0),),), flat=shape[1:] == (1, 1)
        )

    def apply(self, block: Block, signal: Signal, shape: Shape) -> Signal:
        """The signal that `block` sends when it reads `signal`; `shape` (C,H,W) is that of its neurons."""
        if block.flattens:
            return replace(signal, flat=True)
        if block.neuron is None:
            return later(signal, block.shift)
        if any(population.id == block.path for population in self._populations):
            raise ExportError(
                f"Block {block.path!r} is called twice, or named like the input; both places would share one state. Give "
                "each place a block of its own."
            )
        begins = self._works_from(block, signal)
        self._check_early_bias(block, begins)
        self._populations.append(Population(id=block.path, shape=shape, neuron=block.neuron, source=block.path))
        if block.direct:
            self._projections.append(Projection(src=INPUT, dst=block.path, synapse=Wire()))
        for port, synapse in block.synapses.items():
            self._connect(block, port, synapse, signal, shape, begins)
        if block.recurrent is not None:
            self._projections.append(Projection(src=block.path, dst=block.path, synapse=block.recurrent))
        part = Part(
            population=block.path,
            shape=shape,
            first=0,
            last=shape[0],
            offset=begins - block.shift,
            delays=block.delays,
        )
        return Signal(terms=((part,),), flat=shape[1:] == (1, 1))

    def _works_from(self, block: Block, signal: Signal) -> int:
        """The hardware step in which the block works on SLAYER's first step."""
        if not block.direct:
            return 1 + max(part.offset for part in signal.parts)
        only = signal.terms[0][0]
        if len(signal.parts) != 1 or only.population != INPUT or not only.whole or only.offset:
            raise ExportError(
                f"Block {block.path!r} is an input block with neurons, but reads {only.population!r}; it must read the "
                "network's input as it is."
            )
        return 0

    def _check_early_bias(self, block: Block, begins: int) -> None:
        bias = bias_of(block.neuron) if block.neuron is not None and not isinstance(block.neuron, Readout) else None
        if begins > 1 and bias is not None and bias.any():
            raise ExportError(
                f"Block {block.path!r} has a bias (or a norm) and lies {begins} steps behind the input, while SLAYER computes "
                "it in the input's own step: on hardware its bias would act too early. Build the blocks with "
                "delay_shift=True, or without bias."
            )

    def _connect(self, block: Block, port: str, synapse: Synapse, signal: Signal, shape: Shape, begins: int) -> None:
        for term in signal.terms:
            for part, piece in _split(block, synapse, term, signal.flat):
                made = piece.output_shape((part.channels, *part.shape[1:])) if not isinstance(piece, Dense) else shape
                if made != shape:
                    raise ExportError(
                        f"Block {block.path!r} makes {made} of {part.population!r}, SLAYER made {shape}; the exporter and the "
                        "block disagree about its geometry."
                    )
                self._project(part, block.path, piece, begins - 1 - part.offset, port)

    def _project(self, part: Part, target: str, synapse: SynapseSpec, delay: int, port: str = "") -> None:
        if delay > DELAY_MAX:
            raise ExportError(
                f"Projection {part.population} -> {target} must wait {delay} steps, the limit is {DELAY_MAX}; build the blocks "
                "with delay_shift=True."
            )
        self._read.add(part.population)
        self._projections.append(
            Projection(
                src=part.population,
                dst=target,
                synapse=synapse,
                delay=delay,
                src_channels=None if (part.first, part.last) == (0, part.shape[0]) else (part.first, part.last),
                port=port,
                delays=part.axon_delays(),
            )
        )

    def add_constant(self, signal: Signal, value: float, where: str) -> Signal:
        """The readout `signal` with `value` added to it: its bias."""
        only = signal.terms[0][0]
        place = next(index for index, p in enumerate(self._populations) if p.id == only.population)
        neuron = self._populations[place].neuron
        if len(signal.parts) != 1 or not only.whole or not isinstance(neuron, Readout):
            raise ExportError(f"{where} adds {value!r} to spikes; put it into a norm (bias) of the next block.")
        units = whole(
            np.array([value]), WEIGHT_SCALE, f"{where}: the constant", f"round it to multiples of 1/{WEIGHT_SCALE}."
        )
        changed = replace(neuron, bias=neuron.bias + units.astype(np.int32))
        self._populations[place] = replace(self._populations[place], neuron=changed)
        return signal

    def add_output(self, name: str, signal: Signal) -> None:
        """Let the host read `signal`: as the population itself where nothing else can, else through a readout."""
        for number, part in enumerate(signal.parts):
            if len(signal.terms) != 1:
                raise ExportError(f"Output {name!r} is a sum of spikes; return the terms, and add on the host.")
            if part.population == INPUT:
                raise ExportError(f"Output {name!r} is the network's input; return what a block sends.")
            neuron = next(p.neuron for p in self._populations if p.id == part.population)
            if part.whole and part.delays is None and part.population not in self._read:
                continue
            if part.upsample != 1:
                raise ExportError(f"Output {name!r} repeats pixels; return the spikes before upsampling.")
            if isinstance(neuron, GRADED):
                raise ExportError(
                    f"Output {name!r} is read by other blocks too, and sends integers; return what the last block sends."
                )
            read = f"{name}.{number}" if len(signal.parts) > 1 else name
            if any(population.id == read for population in self._populations):
                raise ExportError(f"Output {name!r} has the name of a block; rename the key in what forward returns.")
            ones = OneToOne(kernel=Kernel(mantissa=np.ones(part.channels, np.int16)))
            shape = (part.channels, *part.shape[1:])
            self._populations.append(Population(id=read, shape=shape, neuron=Readout(), source=part.population))
            self._project(part, read, ones, 0)

    def graph(self, *, steps: int, meta: dict[str, str]) -> Graph:
        """The Graph, timing `as_given`."""
        graded = any(isinstance(population.neuron, GRADED) for population in self._populations)
        return Graph(
            populations=tuple(self._populations),
            projections=tuple(self._projections),
            timing="as_given",
            messages="graded" if graded else "binary",
            steps=steps,
            meta=meta,
        )


def _split(block: Block, synapse: Synapse, term: tuple[Part, ...], flat: bool) -> Iterator[tuple[Part, Synapse]]:
    """`synapse` in pieces, one for each part that it reads."""
    if isinstance(synapse, Dense):
        yield from _split_dense(block, synapse, term, flat)
        return
    channels = sum(part.channels for part in term)
    synapse = _ungrouped(_for_channels(block, synapse, term), alone=len(term) == 1)
    if channels != synapse.in_channels:
        raise ExportError(
            f"Block {block.path!r} reads {synapse.in_channels} channels, {channels} arrive; check its concatenation."
        )
    at = 0
    for part in term:
        mine = slice(at, at + part.channels)
        at += part.channels
        weights = synapse.kernel.mantissa
        if len(term) > 1:
            weights = weights[mine] if isinstance(synapse, ConvTranspose) else weights[:, mine]
        kernel = synapse.kernel if len(term) == 1 else Kernel(mantissa=weights, exponent=synapse.kernel.exponent)
        if part.upsample == 1:
            yield part, replace(synapse, kernel=kernel)
        elif isinstance(synapse, Conv):
            yield part, replace(synapse, kernel=kernel, upsample=part.upsample)
        else:
            raise ExportError(
                f"Block {block.path!r} reads repeated pixels through {type(synapse).__name__}; use a Conv block."
            )


def _split_dense(block: Block, synapse: Dense, term: tuple[Part, ...], flat: bool) -> Iterator[tuple[Part, Dense]]:
    frames = {part.shape[1:] for part in term}
    if not flat and len(frames) > 1:
        raise ExportError(f"Block {block.path!r} reads maps of different sizes {sorted(frames)}; flatten them first.")
    if any(part.upsample != 1 for part in term):
        raise ExportError(f"Block {block.path!r} is dense and reads repeated pixels; read them before upsampling.")
    weights, at = synapse.kernel.mantissa, 0
    if weights.shape[1] != sum(part.size for part in term):
        raise ExportError(
            f"Block {block.path!r} reads {weights.shape[1]} neurons, {sum(part.size for part in term)} arrive; a dense block "
            "reads the whole map."
        )
    for part in term:
        mine = weights[:, at : at + part.size]
        at += part.size
        kernel = synapse.kernel if len(term) == 1 else Kernel(mantissa=mine, exponent=synapse.kernel.exponent)
        yield part, Dense(kernel=kernel)


def _for_channels(block: Block, synapse: Conv | ConvTranspose, term: tuple[Part, ...]) -> Conv | ConvTranspose:
    """Pool and Unpool hold one window for all channels: here it is repeated, one group per channel."""
    name = block.kind.split(".")[1]
    if name not in ("Pool", "Unpool"):
        return synapse
    channels = sum(part.channels for part in term)
    window, padding = synapse.kernel.mantissa, [0, 0]
    if name == "Pool":
        for axis in range(2):
            extent = term[0].shape[1 + axis] * term[0].upsample
            size = window.shape[2 + axis]
            missing = extent % size
            if not missing:
                continue
            if (extent + missing) % size:
                raise ExportError(
                    f"Block {block.path!r} pools {extent} rows or columns by {size}: lava-dl pads them to {extent + missing}, "
                    "which still is no multiple, and mixes neighbouring channels. Make the map a multiple of the window."
                )
            # Zeros at the far end only: a window twice as long, its first half empty, that starts one window early.
            before = [(0, 0)] * 4
            before[2 + axis] = (size, 0)
            window, padding[axis] = np.pad(window, before), size
    kernel = Kernel(mantissa=np.repeat(window, channels, axis=0), exponent=synapse.kernel.exponent)
    return replace(synapse, kernel=kernel, groups=channels, padding=(padding[0], padding[1]))


def _ungrouped(synapse: Conv | ConvTranspose, *, alone: bool) -> Conv | ConvTranspose:
    """The same synapse with one group, zeros between the groups, where it must be split by channels."""
    groups = synapse.groups
    if alone or groups == 1:
        return synapse
    weights = synapse.kernel.mantissa
    rows, columns = weights.shape[0] // groups, weights.shape[1]
    whole = np.zeros((weights.shape[0], columns * groups, *weights.shape[2:]), weights.dtype)
    for group in range(groups):
        rows_here = slice(group * rows, (group + 1) * rows)
        whole[rows_here, group * columns : (group + 1) * columns] = weights[rows_here]
    kernel = Kernel(mantissa=whole, exponent=synapse.kernel.exponent)
    return replace(synapse, kernel=kernel, groups=1)
