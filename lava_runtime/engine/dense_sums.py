"""Exact dense sums of bytes times 8-bit weights: matrix tiles (AMX) or dot products (VNNI) where the host has them.

A step of the sum is 64 bytes of a source against a weight block of 16 channels x 64 bytes (1 KiB, four bytes of a
channel behind one another, as both instruction sets want them). Sources are unsigned bytes (0/1 spikes, or one byte
of a message), sums wrap in 32 bits. A list of steps is a table of int64, STEP numbers per step.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core.registry import cpu_target

from lava_runtime.engine.compiled import intrinsic, types
from lava_runtime.engine.llvm_loops import I16, I32, I64, Loop, at_address, splat

TILES: Final = 2
DOTS: Final = 1
PORTABLE: Final = 0

ROWS: Final = 16
"""Rows (pixels, or time steps) and channels of one tile of sums."""

DEPTH: Final = 64
"""Bytes of the source that one step takes in."""

BLOCK: Final = ROWS * DEPTH
"""Bytes of one weight block."""

FRAMES: Final = 6
"""Frames that one call adds up at most: their sums stay in registers while the weights stream by."""

STEP: Final = 5
"""Address in frame 0, bytes to the next frame, bytes to the next row, offset of the weight block, bytes used."""

_I8 = ir.IntType(8)
_BYTES = ir.VectorType(_I8, DEPTH)
_SUMS = ir.VectorType(I32, ROWS)
_WEIGHTS: Final = 6
_SOURCE: Final = 7
_TILE_PERMISSION = (158, 0x1023, 18)  # x86-64 Linux: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)


def _compiled_for(feature: str) -> bool:
    """Whether the kernels are compiled for a processor with `feature`."""
    return f"+{feature}" in str(cpu_target.target_context.codegen()._tm_features).split(",")


@cache
def dense_kind() -> int:
    """The best way to compute dense sums here: TILES, DOTS or PORTABLE."""
    # Linux hands the tile registers only to a process that asks for them.
    tiles = _compiled_for("amx-int8") and sys.platform == "linux"
    if tiles and ctypes.CDLL(None).syscall(*_TILE_PERMISSION) == 0:
        return TILES
    return DOTS if _compiled_for("avx512vnni") else PORTABLE


def tile_shape(rows: int) -> npt.NDArray[np.uint8]:
    """Configuration of the tile registers: sums and sources of `rows` rows, weights of 16."""
    shape = np.zeros(64, np.uint8)
    shape[0] = 1
    shape[16:32:2] = DEPTH
    shape[48:56] = rows
    shape[48 + _WEIGHTS] = ROWS
    return shape


def _call(builder: ir.IRBuilder, name: str, result: Any, arguments: list[Any]) -> Any:
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(result, [argument.type for argument in arguments]), name
    )
    return builder.call(function, arguments)


def _tile(name: str, builder: ir.IRBuilder, *arguments: Any) -> None:
    """One tile instruction; whole numbers are register names."""
    given = [ir.Constant(_I8, a) if isinstance(a, int) else a for a in arguments]
    _call(builder, f"llvm.x86.{name}", ir.VoidType(), given)


def _configure(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if _compiled_for("amx-int8"):
            _tile("ldtilecfg", builder, at_address(builder, arguments[0], _I8))
        return context.get_dummy_value()

    return types.void(types.int64), generate


configure_tiles: Any = intrinsic(_configure)
"""configure_tiles(address of a `tile_shape`), once per call of a kernel and thread."""


def _release(typing_context: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if _compiled_for("amx-int8"):
            _tile("tilerelease", builder)
        return context.get_dummy_value()

    return types.void(), generate


release_tiles: Any = intrinsic(_release)
"""release_tiles() before a kernel that configured the tiles returns."""


def _load_step(builder: ir.IRBuilder, steps: Any, index: Any) -> list[Any]:
    at = builder.gep(at_address(builder, steps, I64), [builder.mul(index, ir.Constant(I64, STEP))])
    return [builder.load(builder.gep(at, [ir.Constant(I64, n)])) for n in range(STEP)]


def _frame_address(builder: ir.IRBuilder, step: list[Any], frame: Any, ahead: int) -> Any:
    number = builder.add(frame, ir.Constant(I64, ahead))
    return builder.add(step[0], builder.mul(number, step[1]))


def _tiles(frames: int) -> Any:
    """Sums of `frames` frames in the tile registers."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        steps, first, last, frame, weights, out = arguments
        if not _compiled_for("amx-int8"):
            return context.get_dummy_value()
        for f in range(frames):
            _tile("tilezero", builder, f)
        loop = Loop(builder, first, last, 1, [])
        step = _load_step(builder, steps, loop.index)
        block = at_address(builder, builder.add(weights, step[3]), _I8)
        _tile("tileloadd64", builder, _WEIGHTS, block, ir.Constant(I64, DEPTH))
        for f in range(frames):
            source = at_address(builder, _frame_address(builder, step, frame, f), _I8)
            _tile("tileloadd64", builder, _SOURCE, source, step[2])
            _tile("tdpbusd", builder, f, _SOURCE, _WEIGHTS)
        loop.close([])
        for f in range(frames):
            to = at_address(builder, builder.add(out, ir.Constant(I64, 4 * ROWS * ROWS * f)), _I8)
            _tile("tilestored64", builder, f, to, ir.Constant(I64, 4 * ROWS))
        return context.get_dummy_value()

    def typing(typing_context: Any, steps: Any, first: Any, last: Any, frame: Any, weights: Any, out: Any) -> Any:
        return types.void(*[types.int64] * 6), generate

    return intrinsic(typing)


