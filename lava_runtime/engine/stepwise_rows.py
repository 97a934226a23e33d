"""Vector code of the stepwise kernels: rows of neurons, 16 at a time, given by their addresses.

Every function takes `n` neurons first and then int64 addresses of int32 rows (weights: int8) and plain integers.
Rows of neurons are padded to whole lanes; behind the last row and the last weight there is room for LANES elements.
Everything wraps at 32 bits, as numpy's int32 does.
Equations: netx_export/graph/neurons.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir

from lava_runtime.engine.compiled import intrinsic, types
from lava_runtime.engine.llvm_loops import I32, I64, Loop, splat
from netx_export.graph.fixedpoint import ACTIVATION_SHIFT, CONV_WRAP, DECAY_BITS, DECAY_ONE, STATE_LIMIT

LANES: Final = 16

_VECTOR = ir.VectorType(I32, LANES)
_BYTES = ir.VectorType(ir.IntType(8), LANES)
_NUMBERS = ir.Constant(_VECTOR, list(range(LANES)))

Body = Callable[["_Row", list[Any], list[Any]], Any]


def _constant(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


_ZERO = _constant(0)


class _Row:
    """16 neurons inside a loop over a row."""

    def __init__(self, builder: ir.IRBuilder, index: Any) -> None:
        self.builder, self.index = builder, index

    def _pointer(self, address: Any, kind: Any, size: int) -> Any:
        at = self.builder.add(address, self.builder.mul(self.index, ir.Constant(I64, size)))
        return self.builder.inttoptr(at, kind.as_pointer())

    def load(self, address: Any) -> Any:
        return self.builder.load(self._pointer(address, _VECTOR, 4), align=4)

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self._pointer(address, _VECTOR, 4), align=4)

    def load_weights(self, address: Any) -> Any:
        return self.builder.sext(self.builder.load(self._pointer(address, _BYTES, 1), align=1), _VECTOR)

    def inside(self, n: Any) -> Any:
        """True in the lanes that belong to the row."""
        left = splat(self.builder, self.builder.trunc(self.builder.sub(n, self.index), I32), LANES)
        return self.builder.icmp_signed("<", _NUMBERS, left)

    def scalar(self, value: Any) -> Any:
        return splat(self.builder, self.builder.trunc(value, I32), LANES)

    def choose(self, relation: str, left: Any, right: Any, yes: Any, no: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed(relation, left, right), yes, no)

    def clip(self, value: Any) -> Any:
        """Saturation at +-(2**23 - 1)."""
        low, high = _constant(1 - STATE_LIMIT), _constant(STATE_LIMIT - 1)
        return self.choose("<", value, low, low, self.choose(">", value, high, high, value))

    def scaled(self, state: Any, multiplier: Any) -> Any:
        """tz(state * multiplier, 12) for |multiplier| <= 4096, split at 12 bits of |state| to stay in 32 bits:
        |state| * m >> 12 = (|state| >> 12) * m + (((|state| & 4095) * m) >> 12).
        """
        b = self.builder
        sign = b.ashr(b.xor(state, multiplier), _constant(31))
        magnitude = self.choose("<", state, _ZERO, b.sub(_ZERO, state), state)
        factor = self.choose("<", multiplier, _ZERO, b.sub(_ZERO, multiplier), multiplier)
        high = b.mul(b.lshr(magnitude, _constant(DECAY_BITS)), factor)
        low = b.mul(b.and_(magnitude, _constant(DECAY_ONE - 1)), factor)
        total = b.add(high, b.lshr(low, _constant(DECAY_BITS)))
        return b.sub(b.xor(total, sign), sign)

    def saturating_add(self, left: Any, right: Any) -> Any:
        function = self.builder.module.declare_intrinsic(
            f"llvm.sadd.sat.v{LANES}i32", fnty=ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
        )
        return self.builder.call(function, [left, right])


# -- neurons -------------------------------------------------------------------------------------------------------


def _neuron(body: Body) -> Any:
    """neuron(n, a_re, a_im, bias, x, y, z, message, p0, p1, p2, p3): states x, y, z in place, messages written."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        loop = Loop(builder, ir.Constant(I64, 0), arguments[0], LANES, [])
        row = _Row(builder, loop.index)
        row.store(body(row, arguments[1:8], [row.scalar(value) for value in arguments[8:]]), arguments[7])
        loop.close([])
        return context.get_dummy_value()

    def typing(
        typing_context: Any,
        n: Any,
        a_re: Any,
        a_im: Any,
        bias: Any,
        x: Any,
        y: Any,
        z: Any,
        message: Any,
        p0: Any,
        p1: Any,
        p2: Any,
        p3: Any,
    ) -> Any:
        return types.void(*[types.int64] * 12), generate

    return intrinsic(typing)


