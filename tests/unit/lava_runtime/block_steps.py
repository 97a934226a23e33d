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
from netx_export.graph import fixedpoint

Frames = dict[str, np.ndarray]


def step_blocks(lowered: Lowered, frames: Frames, *, steps: int) -> Frames:
    """What the speaker of every population emits in each step, (N,C,H,W); readouts give their current."""
    blocks = lowered.blocks
    into = defaultdict(list)
    for wire in lowered.wires:
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
        total = np.zeros(block.shape, np.int64)
        ports = {wire.port: wire.src for wire in into[block.name]}
        for branch in block.branches:
            past = history[ports[branch.port]]
            if len(past) <= branch.delay:
                continue
            frame = past[-1 - branch.delay].astype(np.int64)
            if branch.rows is not None:
                total += (frame.reshape(-1) @ branch.rows).reshape(block.shape)
            else:
                part = _tables(branch.conv, frame)
                total += fixedpoint.wrap_conv(part) if branch.wraps else part
        return total
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


def _tables(conv: object, frame: np.ndarray) -> np.ndarray:
    total = np.zeros(conv.output_shape, np.int64)
    channels, width = conv.weights.shape[2:]
    for x, y, c in np.argwhere(frame[:, :, conv.first_channel : conv.first_channel + channels]):
        first = c // (channels // conv.groups) * width
        for i in range(conv.x.start[x], conv.x.start[x + 1]):
            for j in range(conv.y.start[y], conv.y.start[y + 1]):
                total[conv.x.out[i], conv.y.out[j], first : first + width] += (
                    conv.weights[conv.x.taps[i], conv.y.taps[j], c].astype(np.int64)
                    * frame[x, y, conv.first_channel + c]
                )
    return total
