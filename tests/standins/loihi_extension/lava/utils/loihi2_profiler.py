"""Stand-in for the extension's profilers: the published names and attributes, figures that tests can recognise."""

from __future__ import annotations

import numpy as np

MADE: list[object] = []


class Loihi2Power:
    """Power in W per sample of the meter."""

    def __init__(self, num_steps: int = 1) -> None:
        self.num_steps = num_steps
        self.total_power = np.array([1.0, 3.0])
        self.vdd_power = np.array([0.5, 1.5])
        self.vddm_power = np.array([0.25, 0.75])
        self.vddio_power = np.array([0.25, 0.75])
        self.static_total_power = 0.5
        self.static_vdd_power = 0.25
        self.static_vddm_power = 0.125
        self.static_vddio_power = 0.125
        MADE.append(self)


class Loihi2ExecutionTime:
    """Time in us."""

    def __init__(self, buffer_size: int = 1024) -> None:
        self.buffer_size = buffer_size
        self.avg_time_per_step = 50.0
        MADE.append(self)


class Loihi2Memory:
    """Memory per core."""

    def __init__(self) -> None:
        self.total_mpds = np.array([100, 200])
        MADE.append(self)


class Loihi2Activity:
    """Counters per core."""

    def __init__(self) -> None:
        self.syn_ops = np.array([7, 8])
        self.dendrite_updates = np.array([5, 6])
        self.axon_out = np.array([3, 4])
        self.spikes_in = np.array([1, 2])
        MADE.append(self)