def _portable_dot(builder: ir.IRBuilder, total: Any, spread: Any, block: Any) -> Any:
    """total[n] + sum_k spread[4n+k] * block[4n+k] for unsigned times signed bytes, in plain vector code."""
    words = ir.VectorType(I16, DEPTH)
    # 255 * -128 still fits 16 bits.
    product = builder.mul(builder.zext(spread, words), builder.sext(block, words))
    pairs = ir.VectorType(I32, DEPTH // 2)
    both = builder.bitcast(product, pairs)
    half = ir.Constant(pairs, [16] * (DEPTH // 2))
    sums = builder.add(builder.ashr(builder.shl(both, half), half), builder.ashr(both, half))
    mask = ir.VectorType(I32, ROWS)
    undefined = ir.Constant(pairs, ir.Undefined)
    even = builder.shuffle_vector(sums, undefined, ir.Constant(mask, list(range(0, DEPTH // 2, 2))))
    odd = builder.shuffle_vector(sums, undefined, ir.Constant(mask, list(range(1, DEPTH // 2, 2))))
    return builder.add(total, builder.add(even, odd))


def _dot(builder: ir.IRBuilder, total: Any, word: Any, block: Any) -> Any:
    """total[n] + sum_k word[k] * block[4n+k]."""
    spread = splat(builder, word, ROWS)
    if _compiled_for("avx512vnni"):
        return _call(builder, "llvm.x86.avx512.vpdpbusd.512", _SUMS, [total, spread, builder.bitcast(block, _SUMS)])
    return _portable_dot(builder, total, builder.bitcast(spread, _BYTES), block)


def _dots(frames: int, rows: int) -> Any:
    """Sums of `frames` frames, `rows` rows at a time, in vector registers."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        steps, first, last, frame, weights, out, all_rows = arguments
        chunk = Loop(builder, ir.Constant(I64, 0), all_rows, rows, [])
        zero = [ir.Constant(_SUMS, None)] * (frames * rows)
        loop = Loop(builder, first, last, 1, zero)
        step = _load_step(builder, steps, loop.index)
        block = builder.add(weights, step[3])
        offset = builder.mul(chunk.index, step[2])
        starts = [builder.add(_frame_address(builder, step, frame, f), offset) for f in range(frames)]
        # Sixteen bytes a turn, four of them per instruction.
        inner = Loop(builder, ir.Constant(I64, 0), step[4], 16, loop.values)
        at_block = builder.add(block, builder.mul(inner.index, ir.Constant(I64, ROWS)))
        at_start = [builder.add(start, inner.index) for start in starts]
        sums = list(inner.values)
        for quad in range(4):
            weight = builder.load(
                at_address(builder, builder.add(at_block, ir.Constant(I64, DEPTH * quad)), _BYTES), align=1
            )
            for f in range(frames):
                for r in range(rows):
                    at = builder.add(at_start[f], builder.mul(step[2], ir.Constant(I64, r)))
                    at = builder.add(at, ir.Constant(I64, 4 * quad))
                    word = builder.load(at_address(builder, at, I32), align=1)
                    sums[f * rows + r] = _dot(builder, sums[f * rows + r], word, weight)
        inner.close(sums)
        loop.close(inner.values)
        for f in range(frames):
            for r in range(rows):
                row = builder.add(chunk.index, ir.Constant(I64, ROWS * f + r))
                to = builder.add(out, builder.mul(row, ir.Constant(I64, 4 * ROWS)))
                builder.store(loop.values[f * rows + r], at_address(builder, to, _SUMS), align=4)
        chunk.close([])
        return context.get_dummy_value()

    def typing(
        typing_context: Any, steps: Any, first: Any, last: Any, frame: Any, weights: Any, out: Any, rows: Any
    ) -> Any:
        return types.void(*[types.int64] * 7), generate

    return intrinsic(typing)


tiles_1, tiles_2, tiles_3, tiles_4, tiles_5, tiles_6 = (_tiles(frames) for frames in range(1, FRAMES + 1))
"""tiles_F(steps, first, last, frame, weights, out): out[f,r,n] = sum over steps first..last of F frames from `frame`;
all arguments are int64, `steps`, `weights` and `out` addresses; `out` is int32 (F,16,16)."""

dots_1, dots_4, dots_5, dots_6 = (_dots(frames, rows) for frames, rows in ((1, 8), (4, 4), (5, 4), (6, 4)))
"""dots_F(steps, first, last, frame, weights, out, rows): the same without tile registers; reads up to 7 rows more."""
