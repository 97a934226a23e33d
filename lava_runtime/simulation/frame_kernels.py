"""Compiled kernels that work on the messages of one time step: what Lava processes call in every step.

Frames are (W,H,C), Lava's order; messages are lists of flat indices into such a frame, rising. Arithmetic is that of
Lava's fixed-point models: 32-bit two's complement with 64-bit products. The batched kernels of the `fast` backend live
in `lava_runtime.engine`.
"""
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lava_runtime.simulation.compiled import compiled
from lava_runtime.simulation.vector_rows import (
    LANES,
    add_graded_rows_16,
    add_rows_16,
    add_rows_32,
    add_rows_64,
    list_spikes,
)
from netx_export.graph import fixedpoint

Int32Array = npt.NDArray[np.int32]
WeightArray = npt.NDArray[Any]
"""8, 16 or 32 bits, signed."""
FrameArray = npt.NDArray[np.integer[Any]]
SumArray = npt.NDArray[np.int32] | npt.NDArray[np.int64]


class Axis(NamedTuple):
    """The tables of `lowering.taps.AxisTaps` as kernels take them."""

    start: Int32Array
    source: Int32Array
    length: Int32Array
    taps: Int32Array


_LIMIT = fixedpoint.STATE_LIMIT
_WRAP = fixedpoint.CONV_WRAP
_DECAY_BITS = fixedpoint.DECAY_BITS
_SHIFT = fixedpoint.ACTIVATION_SHIFT


@compiled
def list_messages(frame: FrameArray, events: Int32Array) -> int:
    """The indices of the non-zero elements of a flat frame; returns how many there are."""
    count = 0
    whole = frame.shape[0] // LANES * LANES
    count = list_spikes(frame, 0, whole, events, count)
    for i in range(whole, frame.shape[0]):
        if frame[i] != 0:
            events[count] = i
            count += 1
    return int(count)


@compiled
def list_values(frame: FrameArray, events: Int32Array, count: int, messages: Int32Array) -> None:
    """messages[i] = frame[events[i]]."""
    for i in range(count):
        messages[i] = np.int32(frame[events[i]])


@compiled
def slice_channels(
    events: Int32Array,
    messages: Int32Array,
    count: int,
    channels: int,
    first: int,
    last: int,
    out: Int32Array,
    out_messages: Int32Array,
) -> int:
    """The messages of channels first..last-1 as messages of a frame that has these channels alone."""
    found = 0
    graded = messages.shape[0] > 0
    for i in range(count):
        pixel = events[i] // channels
        c = events[i] - pixel * channels
        if first <= c < last:
            out[found] = pixel * (last - first) + c - first
            if graded:
                out_messages[found] = messages[i]
            found += 1
    return found


@compiled
def pixel_starts(events: Int32Array, count: int, channels: int, start: Int32Array) -> None:
    """start[p] = how many messages lie before pixel p of `channels` channels."""
    n = 0
    limit = 0
    for p in range(start.shape[0]):
        while n < count and events[n] < limit:
            n += 1
        start[p] = n
        limit += channels


@compiled
def _add_run(
    weights: WeightArray,
    lanes: int,
    events: Int32Array,
    messages: Int32Array,
    begin: int,
    end: int,
    shift: int,
    total: Int32Array,
    at: int,
) -> None:
    done = 0
    if messages.shape[0] > 0:
        while done < lanes:
            add_graded_rows_16(weights, done, lanes, events, messages, begin, end, shift, total, at + done)
            done += 16
        return
    while done + 64 <= lanes:
        add_rows_64(weights, done, lanes, events, messages, begin, end, shift, total, at + done)
        done += 64
    if done + 32 <= lanes:
        add_rows_32(weights, done, lanes, events, messages, begin, end, shift, total, at + done)
        done += 32
    if done < lanes:
        add_rows_16(weights, done, lanes, events, messages, begin, end, shift, total, at + done)


