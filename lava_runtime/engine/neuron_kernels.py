"""One time step of the neurons of one pixel, bit for bit as Lava's fixed-point models compute it.

Written as LLVM vectors of 16 neurons: everything is 32-bit two's complement that wraps, as numpy's int32 does.
Equations: netx_export/graph/neurons.py. Reference: netx_export/graph/fixedpoint.py.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from lava_runtime.engine.compiled import intrinsic, types
from lava_runtime.engine.llvm_loops import I16, I32, I64, Loop, array_data, pointer_at, splat
from lava_runtime.engine.vector_sums import LANES
from netx_export.graph.fixedpoint import ACTIVATION_SHIFT, CONV_WRAP, DECAY_BITS, DECAY_ONE, STATE_LIMIT

_VECTOR = ir.VectorType(I32, LANES)


def _constant(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


def _leak(builder: ir.IRBuilder, state: Any, multiplier: Any) -> Any:
    """tz(state * multiplier, 12), for |state| * multiplier < 2**43.

    The 64-bit product is split at 12 bits of |state|, which keeps every part in 32 bits:
    |state| * m >> 12 = (|state| >> 12) * m + (((|state| & 4095) * m) >> 12).
    """
    sign = builder.ashr(state, _constant(31))
    magnitude = builder.sub(builder.xor(state, sign), sign)
    high = builder.mul(builder.lshr(magnitude, _constant(DECAY_BITS)), multiplier)
    low = builder.mul(builder.and_(magnitude, _constant(DECAY_ONE - 1)), multiplier)
    total = builder.add(high, builder.lshr(low, _constant(DECAY_BITS)))
    return builder.sub(builder.xor(total, sign), sign)


def _emit(builder: ir.IRBuilder, fired: Any, first_event: Any, group: Any, events: Any, slot: Any) -> Any:
    """Append the indices of the neurons that fired to a row of events; returns the next free slot."""
    lane_numbers = ir.Constant(_VECTOR, list(range(LANES)))
    first = builder.trunc(builder.add(first_event, group), I32)
    numbers = builder.add(splat(builder, first, LANES), lane_numbers)
    mask_type = ir.VectorType(ir.IntType(1), LANES)
    store = builder.module.declare_intrinsic(
        f"llvm.masked.compressstore.v{LANES}i32",
        fnty=ir.FunctionType(ir.VoidType(), [_VECTOR, I32.as_pointer(), mask_type]),
    )
    # Only the slots that are claimed are written: the row behind this one may belong to another thread.
    builder.call(store, [numbers, builder.gep(events, [slot]), fired])
    count = builder.ctpop(builder.zext(builder.bitcast(fired, I16), I64))
    return builder.add(slot, count)


def _lif_pixel(
    typing_context: Any,
    current: Any,
    u: Any,
    v: Any,
    bias: Any,
    lanes: Any,
    u_multiplier: Any,
    v_multiplier: Any,
    threshold: Any,
    events: Any,
    slot: Any,
    first_event: Any,
) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        arrays = [array_data(context, builder, signature.args[n], arguments[n]) for n in range(4)]
        events_data = array_data(context, builder, signature.args[8], arguments[8])
        lanes, u_m, v_m, vth = arguments[4:8]
        slot, first_event = arguments[9:11]
        u_multiplier, v_multiplier, threshold = (
            splat(builder, builder.trunc(scalar, I32), LANES) for scalar in (u_m, v_m, vth)
        )
        loop = Loop(builder, ir.Constant(I64, 0), lanes, LANES, [slot])
        at_current, at_u, at_v, at_bias = (pointer_at(builder, data, loop.index, _VECTOR) for data in arrays)
        a_in = builder.shl(builder.load(at_current, align=4), _constant(ACTIVATION_SHIFT))
        grown = builder.add(_leak(builder, builder.load(at_u, align=4), u_multiplier), a_in)
        # At most one of the two corrections can apply.
        high = builder.icmp_signed(">", grown, _constant(STATE_LIMIT))
        low = builder.icmp_signed("<=", grown, _constant(-STATE_LIMIT))
        u = builder.select(high, builder.sub(grown, _constant(CONV_WRAP)), grown)
        u = builder.select(low, builder.add(grown, _constant(CONV_WRAP)), u)
        builder.store(u, at_u, align=4)
        raised = builder.add(_leak(builder, builder.load(at_v, align=4), v_multiplier), u)
        raised = builder.add(raised, builder.load(at_bias, align=4))
        v_max, v_min = _constant(STATE_LIMIT - 1), _constant(1 - STATE_LIMIT)
        raised = builder.select(builder.icmp_signed(">", raised, v_max), v_max, raised)
        raised = builder.select(builder.icmp_signed("<", raised, v_min), v_min, raised)
        fired = builder.icmp_signed(">", raised, threshold)
        builder.store(builder.select(fired, _constant(0), raised), at_v, align=4)
        loop.close([_emit(builder, fired, first_event, loop.index, events_data, loop.values[0])])
        return loop.values[0]

    integer = types.int64
    return (
        integer(current, u, v, bias, integer, integer, integer, integer, events, integer, integer),
        generate,
    )


lif_pixel: Any = intrinsic(_lif_pixel)
"""lif_pixel(current, u, v, bias, lanes, u_multiplier, v_multiplier, threshold, events, slot, first_event) -> slot

u' = wrap24(tz(u*(4096-(du+1)), 12) + (a_in << 6));  v' = clip24(tz(v*(4096-dv), 12) + u' + bias)
s = v' > threshold;  v' = 0 where s
Updates u, v (lanes,) and appends first_event + neuron to `events` where it spiked. Neurons that pad the lanes have
neither current nor bias, so they never spike."""


def _or_pixel(typing_context: Any, current: Any, lanes: Any, events: Any, slot: Any, first_event: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        current_data = array_data(context, builder, signature.args[0], arguments[0])
        events_data = array_data(context, builder, signature.args[2], arguments[2])
        loop = Loop(builder, ir.Constant(I64, 0), arguments[1], LANES, [arguments[3]])
        a_in = builder.load(pointer_at(builder, current_data, loop.index, _VECTOR), align=4)
        fired = builder.icmp_signed(">", a_in, _constant(0))
        loop.close([_emit(builder, fired, arguments[4], loop.index, events_data, loop.values[0])])
        return loop.values[0]

    integer = types.int64
    return integer(current, integer, events, integer, integer), generate


or_pixel: Any = intrinsic(_or_pixel)
"""or_pixel(current, lanes, events, slot, first_event) -> slot;  s = a_in > 0, appended as lif_pixel does."""
