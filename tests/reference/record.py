"""What a run of the interpreter leaves behind, and whether all of its network was at work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from netx_export.graph import Delta, Graph, Input, Lif, Or, Population, Rf, RfIz, Sigma, SigmaDelta

NEVER_FIRES = 1 << 17
"""A Lif threshold that v cannot reach: such a population is an integrator."""


@dataclass(kw_only=True)
class ReferenceRun:
    """All that a Trace can hold, in hardware time (N,C,H,W), and how often each edge of the arithmetic was met.

    `raw` holds what every population sent in every step, warm-up and drain included; `rasters`, `u`, `v` and `outputs`
    are zero outside a population's own window. `events` counts edges inside the windows; `tests.features` names them.
    """

    steps: int
    samples: int
    depth: dict[str, int]
    latency: int
    raw: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    rasters: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    outputs: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    u: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    v: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    spike_counts: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    sample_spikes: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    warm_up: dict[str, int] = field(default_factory=dict)
    drain: dict[str, int] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)

    @property
    def hardware_steps(self) -> int:
        return self.samples * self.steps + self.latency

    def in_samples(self, name: str, record: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """An (N,C,H,W) record of population `name` as (T,B,C,H,W)."""
        start = self.depth[name]
        rows = record[start : start + self.samples * self.steps]
        return rows.reshape(self.samples, self.steps, *rows.shape[1:]).swapaxes(0, 1)


def is_integrator(population: Population) -> bool:
    """True for a Lif that can never fire; it is read by its v."""
    return isinstance(population.neuron, Lif) and population.neuron.vth_mant == NEVER_FIRES


def activity(population: Population, sent: npt.NDArray[np.int64], v: npt.NDArray[np.int64] | None) -> float:
    """Share of the neuron-steps in which something happened; `sent` and `v` are (T,B,...) records of `population`.

    Spikes and sigma-delta messages are counted. A Sigma sends in nearly every step and an integrator never, so for
    those it is the share of steps in which what they hold has changed.
    """
    if isinstance(population.neuron, Sigma):
        return float((np.diff(sent, axis=0, prepend=0) != 0).mean())
    if is_integrator(population) and v is not None:
        return float((np.diff(v, axis=0, prepend=0) != 0).mean())
    return float((sent != 0).mean())


class SilentPopulationError(AssertionError):
    """A population of a test network fires too little or too much to prove anything."""


def check_lively(graph: Graph, run: ReferenceRun, low: float = 0.01, high: float = 0.40) -> None:
    """Fail the test when a population is at work in less than `low` of its neuron-steps, or fires in more than `high`.

    Integrators and Sigma populations, which change with every message, may be busy all the time. An input must send.
    """
    for population in graph.populations:
        name = population.id
        if isinstance(population.neuron, Lif | Or | Delta | SigmaDelta | Sigma | Rf | RfIz):
            v = run.in_samples(name, run.v[name]) if name in run.v else None
            rate = activity(population, run.in_samples(name, run.rasters[name]), v)
            upper = 1.0 if isinstance(population.neuron, Sigma) or is_integrator(population) else high
            if not low <= rate <= upper:
                raise SilentPopulationError(
                    f"population {name!r} fires in {rate:.2%} of its neuron-steps, a test network needs {low:.0%}..{upper:.0%}"
                )
        elif isinstance(population.neuron, Input) and not run.rasters[name].any():
            raise SilentPopulationError(f"input {name!r} is silent")
