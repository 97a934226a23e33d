"""How long a time step takes.

t_step = max over cores of (neuron time + message time) + barrier, where
neuron time  = updates per step * time of an update (low: only neurons that spiked are active, high: all are)
message time = synaptic operations per step * time of a synaptic operation
Counts are means per step over the run; a step with a burst takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw_profiles.counters import Counters
from hw_profiles.mapping import Mapping
from hw_profiles.profile import HardwareProfile

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Time of one step in ns, (low, high); `total` is None where it is refused, and `refusal` says why.

    `neuron` and `message` belong to the slowest core, `slowest`. `steps` are the steps of one sample.
    """

    steps: int
    total: Range | None = None
    neuron: Range | None = None
    message: Range | None = None
    barrier: Range | None = None
    slowest: int | None = None
    refusal: str = ""
    assumptions: tuple[str, ...] = ()

    @property
    def sample(self) -> Range | None:
        """Time of one sample in ns, samples following one another without a gap."""
        return None if self.total is None else (self.total[0] * self.steps, self.total[1] * self.steps)


_ASSUMPTIONS = (
    "Step time = slowest core (neuron time + message time) + barrier, from mean counts per step.",
    "Congestion of the mesh and hop times are not modelled: messages travel while cores work.",
)


def step_time(counters: Counters, mapping: Mapping, profile: HardwareProfile) -> StepTime:
    """The step time of the mapped run; refused where a price that it needs is unpublished."""
    times = profile.costs.time
    steps = counters.steps * counters.samples
    if profile.topology is None:
        return StepTime(steps=counters.steps, refusal=f"{profile.name} has no cores, so a step takes no time there.")
    if not mapping.cores:
        return StepTime(steps=counters.steps, refusal="The network has no neurons, so no core takes any time.")
    operation = times.get("synaptic_operation")
    if "neuron_update_active" in times and "neuron_update_inactive" in times:
        active, inactive = times["neuron_update_active"], times["neuron_update_inactive"]
    elif "neuron_update" in times:
        active = inactive = times["neuron_update"]
    else:
        return _refused(counters, profile, "neuron update")
    if operation is None:
        return _refused(counters, profile, "synaptic operation")
    if "barrier" not in times:
        return _refused(counters, profile, "barrier between steps")
    updates, spiked = counters.dendrite_updates / steps, counters.active_updates / steps
    neuron = (spiked * active.low + (updates - spiked) * inactive.low, updates * active.high)
    message = (counters.syn_ops / steps * operation.low, counters.syn_ops / steps * operation.high)
    slowest = int(np.argmax(neuron[1] + message[1]))
    barrier = (times["barrier"].low, times["barrier"].high)
    assumptions = [*_ASSUMPTIONS, f"Barrier {times['barrier']} ({times['barrier'].note or 'as published'})."]
    if mapping.chips > 1:
        across = times.get("barrier_multi_chip")
        if across is None:
            return _refused(counters, profile, "barrier across chips")
        barrier = (min(barrier[0], across.low), across.high)
        assumptions.append(f"Across {mapping.chips} chips the barrier is at most {across} ({across.note}).")
    low = float((neuron[0] + message[0]).max()) + barrier[0]
    high = float((neuron[1] + message[1]).max()) + barrier[1]
    return StepTime(
        steps=counters.steps,
        total=(low, high),
        neuron=(float(neuron[0][slowest]), float(neuron[1][slowest])),
        message=(float(message[0][slowest]), float(message[1][slowest])),
        barrier=barrier,
        slowest=slowest,
        assumptions=tuple(assumptions),
    )


def _refused(counters: Counters, profile: HardwareProfile, what: str) -> StepTime:
    return StepTime(
        steps=counters.steps, refusal=f"{profile.name}: nobody has published the time of a {what}, so none is given."
    )
