"""Explicit vector code for the two innermost loops: copying runs of spikes and adding rows of 8-bit weights.

Rows are packed so that no sign extension is needed (see `pack_rows`): a 16-bit word holds two weights, low byte + 128
and high byte. Adding words and, apart from that, their high bytes takes three instructions per 64 channels; every
ROWS_PER_FLUSH rows, before a 16-bit sum can overflow, both move to 32 bits:
    sum of highs = sum(word >> 8);   sum of lows = sum(word) - 256 * sum of highs - 128 * rows   (modulo 2**16)
Autovectorised loops reach a quarter of this speed, because the sums do not stay in registers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from lava_runtime.engine.compiled import intrinsic, types
from lava_runtime.engine.llvm_loops import I16, I32, I64, Loop, array_data, at_address, pointer_at, splat

ROWS_PER_FLUSH: Final = 256
"""-128 * 256 is the lowest 16-bit number, 255 * 256 fits 16 bits without sign."""

LANES: Final = 16
"""Channels of a row are padded to a multiple of this; lists of rows may be written so far beyond their end."""


def padded(channels: int) -> int:
    """`channels` rounded up to whole lanes."""
    return -(-channels // LANES) * LANES


def units(channels: int) -> list[int]:
    """The widths of the units that a padded row of `channels` consists of: 64 as often as possible, then 32, 16."""
    rest = padded(channels)
    whole, rest = divmod(rest, 64)
    return [64] * whole + [width for width in (32, 16) if rest & width]


def pack_rows(rows: npt.NDArray[np.int16]) -> npt.NDArray[np.int8]:
    """Rows (R,C) of 8-bit weights, padded with zeros and interleaved per unit: word j = (w[j] + 128, w[half + j])."""
    wide = np.zeros((rows.shape[0], padded(rows.shape[1])), np.int16)
    wide[:, : rows.shape[1]] = rows
    packed = np.empty(wide.shape, np.uint8)
    first = 0
    for width in units(rows.shape[1]):
        half = width // 2
        packed[:, first : first + width : 2] = wide[:, first : first + half] + 128
        packed[:, first + 1 : first + width : 2] = wide[:, first + half : first + width] & 255
        first += width
    return packed.view(np.int8)


def _sum_rows(width: int) -> Any:
    """An intrinsic that adds up one block of `width` channels: 16, 32, 64 or several units of 64."""
    unit = min(width, 64)
    half = unit // 2
    words = ir.VectorType(I16, half)
    sums = ir.VectorType(I32, half)
    count_units = width // unit

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        weights_array, first, row_length, rows_array, count, out_array, at = arguments
        weights = builder.gep(array_data(context, builder, signature.args[0], weights_array), [first])
        rows = array_data(context, builder, signature.args[3], rows_array)
        out = builder.gep(array_data(context, builder, signature.args[5], out_array), [at])
        zero = ir.Constant(I64, 0)
        flush = ir.Constant(I64, ROWS_PER_FLUSH)
        outer = Loop(builder, zero, count, ROWS_PER_FLUSH, [ir.Constant(sums, None)] * (2 * count_units))
        limit = builder.add(outer.index, flush)
        end = builder.select(builder.icmp_signed("<", limit, count), limit, count)
        inner = Loop(builder, outer.index, end, 1, [ir.Constant(words, None)] * (2 * count_units))
        row = builder.sext(builder.load(builder.gep(rows, [inner.index])), I64)
        at_row = builder.gep(weights, [builder.mul(row, row_length)])
        grown = []
        for number in range(count_units):
            pointer = pointer_at(builder, at_row, ir.Constant(I64, number * unit), words)
            word = builder.load(pointer, align=1)
            high = builder.ashr(word, splat(builder, ir.Constant(I16, 8), half))
            grown.append(builder.add(inner.values[2 * number], word))
            grown.append(builder.add(inner.values[2 * number + 1], high))
        inner.close(grown)
        added = builder.trunc(builder.mul(builder.sub(end, outer.index), ir.Constant(I64, 128)), I32)
        offset = splat(builder, added, half)
        total = []
        for number in range(count_units):
            both, high = inner.values[2 * number], inner.values[2 * number + 1]
            low = builder.sub(both, builder.shl(high, splat(builder, ir.Constant(I16, 8), half)))
            low_sum = builder.sub(builder.zext(low, sums), offset)
            total.append(builder.add(outer.values[2 * number], low_sum))
            total.append(builder.add(outer.values[2 * number + 1], builder.sext(high, sums)))
        outer.close(total)
        for number, value in enumerate(outer.values):
            pointer = pointer_at(builder, out, ir.Constant(I64, number * half), sums)
            builder.store(value, pointer, align=4)
        return context.get_dummy_value()

    def typing(
        typing_context: Any, weights: Any, first: Any, row_length: Any, rows: Any, count: Any, out: Any, at: Any
    ) -> Any:
        return types.void(weights, types.int64, types.int64, rows, types.int64, out, types.int64), generate

    return intrinsic(typing)


sum_rows_256: Any = _sum_rows(256)
sum_rows_128: Any = _sum_rows(128)
sum_rows_64: Any = _sum_rows(64)
sum_rows_32: Any = _sum_rows(32)
sum_rows_16: Any = _sum_rows(16)
"""sum_rows_N(weights, first, row_length, rows, count, out, at):
out[at + o] = sum_{i < count} w[rows[i], o] for N channels, of packed rows that begin at `weights[first]`."""


def _copy_shifted(typing_context: Any, source: Any, begin: Any, length: Any, shift: Any, target: Any, at: Any) -> Any:
    lanes = ir.VectorType(I32, LANES)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source_array, begin, length, shift, target_array, at = arguments
        read = builder.gep(array_data(context, builder, signature.args[0], source_array), [begin])
        write = builder.gep(array_data(context, builder, signature.args[4], target_array), [at])
        by = splat(builder, builder.trunc(shift, I32), LANES)
        loop = Loop(builder, ir.Constant(I64, 0), length, LANES, [])
        value = builder.load(pointer_at(builder, read, loop.index, lanes), align=4)
        builder.store(builder.add(value, by), pointer_at(builder, write, loop.index, lanes), align=4)
        loop.close([])
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, types.int64, target, types.int64), generate


copy_shifted: Any = intrinsic(_copy_shifted)
"""copy_shifted(source, begin, length, shift, target, at): target[at + i] = source[begin + i] + shift, i < length.
Reads and writes whole lanes: both arrays need LANES spare elements at their end."""


def _append_active(typing_context: Any, source: Any, channels: Any, first_event: Any, events: Any, slot: Any) -> Any:
    numbers_type = ir.VectorType(I32, LANES)
    bytes_type = ir.VectorType(ir.IntType(8), LANES)
    lane_numbers = ir.Constant(numbers_type, list(range(LANES)))

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source, channels, first_event, events, slot = arguments
        loop = Loop(builder, ir.Constant(I64, 0), channels, LANES, [slot])
        active = builder.load(at_address(builder, builder.add(source, loop.index), bytes_type), align=1)
        fired = builder.icmp_unsigned("!=", active, ir.Constant(bytes_type, None))
        left = splat(builder, builder.trunc(builder.sub(channels, loop.index), I32), LANES)
        fired = builder.and_(fired, builder.icmp_signed("<", lane_numbers, left))
        first = builder.trunc(builder.add(first_event, loop.index), I32)
        numbers = builder.add(splat(builder, first, LANES), lane_numbers)
        store = builder.module.declare_intrinsic(
            f"llvm.masked.compressstore.v{LANES}i32",
            fnty=ir.FunctionType(ir.VoidType(), [numbers_type, I32.as_pointer(), fired.type]),
        )
        at = builder.add(events, builder.mul(loop.values[0], ir.Constant(I64, 4)))
        builder.call(store, [numbers, at_address(builder, at, I32), fired])
        count = builder.ctpop(builder.zext(builder.bitcast(fired, I16), I64))
        loop.close([builder.add(loop.values[0], count)])
        return loop.values[0]

    return types.int64(*[types.int64] * 5), generate


append_active: Any = intrinsic(_append_active)
"""append_active(source, channels, first_event, events, slot) -> slot: append first_event + c to `events` for each
c < channels whose byte is not 0; `source` and `events` are addresses, the latter of int32."""


def _clear(width: int) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        address, count, step = arguments
        vector = ir.VectorType(ir.IntType(width), LANES)
        loop = Loop(builder, ir.Constant(I64, 0), count, 1, [])
        at = builder.add(address, builder.mul(loop.index, step))
        builder.store(ir.Constant(vector, None), at_address(builder, at, vector), align=1)
        loop.close([])
        return context.get_dummy_value()

    def typing(typing_context: Any, address: Any, count: Any, step: Any) -> Any:
        return types.void(*[types.int64] * 3), generate

    return intrinsic(typing)


clear_words: Any = _clear(32)
clear_bytes: Any = _clear(8)
"""clear_words(address, count, step): `count` groups of 16 numbers, `step` bytes apart, become 0."""
