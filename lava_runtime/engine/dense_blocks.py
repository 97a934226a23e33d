"""The dense side of a plan: weights cut into blocks of 16 channels x 64 source bytes, and which bytes each block reads.

A list serves a run of channel tiles (all of them, unless channels are grouped); it is made of segments, each a sum of
its own (own exponent, wrap, or byte of a message); a segment is made of entries, one per weight block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.dense_sums import BLOCK, DEPTH, ROWS

Int8s = npt.NDArray[np.int8]
Int64s = npt.NDArray[np.int64]

# Columns of an entry.
TERM: Final = 0  # row of the term table
TAP_Y: Final = 1
TAP_X: Final = 2
OFFSET: Final = 3  # bytes behind the tap's pixel
USED: Final = 4  # bytes with weights, rounded up to whole dot products
BLOCK_AT: Final = 5  # offset of the weight block from the channel tile's first
ENTRY: Final = 6

# Columns of a segment.
LAST_ENTRY: Final = 0
SCALE: Final = 1  # the sum counts so many times, modulo 2**32
SEGMENT_EXPONENT: Final = 2
SEGMENT_WRAP: Final = 3
COMPLETE: Final = 4  # 0 where the next segment belongs to the same sum
SEGMENT: Final = 5

# Columns of a list.
FIRST_TILE: Final = 0
LAST_TILE: Final = 1
FIRST_ENTRY: Final = 2
FIRST_SEGMENT: Final = 3
LAST_SEGMENT: Final = 4
LIST_WEIGHTS: Final = 5  # offset of its first channel tile's weights
TILE_WEIGHTS: Final = 6  # bytes from channel tile to channel tile
LIST: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """One projection as the blocks need it: weights (kh,kw,C,N) of whole source pixels, zero where no synapse is.

    `planes` are (row of the term table, scale) of each byte of its messages. `mergeable`: may share a sum.
    """

    weights: Int8s
    pitch: int
    row_of_taps: bool
    grouped: bool
    exponent: int
    wrap: bool
    planes: tuple[tuple[int, int], ...]

    @property
    def sum_key(self) -> tuple[int, ...]:
        """Terms with equal keys that begin with 0 may be added up together."""
        alone = self.wrap or self.exponent < 0 or len(self.planes) > 1
        return (int(alone), self.exponent)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseBlocks:
    """Tables for `sweep_jobs`; `steps` is the length of the longest list, `cost` blocks per tile and frame."""

    lists: Int64s
    segments: Int64s
    entries: Int64s
    weights: Int8s
    pixel_weights: int
    steps: int
    cost: int
    used: int


def dense_blocks(terms: Sequence[Term], channels: int, pixels: int = 1) -> DenseBlocks:
    """Blocks of a population with `channels` channels; N of the terms' weights is pixels*channels (pixel first)."""
    tiles = -(-channels // ROWS)
    ordered = sorted(terms, key=lambda term: term.sum_key)
    bounds = [(tile, tile + 1) for tile in range(tiles)] if any(t.grouped for t in ordered) else [(0, tiles)]
    lists: list[Int64s] = []
    segments: list[tuple[int, ...]] = []
    entries: list[tuple[int, ...]] = []
    blocks: list[Int8s] = []
    weights_at, longest, cost, used = 0, 0, 0, 0
    for first, last in bounds:
        row = np.zeros(LIST, np.int64)
        row[FIRST_TILE], row[LAST_TILE] = first, last
        row[FIRST_ENTRY], row[FIRST_SEGMENT] = len(entries), len(segments)
        made: list[Int8s] = []
        for number, term in enumerate(ordered):
            cut = _cut(term, first, last, channels, pixels)
            for at, (plane, scale) in enumerate(term.planes):
                for index, (tap_y, tap_x, offset, length, _) in enumerate(cut):
                    entries.append((plane, tap_y, tap_x, offset, length, (len(made) + index) * BLOCK))
                following = ordered[number + 1] if number + 1 < len(ordered) else None
                merged = following is not None and term.sum_key[0] == 0 and term.sum_key == following.sum_key
                if not merged:
                    complete = at + 1 == len(term.planes)
                    segments.append((len(entries), scale, term.exponent, int(term.wrap), int(complete)))
            made += [block for *_, block in cut]
        row[LAST_SEGMENT] = len(segments)
        row[LIST_WEIGHTS], row[TILE_WEIGHTS] = weights_at, len(made) * BLOCK
        lists.append(row)
        count = len(entries) - int(row[FIRST_ENTRY])
        longest = max(longest, count)
        cost += count * (last - first)
        used += sum(entry[USED] for entry in entries[int(row[FIRST_ENTRY]) :]) * (last - first)
        # (blocks, pixels, tiles, 1024) -> (pixels, tiles, blocks, 1024)
        whole = np.stack(made).transpose(1, 2, 0, 3) if made else np.zeros((pixels, last - first, 0, BLOCK), np.int8)
        weights_at += whole.shape[1] * whole.shape[2] * BLOCK
        blocks.append(whole.reshape(pixels, -1))
    weights = np.ascontiguousarray(np.concatenate(blocks, axis=1))
    return DenseBlocks(
        lists=np.array(lists, np.int64),
        segments=np.array(segments, np.int64).reshape(-1, SEGMENT),
        entries=np.array(entries, np.int64).reshape(-1, ENTRY),
        weights=weights.reshape(-1),
        pixel_weights=weights.shape[1] if pixels > 1 else 0,
        steps=longest,
        cost=cost,
        used=used,
    )


def _cut(term: Term, first: int, last: int, channels: int, pixels: int) -> list[tuple[int, int, int, int, Int8s]]:
    """Pieces (tap y, tap x, offset, used, block (pixels,tiles,1024)) of the channel tiles first..last."""
    kernel_h, kernel_w, source_channels, _ = term.weights.shape
    shaped = term.weights.reshape(kernel_h, kernel_w, source_channels, pixels, channels)
    reached = shaped[..., first * ROWS : last * ROWS]
    here = np.zeros((*shaped.shape[:4], (last - first) * ROWS), np.int8)
    here[..., : reached.shape[-1]] = reached
    connected = np.flatnonzero(here.any(axis=(0, 1, 3, 4)))
    if not connected.size:
        return []
    low, high = int(connected[0]), int(connected[-1]) + 1
    together = (kernel_w - 1) * term.pitch + high - low
    if term.row_of_taps and -(-together // DEPTH) <= kernel_w * -(-(high - low) // DEPTH):
        # Neighbouring pixels lie behind one another: a kernel row is one run of bytes.
        wide = np.zeros((kernel_h, kernel_w, term.pitch, *here.shape[3:]), np.int8)
        wide[:, :, :source_channels] = here
        runs = [(ky, 0, wide[ky].reshape(-1, *here.shape[3:])[low : low + together]) for ky in range(kernel_h)]
    else:
        runs = [(ky, kx, here[ky, kx, low:high]) for ky in range(kernel_h) for kx in range(kernel_w)]
    return [piece for ky, kx, run in runs for piece in _pieces(ky, kx, low, run)]


def _pieces(ky: int, kx: int, low: int, run: Int8s) -> list[tuple[int, int, int, int, Int8s]]:
    length = run.shape[0]
    padded = np.zeros((-(-length // DEPTH) * DEPTH, *run.shape[1:]), np.int8)
    padded[:length] = run
    pixels, lanes = run.shape[1:]
    # (piece, byte/4, byte%4, pixel, tile, channel) -> (piece, pixel, tile, byte/4, channel, byte%4)
    quads = padded.reshape(-1, DEPTH // 4, 4, pixels, lanes // ROWS, ROWS).transpose(0, 3, 4, 1, 5, 2)
    blocks = quads.reshape(len(quads), pixels, lanes // ROWS, BLOCK)
    return [
        (ky, kx, low + DEPTH * n, -(-min(DEPTH, length - DEPTH * n) // 16) * 16, block)
        for n, block in enumerate(blocks)
        # What no synapse needs costs nothing.
        if block.any()
    ]
