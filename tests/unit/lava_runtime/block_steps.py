"""Lowered blocks, stepped in numpy as Lava would step them: tests of lowering need no Lava."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from lava_runtime.lowering.blocks import (
    ConvBlock,
    CurrentBlock,
    DelayBlock,
    DenseBlock,
    FanInBlock,
    LifBlock,
    Lowered,
    SigmaBlock,
    SourceBlock,
    SparseBlock,
)
from lava_runtime.lowering.branches import FrameColumns, FrameMatrix, FrameTwins
from lava_runtime.lowering.taps import AxisTaps, FrameConv
from netx_export.graph import fixedpoint

Frames = dict[str, np.ndarray]


def step_blocks(lowered: Lowered, frames: Frames, *, steps: int) -> Frames:
    """What the speaker of every population emits in each step, (N,C,H,W); readouts give their current."""
    blocks = lowered.blocks
    into = defaultdict(list)
    for wire in lowered.connections:
        into[wire.dst].append(wire)
    neurons = [b for b in blocks.values() if isinstance(b, SourceBlock | LifBlock | SigmaBlock | CurrentBlock)]
    synapses = [b for b in blocks.values() if b not in neurons]
    pending: dict[str, list[np.ndarray]] = {b.name: [np.zeros(1, np.int64)] for b in synapses}
    sent: Frames = {}
    history: dict[str, list[np.ndarray]] = defaultdict(list)
    state = {b.name: [np.zeros(b.shape, np.int32), np.zeros(b.shape, np.int32)] for b in neurons}
    for step in range(steps):
        for block in neurons:
            if isinstance(block, SourceBlock):
                data, row = frames[block.population], step - block.delay
                sent[block.name] = data[row] if 0 <= row < len(data) else np.zeros_like(data[0])
                history[block.name].append(sent[block.name])
                continue
            total = np.zeros(block.shape, np.int64)
            for wire in into[block.name]:
                current = pending[wire.src][0]
                total = total + (current if current.size == 1 else current.reshape(block.shape))
            a_in = fixedpoint.wrap_int32(total)
            if isinstance(block, LifBlock):
                u, v = state[block.name]
                if block.reset is not None and (step + 1) % block.reset[0] == block.reset[1] % block.reset[0]:
                    u, v = np.zeros_like(u), np.zeros_like(v)
                u, v, a_in = fixedpoint.lif_step(
                    u,
                    v,
                    a_in,
                    du=block.du,
                    dv=block.dv,
                    bias=fixedpoint.scale_bias(block.bias_mant, block.bias_exp),
                    vth_mant=block.vth,
                )
                state[block.name] = [u, v]
            sent[block.name] = a_in.astype(np.int32)
            history[block.name].append(sent[block.name])
        for block in synapses:
            pending[block.name].append(_synapse(block, into, history))
            # A DelaySparse keeps its result for `delay` more steps; every other synapse sends it in the next step.
            held = 1 + (block.delay if isinstance(block, DelayBlock) else 0)
            if len(pending[block.name]) > held:
                pending[block.name].pop(0)
    return {
        population: np.stack([frame.transpose(2, 1, 0) for frame in history[name]])
        for population, name in lowered.speaker.items()
    }


def _synapse(block: object, into: dict, history: dict[str, list[np.ndarray]]) -> np.ndarray:
    if isinstance(block, FanInBlock):
        total = np.zeros(int(np.prod(block.shape)), np.int64)
        ports = {wire.port: wire.src for wire in into[block.name]}
        for branch in block.branches:
            past = [frame.astype(np.int64) for frame in history[ports[branch.port]]]
            past = [np.zeros_like(past[0])] * (64 + branch.delay) + past
            if branch.section is not None:
                past = [frame[..., slice(*branch.section[1:])] for frame in past]
            flat = [frame.reshape(-1) for frame in past[: len(past) - branch.delay]]
            if branch.axon_delays is not None:
                flat = [np.array([flat[-1 - d][i] for i, d in enumerate(branch.axon_delays)])]
            total += _branch(branch.synapse, flat)
        return total.reshape(block.shape)
    (wire,) = into[block.name]
    frame = history[wire.src][-1].astype(np.int64)
    match block:
        case ConvBlock():
            return fixedpoint.wrap_conv(_true_convolution(block, frame))
        case DenseBlock():
            return (block.mantissa.astype(np.int64) @ frame.reshape(-1)) << block.exponent
        case SparseBlock():
            total = np.zeros(block.shape[0], np.int64)
            np.add.at(total, block.targets, block.mantissa * frame.reshape(-1)[block.sources])
            return total << block.exponent
        case DelayBlock():
            return frame.reshape(-1)
    raise TypeError(block)


def _true_convolution(block: ConvBlock, frame: np.ndarray) -> np.ndarray:
    kernel = block.weight[:, ::-1, ::-1, :].astype(np.int64)
    (px, py), (sx, sy), (dx, dy) = block.padding, block.stride, block.dilation
    padded = np.pad(frame, ((px, px), (py, py), (0, 0)))
    width = (padded.shape[0] - dx * (kernel.shape[1] - 1) - 1) // sx + 1
    height = (padded.shape[1] - dy * (kernel.shape[2] - 1) - 1) // sy + 1
    outputs, per_group = kernel.shape[0], kernel.shape[3]
    total = np.zeros((width, height, outputs), np.int64)
    for o in range(outputs):
        first = o // (outputs // block.groups) * per_group
        for kx in range(kernel.shape[1]):
            for ky in range(kernel.shape[2]):
                x, y = kx * dx, ky * dy
                seen = padded[x : x + (width - 1) * sx + 1 : sx, y : y + (height - 1) * sy + 1 : sy]
                total[:, :, o] += seen[:, :, first : first + per_group] @ kernel[o, kx, ky]
    return total


def _branch(synapse: object, past: list[np.ndarray]) -> np.ndarray:
    """What a projection adds now; `past` are the flat frames of the last steps, the newest last."""
    frame = past[-1]
    match synapse:
        case FrameConv():
            total = _tables(synapse, frame.reshape(synapse.source_shape)).reshape(-1) << synapse.exponent
            return fixedpoint.wrap_conv(total) if synapse.wraps else total
        case FrameMatrix():
            return fixedpoint.shift(frame @ synapse.rows.astype(np.int64), synapse.exponent)
        case FrameTwins():
            total = frame * np.resize(synapse.weight.astype(np.int64), frame.size)
            return fixedpoint.wrap_conv(total) if synapse.wraps else total
        case FrameColumns():
            sums = np.zeros((synapse.longest + 1, synapse.targets), np.int64)
            for i in range(frame.size):
                for k in range(synapse.start[i], synapse.start[i + 1]):
                    delay, target = divmod(int(synapse.place[k]), synapse.targets)
                    sums[delay, target] += synapse.weight[k] * past[-1 - delay][i]
            return fixedpoint.shift(sums, synapse.exponent).sum(axis=0)
    raise TypeError(synapse)


def _tables(conv: FrameConv, frame: np.ndarray) -> np.ndarray:
    total = np.zeros(conv.output_shape, np.int64)
    width = conv.weights.shape[3]
    per_group = conv.weights.shape[2] // conv.groups
    for ox in range(conv.x.outputs):
        for oy in range(conv.y.outputs):
            for x, tx in _read(conv.x, ox):
                for y, ty in _read(conv.y, oy):
                    for c in np.flatnonzero(frame[x, y]):
                        first = c // per_group * width
                        total[ox, oy, first : first + width] += (
                            conv.weights[tx, ty, c].astype(np.int64) * frame[x, y, c]
                        )
    return total


def _read(axis: AxisTaps, output: int) -> list[tuple[int, int]]:
    """(source position, tap sum) of everything that `output` reads along `axis`."""
    return [
        (int(axis.source[run]) + n, int(axis.taps[run]) + n)
        for run in range(axis.start[output], axis.start[output + 1])
        for n in range(axis.length[run])
    ]
