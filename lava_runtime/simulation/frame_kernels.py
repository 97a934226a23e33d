"""Compiled kernels for the synapses of one time step: what Lava processes call in every step.

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
def count_spikes(spikes: FrameArray, counts: Int32Array) -> None:
    """counts += 1 where a message was sent, flat."""
    for i in range(counts.shape[0]):
        counts[i] += spikes[i] != 0