def _lif(row: _Row, at: list[Any], p: list[Any]) -> Any:
    b = row.builder
    a_in = b.shl(row.load(at[0]), _constant(ACTIVATION_SHIFT))
    grown = b.add(row.scaled(row.load(at[3]), p[0]), a_in)
    # At most one of the two corrections can apply.
    u = row.choose(">", grown, _constant(STATE_LIMIT), b.sub(grown, _constant(CONV_WRAP)), grown)
    u = row.choose("<=", grown, _constant(-STATE_LIMIT), b.add(grown, _constant(CONV_WRAP)), u)
    row.store(u, at[3])
    v = row.clip(b.add(b.add(row.scaled(row.load(at[4]), p[1]), u), row.load(at[2])))
    fired = b.icmp_signed(">", v, p[2])
    row.store(b.select(fired, _ZERO, v), at[4])
    return b.zext(fired, _VECTOR)


def _or(row: _Row, at: list[Any], p: list[Any]) -> Any:
    return row.builder.zext(row.builder.icmp_signed(">", row.load(at[0]), _ZERO), _VECTOR)


def _readout(row: _Row, at: list[Any], p: list[Any]) -> Any:
    return row.builder.add(row.load(at[0]), row.load(at[2]))


def _send_change(row: _Row, old: Any, new: Any, residue_at: Any, p: list[Any]) -> Any:
    b = row.builder
    change = b.add(b.sub(new, old), row.load(residue_at))
    # |-2**31| is -2**31 in 32 bits, as numpy has it, and below every threshold.
    magnitude = row.choose("<", change, _ZERO, b.sub(_ZERO, change), change)
    sent = row.choose(">=", magnitude, p[1], change, _ZERO)
    row.store(b.sub(change, sent), residue_at)
    return b.ashr(sent, p[2])


def _delta(row: _Row, at: list[Any], p: list[Any]) -> Any:
    new, old = row.builder.shl(row.load(at[0]), p[0]), row.load(at[3])
    row.store(new, at[3])
    return _send_change(row, old, new, at[4], p)


def _sigma_delta(row: _Row, at: list[Any], p: list[Any]) -> Any:
    sigma = row.builder.add(row.load(at[3]), row.load(at[0]))
    row.store(sigma, at[3])
    biased = row.builder.add(sigma, row.load(at[2]))
    new, old = row.choose("<", biased, p[0], p[0], biased), row.load(at[5])
    row.store(new, at[5])
    return _send_change(row, old, new, at[4], p)


def _sigma(row: _Row, at: list[Any], p: list[Any]) -> Any:
    sigma = row.builder.add(row.load(at[3]), row.load(at[0]))
    row.store(sigma, at[3])
    return sigma


def _rotate(row: _Row, at: list[Any], p: list[Any]) -> tuple[Any, Any, Any]:
    """The resonator's new (re, im) and its old im; a current beyond 24 bits saturates, as Lava's 64-bit sum does."""
    b = row.builder
    re, im = row.load(at[3]), row.load(at[4])
    a_re, a_im = (b.shl(row.load(address), p[3]) for address in at[:2])
    turned = b.sub(row.scaled(re, p[1]), row.scaled(im, p[0]))
    new_re = row.clip(row.saturating_add(turned, a_re))
    new_im = row.clip(row.saturating_add(b.add(row.scaled(re, p[0]), row.scaled(im, p[1])), a_im))
    return new_re, new_im, im