@compiled
def _finish(part: SumArray, at: int, width: int, exponent: int, wrap: bool, total: Int32Array, into: int) -> None:
    """total += part << exponent, modulo 2**24 into [-2**23, 2**23) where `wrap`, as Lava's Conv returns it."""
    if wrap:
        for k in range(width):
            value = np.int32(part[at + k] << exponent)
            total[into + k] += np.int32(((np.int64(value) + _LIMIT) & (_WRAP - 1)) - _LIMIT)
    elif exponent >= 0:
        for k in range(width):
            total[into + k] += np.int32(part[at + k] << exponent)
    else:
        for k in range(width):
            total[into + k] += part[at + k] >> -exponent


@compiled
def add_conv(
    start: Int32Array,
    events: Int32Array,
    messages: Int32Array,
    height: int,
    channels: int,
    x: Axis,
    y: Axis,
    y_sums: int,
    weights: WeightArray,
    lanes: int,
    width: int,
    exponent: int,
    wrap: bool,
    part: Int32Array,
    total: Int32Array,
) -> None:
    """Add a convolution without groups to the flat `total` (W'*H'*width,); `part` (lanes,) is memory to work in.

    `start` (W*H+1,) from `pixel_starts`; `weights` flat, (tap sums x, tap sums y, channels) rows of `lanes`.
    """
    into = 0
    for ox in range(x.start.shape[0] - 1):
        for oy in range(y.start.shape[0] - 1):
            touched = False
            for i in range(x.start[ox], x.start[ox + 1]):
                for column in range(x.length[i]):
                    for j in range(y.start[oy], y.start[oy + 1]):
                        pixel = (x.source[i] + column) * height + y.source[j]
                        begin, end = start[pixel], start[pixel + y.length[j]]
                        if begin == end:
                            continue
                        if not touched:
                            touched = True
                            for k in range(lanes):
                                part[k] = 0
                        row = ((x.taps[i] + column) * y_sums + y.taps[j] - pixel) * channels
                        _add_run(weights, lanes, events, messages, begin, end, row, part, 0)
            if touched:
                _finish(part, 0, width, exponent, wrap, total, into)
            into += width


