"""The tables of integers that describe a group to the stepwise kernels: members, sums, projections, one row each."""

from __future__ import annotations

from typing import Final

# Kinds of neurons.
LIF: Final = 0
OR: Final = 1
READOUT: Final = 2
DELTA: Final = 3
SIGMA_DELTA: Final = 4
SIGMA: Final = 5
RF: Final = 6
RF_IZ: Final = 7

# Columns of the table of members, one row per population of the group.
KIND: Final = 0
CHANNELS: Final = 1
HEIGHT: Final = 2
WIDTH: Final = 3
PITCH: Final = 4  # elements from one row of neurons to the next: W*C in whole lanes
BIAS: Final = 5  # address of (H,pitch), scaled
PARAMETER: Final = 6  # four of them, see stepwise_rows
RESET_INTERVAL: Final = 10
RESET_OFFSET: Final = 11
RESTS: Final = 12  # 1 where a row that receives nothing stays as it is and sends nothing
FIRST_SUM: Final = 13
LAST_SUM: Final = 14
STATES: Final = 15  # where x, y, z of the job's rows begin in the working memory
WORK: Final = 16  # where the currents and messages of one row begin
STATE_ROWS: Final = 17  # rows of one job
OUT_START: Final = 18  # addresses of what is written
OUT_EVENTS: Final = 19
OUT_VALUES: Final = 20  # values of graded messages (readouts: of the record), or 0
OUT_U: Final = 21
OUT_V: Final = 22
MEMBER_COLUMNS: Final = 23

# Columns of the table of sums: what is added up before it is shifted and wrapped.
PORT: Final = 0  # 0: the current, or its real part; 1: the imaginary part
SLOTS: Final = 1  # steps that a message may be under way here; above 1 a ring of rows for each of the job's rows
AT: Final = 2  # where the sum begins in the working memory
STAGE: Final = 3  # where what one step adds is shifted before it goes into the ring, or -1
DROP: Final = 4  # bits of a negative exponent
WRAP: Final = 5  # 1 for modulo 2**24
SINGLE: Final = 6  # 1 where the projection has the form Singles
FIRST_PROJECTION: Final = 7
LAST_PROJECTION: Final = 8
SUM_COLUMNS: Final = 9

# Columns of the table of projections.
START: Final = 0  # addresses of the source's lists
EVENTS: Final = 1
VALUES: Final = 2
SOURCE_C: Final = 3
SOURCE_H: Final = 4
SOURCE_W: Final = 5
FIRST_C: Final = 6  # channel slice
READ_C: Final = 7
LAG: Final = 8
SHIFT: Final = 9  # bits of a positive exponent
WEIGHTS: Final = 10  # addresses and strides, see Taps and Singles
ROWS: Final = 11
RUNS: Final = 12
KERNEL_H: Final = 13
RUN_COUNT: Final = 14
TARGET_STRIDE: Final = 15
CHANNEL_STRIDE: Final = 16
TAP_STRIDE: Final = 17
GROUP_IN: Final = 18
GROUP_OUT: Final = 19
TWIN: Final = 20
DELAYS: Final = 21  # Taps: address of delays per source neuron (H,W,C), or 0
FIRST_SYNAPSE: Final = 22
TARGETS: Final = 23
PROJECTION_COLUMNS: Final = 24
