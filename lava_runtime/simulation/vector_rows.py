"""Explicit vector code for two innermost loops: adding rows of weights, and listing the non-zero messages of a frame.

Sums stay in registers while the rows of a run of messages are added; loops that LLVM vectorises on its own write them
back to memory after every row. All sums are 32-bit two's complement.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir

from lava_runtime.engine.compiled import intrinsic, types
from lava_runtime.engine.llvm_loops import I16, I32, I64, Loop, array_data, pointer_at, splat

LANES: Final = 16
"""Rows are padded to a multiple of this; lists of messages may be written so far beyond their end."""


def padded(count: int) -> int:
    """`count` rounded up to whole lanes."""
    return -(-count // LANES) * LANES


_VECTOR = ir.VectorType(I32, LANES)


def _add_rows(width: int, graded: bool) -> Any:
    """An intrinsic that adds rows of `width` weights, each times its message where `graded`."""
    groups = width // LANES

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        weights_array, first, row_length, events_array, messages_array, begin, end, shift, total_array, at = arguments
        weights = builder.gep(array_data(context, builder, signature.args[0], weights_array), [first])
        events = array_data(context, builder, signature.args[3], events_array)
        messages = array_data(context, builder, signature.args[4], messages_array)
        total = builder.gep(array_data(context, builder, signature.args[8], total_array), [at])
        element = ir.IntType(signature.args[0].dtype.bitwidth)
        narrow = ir.VectorType(element, LANES)
        places = [pointer_at(builder, total, ir.Constant(I64, group * LANES), _VECTOR) for group in range(groups)]
        loop = Loop(builder, begin, end, 1, [builder.load(place, align=4) for place in places])
        event = builder.sext(builder.load(builder.gep(events, [loop.index])), I64)
        row = builder.gep(weights, [builder.mul(builder.add(event, shift), row_length)])
        grown = []
        for group in range(groups):
            weight = builder.load(pointer_at(builder, row, ir.Constant(I64, group * LANES), narrow), align=1)
            wide = weight if element.width == 32 else builder.sext(weight, _VECTOR)
            if graded:
                message = builder.load(builder.gep(messages, [loop.index]))
                wide = builder.mul(wide, splat(builder, message, LANES))
            grown.append(builder.add(loop.values[group], wide))
        loop.close(grown)
        for place, value in zip(places, loop.values, strict=True):
            builder.store(value, place, align=4)
        return context.get_dummy_value()

    def typing(
        typing_context: Any,
        weights: Any,
        first: Any,
        row_length: Any,
        events: Any,
        messages: Any,
        begin: Any,
        end: Any,
        shift: Any,
        total: Any,
        at: Any,
    ) -> Any:
        whole = types.int64
        return types.void(weights, whole, whole, events, messages, whole, whole, whole, total, whole), generate

    return intrinsic(typing)


add_rows_64: Any = _add_rows(64, False)
add_rows_32: Any = _add_rows(32, False)
add_rows_16: Any = _add_rows(16, False)
add_graded_rows_16: Any = _add_rows(16, True)
"""add_rows_N(weights, first, row_length, events, messages, begin, end, shift, total, at):
total[at + o] += sum_{begin <= i < end} weights[first + (events[i] + shift)*row_length + o] (* messages[i]), o < N."""


def _list_spikes(typing_context: Any, frame: Any, first: Any, last: Any, events: Any, slot: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        frame_array, first, last, events_array, slot = arguments
        data = array_data(context, builder, signature.args[0], frame_array)
        listed = array_data(context, builder, signature.args[3], events_array)
        element = ir.IntType(signature.args[0].dtype.bitwidth)
        narrow = ir.VectorType(element, LANES)
        store = builder.module.declare_intrinsic(
            f"llvm.masked.compressstore.v{LANES}i32",
            fnty=ir.FunctionType(ir.VoidType(), [_VECTOR, I32.as_pointer(), ir.VectorType(ir.IntType(1), LANES)]),
        )
        loop = Loop(builder, first, last, LANES, [slot])
        value = builder.load(pointer_at(builder, data, loop.index, narrow), align=1)
        active = builder.icmp_signed("!=", value, ir.Constant(narrow, [0] * LANES))
        numbers = builder.add(
            splat(builder, builder.trunc(loop.index, I32), LANES), ir.Constant(_VECTOR, list(range(LANES)))
        )
        builder.call(store, [numbers, builder.gep(listed, [loop.values[0]]), active])
        found = builder.ctpop(builder.zext(builder.bitcast(active, I16), I64))
        loop.close([builder.add(loop.values[0], found)])
        return loop.values[0]

    return types.int64(frame, types.int64, types.int64, events, types.int64), generate


list_spikes: Any = intrinsic(_list_spikes)
"""list_spikes(frame, first, last, events, slot) -> slot: appends i to `events` where frame[i] != 0, for whole lanes
of first <= i < last."""