@compiled
def add_grouped_conv(
    start: Int32Array,
    events: Int32Array,
    messages: Int32Array,
    height: int,
    channels: int,
    x: Axis,
    y: Axis,
    y_sums: int,
    weights: WeightArray,
    width: int,
    groups: int,
    exponent: int,
    wrap: bool,
    part: Int32Array,
    total: Int32Array,
) -> None:
    """As add_conv, for `groups` groups of `width` output channels each; `part` (groups*width,)."""
    graded = messages.shape[0] > 0
    per_group = channels // groups
    outputs = groups * width
    into = 0
    for ox in range(x.start.shape[0] - 1):
        for oy in range(y.start.shape[0] - 1):
            for k in range(outputs):
                part[k] = 0
            for i in range(x.start[ox], x.start[ox + 1]):
                for column in range(x.length[i]):
                    for j in range(y.start[oy], y.start[oy + 1]):
                        for line in range(y.length[j]):
                            pixel = (x.source[i] + column) * height + y.source[j] + line
                            row = ((x.taps[i] + column) * y_sums + y.taps[j] + line) * channels
                            for n in range(start[pixel], start[pixel + 1]):
                                c = events[n] - pixel * channels
                                message = messages[n] if graded else np.int32(1)
                                first = (c if per_group == 1 else c // per_group) * width
                                for k in range(width):
                                    part[first + k] += np.int32(weights[(row + c) * width + k] * message)
            _finish(part, 0, outputs, exponent, wrap, total, into)
            into += outputs


@compiled
def add_rows(
    events: Int32Array,
    messages: Int32Array,
    count: int,
    weights: WeightArray,
    lanes: int,
    exponent: int,
    part: Int32Array,
    total: Int32Array,
) -> None:
    """total[o] += shift(sum_i weights[events[i], o] * messages[i], exponent); `weights` flat, rows of `lanes`."""
    for k in range(lanes):
        part[k] = 0
    _add_run(weights, lanes, events, messages, 0, count, 0, part, 0)
    _finish(part, 0, total.shape[0], exponent, False, total, 0)


@compiled
def add_columns(
    events: Int32Array,
    messages: Int32Array,
    count: int,
    start: Int32Array,
    target: Int32Array,
    weight: Int32Array,
    first: int,
    total: SumArray,
) -> None:
    """total[(first + target) mod its size] += W * messages, W stored by columns: those of i are start[i]:start[i+1].

    `total` may be a ring of frames; `first` is then where the present frame begins.
    """
    graded = messages.shape[0] > 0
    size = total.shape[0]
    for i in range(count):
        message = messages[i] if graded else np.int32(1)
        for k in range(start[events[i]], start[events[i] + 1]):
            place = first + target[k]
            if place >= size:
                place -= size
            total[place] += np.int32(weight[k] * message)


@compiled
def add_twins(
    events: Int32Array, messages: Int32Array, count: int, weight: Int32Array, wrap: bool, total: Int32Array
) -> None:
    """total[i] += wrap24(weight[channel of i] * message i)."""
    graded = messages.shape[0] > 0
    channels = weight.shape[0]
    for i in range(count):
        event = events[i]
        value = np.int32(weight[event % channels] * (messages[i] if graded else np.int32(1)))
        if wrap:
            value = np.int32(((np.int64(value) + _LIMIT) & (_WRAP - 1)) - _LIMIT)
        total[event] += value


@compiled
def add_values(events: Int32Array, messages: Int32Array, count: int, total: Int32Array) -> None:
    """total[i] += message i."""
    graded = messages.shape[0] > 0
    for i in range(count):
        total[events[i]] += messages[i] if graded else np.int32(1)


@compiled
def shift_add(part: SumArray, exponent: int, total: Int32Array) -> None:
    """total += part << exponent, or part >> -exponent (floor); part = 0."""
    _finish(part, 0, total.shape[0], exponent, False, total, 0)
    for k in range(total.shape[0]):
        part[k] = 0


@compiled
def lif_frame(
    a_in: Int32Array,
    u: Int32Array,
    v: Int32Array,
    bias: Int32Array,
    current_multiplier: int,
    voltage_multiplier: int,
    threshold: int,
    spikes: FrameArray,
) -> int:
    """One step of Lava's fixed-point LIF on flat arrays, u, v and spikes in place; returns the number of spikes.

    u = wrap(tz(u*current_multiplier, 12) + (a_in << 6)); v = clip(tz(v*voltage_multiplier, 12) + u + bias)
    s = v > threshold; v = 0 where s. `bias` (one, or one per neuron) and `threshold` are shifted already.
    """
    fired = 0
    every = bias.shape[0] > 1
    for i in range(a_in.shape[0]):
        current, voltage = _lif_states(
            a_in[i], u[i], v[i], bias[i] if every else bias[0], current_multiplier, voltage_multiplier
        )
        u[i] = current
        spike = voltage > threshold
        spikes[i] = spike
        fired += spike
        v[i] = np.int32(0) if spike else voltage
    return fired


@compiled
def ternary_lif_frame(
    a_in: Int32Array,
    u: Int32Array,
    v: Int32Array,
    bias: Int32Array,
    current_multiplier: int,
    voltage_multiplier: int,
    low: int,
    high: int,
    spikes: FrameArray,
) -> None:
    """The states of `lif_frame`; s = -1 below `low`, +1 above `high`, both at once cancel; v = 0 where s is not 0."""
    every = bias.shape[0] > 1
    for i in range(a_in.shape[0]):
        current, voltage = _lif_states(
            a_in[i], u[i], v[i], bias[i] if every else bias[0], current_multiplier, voltage_multiplier
        )
        u[i] = current
        spike = np.int8(voltage > high) - np.int8(voltage < low)
        spikes[i] = spike
        v[i] = np.int32(0) if spike != 0 else voltage


@compiled
def _lif_states(a_in: Any, u: Any, v: Any, bias: Any, current_multiplier: int, voltage_multiplier: int) -> Any:
    product = np.int64(u) * current_multiplier
    decayed = np.int32((abs(product) >> _DECAY_BITS) * (1 if product >= 0 else -1))
    current = np.int32(decayed + np.int32(np.int64(a_in) << _SHIFT))
    if current > _LIMIT:
        current = np.int32(current - _WRAP)
    elif current <= -_LIMIT:
        current = np.int32(current + _WRAP)
    product = np.int64(v) * voltage_multiplier
    decayed = np.int32((abs(product) >> _DECAY_BITS) * (1 if product >= 0 else -1))
    voltage = np.int32(np.int32(decayed + current) + bias)
    voltage = np.int32(min(max(int(voltage), -(_LIMIT - 1)), _LIMIT - 1))
    return current, voltage


@compiled
def delta_frame(
    x: Int32Array, act: Int32Array, residue: Int32Array, threshold: int, state_exp: int, out: FrameArray
) -> None:
    """d = x - act + residue; s = d if |d| >= threshold else 0; residue = d - s; act = x; out = s >> state_exp.

    All in wrapping 32 bits; numpy's |-2**31| is -2**31, below every threshold.
    """
    for i in range(x.shape[0]):
        delta = np.int32(np.int32(x[i] - act[i]) + residue[i])
        magnitude = np.int32(abs(delta))
        sent = delta if magnitude >= threshold else np.int32(0)
        residue[i] = np.int32(delta - sent)
        act[i] = x[i]
        out[i] = sent >> state_exp


@compiled
def activation_frame(sigma: Int32Array, bias: Int32Array, relu: bool, out: Int32Array) -> None:
    """out = max(sigma + bias, 0), or without the maximum; `bias` is one, or one per neuron, scaled already."""
    every = bias.shape[0] > 1
    for i in range(sigma.shape[0]):
        value = np.int32(sigma[i] + (bias[i] if every else bias[0]))
        out[i] = np.int32(max(int(value), 0)) if relu else value


@compiled
def resonator_frame(
    a_re: Int32Array,
    a_im: Int32Array,
    re: Int32Array,
    im: Int32Array,
    sin: int,
    cos: int,
    decay_bits: int,
    state_exp: int,
    threshold: int,
    izhikevich: bool,
    spikes: FrameArray,
) -> int:
    """One step of Lava's fixed-point RF, or RF_IZ, on flat arrays in place; returns the number of spikes."""
    fired = 0
    for i in range(re.shape[0]):
        old_re, old_im = np.int64(re[i]), np.int64(im[i])
        new_re = (
            _rotated(old_re * cos, decay_bits)
            - _rotated(old_im * sin, decay_bits)
            + np.int32(np.int64(a_re[i]) << state_exp)
        )
        new_im = (
            _rotated(old_re * sin, decay_bits)
            + _rotated(old_im * cos, decay_bits)
            + np.int32(np.int64(a_im[i]) << state_exp)
        )
        new_re = min(max(new_re, -(_LIMIT - 1)), _LIMIT - 1)
        new_im = min(max(new_im, -(_LIMIT - 1)), _LIMIT - 1)
        if izhikevich:
            spike = new_im >= threshold
            if spike:
                new_re, new_im = np.int64(0), np.int64(threshold - 1)
        else:
            spike = new_re >= threshold and new_im >= 0 and old_im < 0
        re[i], im[i] = np.int32(new_re), np.int32(new_im)
        spikes[i] = spike
        fired += spike
    return fired


@compiled
def _rotated(product: Any, bits: int) -> Any:
    return (abs(product) >> bits) * (1 if product >= 0 else -1)


@compiled
def count_spikes(spikes: FrameArray, counts: Int32Array) -> None:
    """counts += 1 where a message was sent, flat."""
    for i in range(counts.shape[0]):
        counts[i] += spikes[i] != 0