def _rf(row: _Row, at: list[Any], p: list[Any]) -> Any:
    b = row.builder
    re, im, old = _rotate(row, at, p)
    crossed = b.and_(b.icmp_signed(">=", im, _ZERO), b.icmp_signed("<", old, _ZERO))
    row.store(re, at[3])
    row.store(im, at[4])
    return b.zext(b.and_(crossed, b.icmp_signed(">=", re, p[2])), _VECTOR)


def _rf_iz(row: _Row, at: list[Any], p: list[Any]) -> Any:
    b = row.builder
    re, im, _ = _rotate(row, at, p)
    fired = b.icmp_signed(">=", im, p[2])
    row.store(b.select(fired, _ZERO, re), at[3])
    row.store(b.select(fired, b.sub(p[2], _constant(1)), im), at[4])
    return b.zext(fired, _VECTOR)


lif_row: Any = _neuron(_lif)
"""x = u, y = v; p0 = 4096 - (du + 1), p1 = 4096 - dv, p2 = vth_mant << 6."""
or_row: Any = _neuron(_or)
readout_row: Any = _neuron(_readout)
delta_row: Any = _neuron(_delta)
"""x = act, y = residue; p0 = spike_exp + state_exp, p1 = vth << p0, p2 = state_exp."""
sigma_delta_row: Any = _neuron(_sigma_delta)
"""x = sigma, y = residue, z = act; p0 = lowest activation (0 or -2**31), p1 = scaled vth, p2 = state_exp."""
sigma_row: Any = _neuron(_sigma)
"""x = sigma."""
rf_row: Any = _neuron(_rf)
rf_iz_row: Any = _neuron(_rf_iz)
"""x = re, y = im; p0 = sin, p1 = cos, p2 = vth_mant << state_exp, p3 = state_exp."""


# -- sums and lists ------------------------------------------------------------------------------------------------


