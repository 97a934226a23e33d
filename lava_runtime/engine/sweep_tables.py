"""Columns of the tables that `sweep_jobs` takes: the population with its results, and its jobs."""

from __future__ import annotations

from typing import Final

LIF: Final = 0
OR: Final = 1
READOUT: Final = 2

# Columns of the one row that describes a population and where its results go.
KIND: Final = 0
CHANNELS: Final = 1
HEIGHT: Final = 2
WIDTH: Final = 3
STEPS: Final = 4
FRAME_COUNT: Final = 5
BEGIN: Final = 6  # local steps [begin,end) in which the neurons exist
END: Final = 7
U_MULTIPLIER: Final = 8
V_MULTIPLIER: Final = 9
THRESHOLD: Final = 10
RESET_INTERVAL: Final = 11
RESET_OFFSET: Final = 12
KEEPS_U: Final = 13  # 0 where the current lives for one step and nobody records it
BIAS: Final = 14  # address
BIAS_PER_PIXEL: Final = 15
PHASES: Final = 16
TIME_TILES: Final = 17  # 1 where the rows of a tile are time steps of one pixel
TILE_ROWS: Final = 18
GROUP: Final = 19  # frames per call of the dense sums
DENSE_KIND: Final = 20
DENSE_WEIGHTS: Final = 21  # address
PIXEL_WEIGHTS: Final = 22
OUT: Final = 23  # address of the map, frame 0, row 0, column 0
OUT_FRAME: Final = 24
OUT_ROW: Final = 25
OUT_PITCH: Final = 26
OUT_LEFT: Final = 27
OUT_RIGHT: Final = 28
VALUES_OUT: Final = 29  # addresses of int32 (F,H,W,lanes), 0 where not wanted
U_OUT: Final = 30
V_OUT: Final = 31
COUNTS: Final = 32  # address of (H,W,lanes)
COUNTS_WIDE: Final = 33  # 1 for int32, 0 for bytes
COUNTS_KEPT: Final = 34  # 1 where counts are added to what is there
ROOM: Final = 35  # rows of the longest list
COUNTER: Final = 36  # address of the next job's number
LAYER: Final = 37

# Columns of a job.
EVENT: Final = 0  # 1 for lists of spikes, 0 for dense
JOB_Y: Final = 1
PHASE: Final = 2
FIRST_PIXEL: Final = 3  # of the phase
FIRST_CHANNELS: Final = 4  # tiles of 16 channels
LAST_CHANNELS: Final = 5
SLOT: Final = 6  # where it counts its spikes
JOB: Final = 7
