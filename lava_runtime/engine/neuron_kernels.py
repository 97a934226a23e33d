"""One time step of a tile of neurons, bit for bit as Lava's fixed-point models compute it.

Written as LLVM vectors of 16 channels: everything is 32-bit two's complement that wraps, as numpy's int32 does.
Equations: netx_export/graph/neurons.py. Reference: netx_export/graph/fixedpoint.py.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from lava_runtime.engine.compiled import intrinsic, types
from lava_runtime.engine.llvm_loops import I16, I32, I64, Loop, at_address, splat
from lava_runtime.engine.vector_sums import LANES
from netx_export.graph.fixedpoint import CONV_WRAP, DECAY_BITS, DECAY_ONE, STATE_LIMIT

_VECTOR = ir.VectorType(I32, LANES)
_SPIKES = ir.VectorType(ir.IntType(8), LANES)
_GROUP = 4 * LANES


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


def _wrapped(builder: ir.IRBuilder, grown: Any) -> Any:
    # At most one of the two corrections can apply.
    high = builder.icmp_signed(">", grown, _constant(STATE_LIMIT))
    low = builder.icmp_signed("<=", grown, _constant(-STATE_LIMIT))
    once = builder.select(high, builder.sub(grown, _constant(CONV_WRAP)), grown)
    return builder.select(low, builder.add(grown, _constant(CONV_WRAP)), once)


class _Tile:
    """A loop over groups of 16 channels; arrays are addresses that advance by so many bytes from group to group."""

    def __init__(self, builder: ir.IRBuilder, groups: Any) -> None:
        self._builder = builder
        self._loop = Loop(builder, ir.Constant(I64, 0), groups, 1, [ir.Constant(I64, 0)])

    def at(self, array: Any, step: Any = _GROUP, kind: Any = _VECTOR) -> Any:
        builder = self._builder
        width = ir.Constant(I64, step) if isinstance(step, int) else step
        return at_address(builder, builder.add(array, builder.mul(self._loop.index, width)), kind)

    def load(self, array: Any, step: Any = _GROUP) -> Any:
        return self._builder.load(self.at(array, step), align=4)

    def close(self) -> Any:
        self._loop.close([self._loop.values[0]])
        return self._loop.values[0]

    def emit(self, fired: Any, out: Any, out_step: Any, counts: Any) -> Any:
        """Store the spikes as bytes and add them to the neurons' counts; ends the loop, returns their number."""
        builder = self._builder
        builder.store(builder.zext(fired, _SPIKES), self.at(out, out_step, _SPIKES), align=1)
        builder.store(builder.add(self.load(counts), builder.zext(fired, _VECTOR)), self.at(counts), align=4)
        count = builder.ctpop(builder.zext(builder.bitcast(fired, I16), I64))
        self._loop.close([builder.add(self._loop.values[0], count)])
        return self._loop.values[0]


def _lif(with_u: bool) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        current, u, v, bias, bias_step, counts, out, out_step, groups, shift, u_m, v_m, vth = arguments
        shift, u_m, v_m, vth = (splat(builder, builder.trunc(n, I32), LANES) for n in (shift, u_m, v_m, vth))
        tile = _Tile(builder, groups)
        grown = builder.shl(tile.load(current), shift)
        if with_u:
            grown = builder.add(_leak(builder, tile.load(u), u_m), grown)
        state = _wrapped(builder, grown)
        if with_u:
            builder.store(state, tile.at(u), align=4)
        raised = builder.add(_leak(builder, tile.load(v), v_m), state)
        raised = builder.add(raised, tile.load(bias, bias_step))
        v_max, v_min = _constant(STATE_LIMIT - 1), _constant(1 - STATE_LIMIT)
        raised = builder.select(builder.icmp_signed(">", raised, v_max), v_max, raised)
        raised = builder.select(builder.icmp_signed("<", raised, v_min), v_min, raised)
        fired = builder.icmp_signed(">", raised, vth)
        builder.store(builder.select(fired, _constant(0), raised), tile.at(v), align=4)
        return tile.emit(fired, out, out_step, counts)

    def typing(
        typing_context: Any,
        current: Any,
        u: Any,
        v: Any,
        bias: Any,
        bias_step: Any,
        counts: Any,
        out: Any,
        out_step: Any,
        groups: Any,
        shift: Any,
        u_multiplier: Any,
        v_multiplier: Any,
        threshold: Any,
    ) -> Any:
        return types.int64(*[types.int64] * 13), generate

    return intrinsic(typing)


lif_tile: Any = _lif(True)
lif_tile_without_u: Any = _lif(False)
"""lif_tile(current, u, v, bias, bias_step, counts, out, out_step, groups, shift, u_m, v_m, threshold) -> spikes

u' = wrap24(tz(u*u_m, 12) + (a_in << shift));  v' = clip24(tz(v*v_m, 12) + u' + bias);  s = v' > threshold;  v' = 0 where s
Groups of 16 channels; all arguments are int64, the arrays addresses. current, u, v, counts: int32 (groups,16);
`bias` (int32) and `out` (bytes 0/1) advance by their steps, in bytes. Updates u, v, writes out, adds to counts.
Channels that pad a group have neither current nor bias, so they never spike. Without u: the same for u_m = 0."""


def _or_tile(typing_context: Any, current: Any, counts: Any, out: Any, out_step: Any, groups: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        current, counts, out, out_step, groups = arguments
        tile = _Tile(builder, groups)
        fired = builder.icmp_signed(">", tile.load(current), _constant(0))
        return tile.emit(fired, out, out_step, counts)

    return types.int64(*[types.int64] * 5), generate


or_tile: Any = intrinsic(_or_tile)
"""or_tile(current, counts, out, out_step, groups) -> spikes;  s = a_in > 0, written as lif_tile does."""


def _readout_tile(
    typing_context: Any, current: Any, bias: Any, bias_step: Any, out: Any, out_step: Any, groups: Any, shift: Any
) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        current, bias, bias_step, out, out_step, groups, shift = arguments
        by = splat(builder, builder.trunc(shift, I32), LANES)
        tile = _Tile(builder, groups)
        value = builder.add(builder.shl(tile.load(current), by), tile.load(bias, bias_step))
        builder.store(value, tile.at(out, out_step), align=4)
        return tile.close()

    return types.int64(*[types.int64] * 7), generate


readout_tile: Any = intrinsic(_readout_tile)
"""readout_tile(current, bias, bias_step, out, out_step, groups, shift) -> 0;  out = (a_in << shift) + bias, int32."""


def _keep_counts(width: int) -> Any:
    kind = ir.VectorType(ir.IntType(width), LANES)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        counts, out, out_step, groups, kept = arguments
        tile = _Tile(builder, groups)
        counted = tile.load(counts)
        fresh = counted if width == 32 else builder.trunc(counted, kind)
        to = tile.at(out, out_step, kind)
        # What lies there is taken in or left out without a branch.
        mask = splat(builder, builder.trunc(builder.neg(kept), ir.IntType(width)), LANES)
        before = builder.and_(builder.load(to, align=1), mask)
        builder.store(builder.add(before, fresh), to, align=1)
        return tile.close()

    def typing(typing_context: Any, counts: Any, out: Any, out_step: Any, groups: Any, kept: Any) -> Any:
        return types.int64(*[types.int64] * 5), generate

    return intrinsic(typing)


keep_words: Any = _keep_counts(32)
keep_bytes: Any = _keep_counts(8)
"""keep_bytes(counts, out, out_step, groups, kept) -> 0: groups of 16 counts (int32) as bytes, `out_step` bytes apart;
added to what is there where `kept` is 1, written over it where it is 0."""