def _add_scaled(typing_context: Any, n: Any, target: Any, weights: Any, value: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        n, target, weights, value = arguments
        factor = splat(builder, builder.trunc(value, I32), LANES)
        loop = Loop(builder, ir.Constant(I64, 0), n, LANES, [])
        row = _Row(builder, loop.index)
        weight = builder.select(row.inside(n), row.load_weights(weights), _ZERO)
        row.store(builder.add(row.load(target), builder.mul(weight, factor)), target)
        loop.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


add_scaled: Any = intrinsic(_add_scaled)
"""add_scaled(n, target, weights, value): target[i] += weights[i] * value for i < n."""


_BLOCK: Final = 4


def _add_pixel(graded: bool) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        n, target, weights, stride, events, values, count, first, shift = arguments
        four = ir.Constant(I64, 4)

        def sum_block(begin: Any, vectors: int, masked: bool) -> None:
            """`vectors` sums of 16 stay in registers while every message of the pixel goes by."""
            rows = [_Row(builder, builder.add(begin, ir.Constant(I64, LANES * number))) for number in range(vectors)]
            loop = Loop(builder, ir.Constant(I64, 0), count, 1, [_ZERO] * vectors)
            at = builder.mul(loop.index, four)
            event = builder.load(builder.inttoptr(builder.add(events, at), I32.as_pointer()))
            channel = builder.sub(builder.sext(event, I64), first)
            line = builder.add(weights, builder.mul(channel, stride))
            terms = [row.load_weights(line) for row in rows]
            if graded:
                message = builder.load(builder.inttoptr(builder.add(values, at), I32.as_pointer()))
                factor = splat(builder, message, LANES)
                terms = [builder.mul(term, factor) for term in terms]
            loop.close([builder.add(total, term) for total, term in zip(loop.values, terms, strict=True)])
            for number, (row, total) in enumerate(zip(rows, loop.values, strict=True)):
                grown = builder.shl(total, row.scalar(shift))
                if masked and number == vectors - 1:
                    # Behind the run lie the weights of another one.
                    grown = builder.select(row.inside(n), grown, _ZERO)
                row.store(builder.add(row.load(target), grown), target)

        whole = builder.and_(n, ir.Constant(I64, -LANES * _BLOCK))
        blocks = Loop(builder, ir.Constant(I64, 0), whole, LANES * _BLOCK, [])
        sum_block(blocks.index, _BLOCK, masked=False)
        blocks.close([])
        last = builder.lshr(builder.add(builder.sub(n, whole), ir.Constant(I64, LANES - 1)), ir.Constant(I64, 4))
        for vectors in range(1, _BLOCK + 1):
            with builder.if_then(builder.icmp_signed("==", last, ir.Constant(I64, vectors))):
                sum_block(whole, vectors, masked=True)
        return context.get_dummy_value()

    def typing(
        typing_context: Any,
        n: Any,
        target: Any,
        weights: Any,
        stride: Any,
        events: Any,
        values: Any,
        count: Any,
        first: Any,
        shift: Any,
    ) -> Any:
        return types.void(*[types.int64] * 9), generate

    return intrinsic(typing)


add_spikes: Any = _add_pixel(graded=False)
add_messages: Any = _add_pixel(graded=True)
"""add_*(n, target, weights, stride, events, values, count, first, shift), for all messages of one source pixel:
target[i] += (sum_{k < count} weights[(events[k] - first) * stride + i] * values[k]) << shift for i < n."""


def _move_row(typing_context: Any, n: Any, target: Any, source: Any, drop: Any, wrap: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        n, target, source, drop, wrap = arguments
        loop = Loop(builder, ir.Constant(I64, 0), n, LANES, [])
        row = _Row(builder, loop.index)
        total = builder.ashr(row.load(source), row.scalar(drop))
        half = _constant(STATE_LIMIT)
        wrapped = builder.sub(builder.and_(builder.add(total, half), _constant(CONV_WRAP - 1)), half)
        total = row.choose("!=", row.scalar(wrap), _ZERO, wrapped, total)
        row.store(builder.add(row.load(target), total), target)
        row.store(_ZERO, source)
        loop.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


move_row: Any = intrinsic(_move_row)
"""move_row(n, target, source, drop, wrap): target[i] += source[i] >> drop, modulo 2**24 where wrap is 1; source[i] = 0.
Both rows are padded to whole lanes."""


def _emit_row(graded: bool) -> Any:
    mask_type = ir.VectorType(ir.IntType(1), LANES)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        n, message, events, values = arguments
        store = builder.module.declare_intrinsic(
            f"llvm.masked.compressstore.v{LANES}i32",
            fnty=ir.FunctionType(ir.VoidType(), [_VECTOR, I32.as_pointer(), mask_type]),
        )
        loop = Loop(builder, ir.Constant(I64, 0), n, LANES, [ir.Constant(I64, 0)])
        row = _Row(builder, loop.index)
        sent = row.load(message)
        fired = builder.and_(builder.icmp_signed("!=", sent, _ZERO), row.inside(n))
        offset = builder.mul(loop.values[0], ir.Constant(I64, 4))
        numbers = builder.add(row.scalar(loop.index), _NUMBERS)
        # Only claimed slots are written: the row behind this one may belong to another thread.
        for content, address in ((numbers, events), (sent, values)) if graded else ((numbers, events),):
            pointer = builder.inttoptr(builder.add(address, offset), I32.as_pointer())
            builder.call(store, [content, pointer, fired])
        count = builder.ctpop(builder.zext(builder.bitcast(fired, ir.IntType(LANES)), I64))
        loop.close([builder.add(loop.values[0], count)])
        return loop.values[0]

    def typing(typing_context: Any, n: Any, message: Any, events: Any, values: Any) -> Any:
        return types.int64(*[types.int64] * 4), generate

    return intrinsic(typing)


emit_spikes: Any = _emit_row(graded=False)
emit_messages: Any = _emit_row(graded=True)
"""emit_*(n, message, events, values) -> count: the indices (and values) of the non-zero messages, in order."""
