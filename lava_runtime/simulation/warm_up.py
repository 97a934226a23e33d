"""Compiling every kernel before Lava forks its processes, so that they share the code instead of compiling it each."""

from __future__ import annotations

from functools import cache

import numpy as np

from lava_runtime.lowering.branches import FrameColumns, FrameMatrix, FrameTwins
from lava_runtime.lowering.taps import frame_conv
from lava_runtime.simulation import frame_kernels, frame_neurons
from lava_runtime.simulation.messages import MessageList
from lava_runtime.simulation.synapse_sums import synapse_sum

_CHANNELS = 16


@cache
def compile_kernels() -> None:
    """Compile every kernel, or load it from numba's cache, for the types that Lava processes use."""
    frame = np.ones(_CHANNELS, np.uint8)
    total = np.zeros(_CHANNELS, np.int32)
    messages = MessageList(_CHANNELS, graded=True)
    for kind in (np.uint8, np.int8, np.int32):
        messages.fill(frame.astype(kind))
        frame_kernels.count_spikes(frame.astype(kind), total.copy())
    events, values = messages.events, messages.values
    frame_kernels.slice_channels(events, values, 1, 1, 0, 1, events.copy(), values.copy())
    for reach, groups in ((1, 1), (1 << 10, 1), (1, _CHANNELS)):
        kernel = np.full((_CHANNELS, 1, 1, _CHANNELS // groups), reach)
        conv = frame_conv(kernel, source=(1, 1), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=groups)
        synapse_sum(conv).add(messages, total)
        rows = np.full((_CHANNELS, _CHANNELS), reach, np.int16)
        synapse_sum(FrameMatrix(rows=rows, exponent=0)).add(messages, total)
    index = np.arange(_CHANNELS + 1, dtype=np.int32)
    columns = FrameColumns(
        start=index, place=index[1:] - 1, weight=index[1:], exponent=-1, targets=_CHANNELS, longest=0
    )
    synapse_sum(columns).add(messages, total)
    wide = np.zeros(_CHANNELS, np.int64)
    frame_kernels.add_columns(events, values, 0, columns.start, columns.place, columns.weight, 0, wide)
    frame_kernels.shift_add(wide, -1, total)
    synapse_sum(FrameTwins(weight=index[1:], wraps=True)).add(messages, total)
    _compile_neurons()


def _compile_neurons() -> None:
    def state() -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        return np.zeros(1, np.int32)

    spikes = np.zeros(1, np.uint8)
    frame_neurons.lif_frame(state(), state(), state(), state(), 0, 0, 0, spikes)
    frame_neurons.ternary_lif_frame(state(), state(), state(), state(), 0, 0, 0, 0, spikes.view(np.int8))
    frame_neurons.activation_frame(state(), state(), True, state())
    frame_neurons.delta_frame(state(), state(), state(), 1, 0, state())
    frame_neurons.resonator_frame(state(), state(), state(), state(), 0, 0, 12, 6, 1, False, spikes)
