"""Random neurons of every kind, and the threshold that brings a population of them to life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.graph import (
    Delta,
    Lif,
    NeuronSpec,
    Or,
    Population,
    Readout,
    Rf,
    RfIz,
    Shape,
    Sigma,
    SigmaDelta,
)
from tests.calibration import HIGH, LOW, VTH_MAX, CannotCalibrateError, other_biases
from tests.quick_dynamics import Quick
from tests.random_synapses import SynapseMaker
from tests.reference import activity
from tests.reference.record import NEVER_FIRES, is_integrator

Run = Callable[[NeuronSpec], Quick]


@dataclass(kw_only=True)
class NeuronMaker:
    """Draws neurons with the emphasis of `maker`."""

    maker: SynapseMaker
    as_given: bool

    def make(self, kind: str, shape: Shape) -> NeuronSpec:
        rng, pick, chance, emphasis = self.maker.rng, self.maker.pick, self.maker.chance, self.maker.emphasis
        match kind:
            case "lif":
                return self._lif(shape)
            case "or":
                return Or()
            case "readout":
                return Readout(bias=rng.integers(-5000, 5001, pick(((1,), (shape[0],), shape))))
            case "sigma":
                return Sigma()
            case "delta" | "sigma-delta":
                spike_exp, state_exp = pick(((0, 0), (6, 0), (0, 6), (3, 2), (4, 5), (0, 10), (8, 0)))
                if emphasis == "huge messages" and chance(0.7):
                    spike_exp, state_exp = pick(((12, 3), (0, 15), (15, 0), (7, 7), (15, 15)))
                if kind == "delta":
                    return Delta(vth=0, spike_exp=spike_exp, state_exp=state_exp)
                reach = min(1 << 30 >> (spike_exp + state_exp), 3000)
                return SigmaDelta(
                    vth=0,
                    bias=self._bias(shape, reach) if reach else np.zeros(1, np.int32),
                    spike_exp=spike_exp,
                    state_exp=state_exp,
                    activation=pick(("relu", "unit")),
                )
            case "rf" | "rf_iz":
                sin, cos = self._rotation()
                state_exp = int(pick((6, 6, 6, 0, 3, 10)))
                return (Rf if kind == "rf" else RfIz)(sin=sin, cos=cos, vth_mant=0, state_exp=state_exp)
        raise ValueError(kind)

    def _bias(self, shape: Shape, reach: int) -> npt.NDArray[Any]:
        rng = self.maker.rng
        extent: tuple[int, ...] = self.maker.pick(((1,), (shape[0],), shape))
        return rng.integers(-reach, reach + 1, extent) if self.maker.chance(0.6) else np.zeros(extent, np.int64)

    def _lif(self, shape: Shape) -> Lif:
        rng, pick, chance, emphasis = self.maker.rng, self.maker.pick, self.maker.chance, self.maker.emphasis
        resets = self.as_given and chance(0.8 if emphasis == "resets" else 0.12)
        never = chance(0.6 if emphasis == "integrator" else 0.05)
        return Lif(
            vth_mant=NEVER_FIRES if never else 0,
            du=int(pick((-1, 4095, 4095, 0, int(rng.integers(4096)), int(rng.integers(2000, 4096))))),
            dv=int(pick((4096, 0, 4095, int(rng.integers(4097)), int(rng.integers(900))))),
            bias_mant=self._bias(shape, 300),
            bias_exp=int(rng.integers(0, 8)),
            reset_interval=int(rng.integers(1, 8)) if resets else 0,
            reset_offset=int(rng.integers(0, 20)) if resets else 0,
        )

    def _rotation(self) -> tuple[int, int]:
        """sin and cos in 1/4096: damped, of any direction; or as the widths allow, where states run into their limits."""
        rng = self.maker.rng
        if self.maker.emphasis == "loud resonators" or self.maker.chance(0.1):
            values = rng.integers(-4096, 4097, 2)
            values[int(rng.integers(2))] = self.maker.pick((-4096, 4096))
            return int(values[0]), int(values[1])
        angle = 2 * np.pi / rng.uniform(2.2, 16) * (1 if self.maker.chance(0.8) else -1)
        size = 4096 * (1 - rng.uniform(0, 0.3))
        return int(size * np.sin(angle)), int(size * np.cos(angle))

    # -- life ----------------------------------------------------------------------------------------------------

    def is_lively(self, population: Population, quick: Quick) -> bool:
        """True where the population does enough, and not too much, to prove something."""
        if isinstance(population.neuron, Readout):
            return True
        return LOW <= self._rate(population, quick) <= _most(population)

    def _rate(self, population: Population, quick: Quick) -> float:
        return activity(population, quick.sent, quick.v)

    def calibrate(self, population: Population, run: Run) -> tuple[NeuronSpec, Quick]:
        """The neuron of `population` with a threshold that keeps it alive; raises CannotCalibrateError."""
        neuron = population.neuron
        if isinstance(neuron, Or | Readout | Sigma) or is_integrator(population):
            quick = run(neuron)
            if not self.is_lively(population, quick):
                raise CannotCalibrateError
            return neuron, quick
        target = float(self.maker.rng.uniform(0.05, 0.25))
        others = other_biases(neuron)[:2] if isinstance(neuron, Lif) else ()
        for candidate in (neuron, *others):
            low, high = 0, threshold_limit(candidate)
            best: tuple[float, NeuronSpec, Quick] | None = None
            # Thresholds matter by their ratio, and span up to 31 bits.
            for _ in range(16):
                middle = round(((low + 1) * (high + 1)) ** 0.5) - 1
                tried = with_threshold(candidate, middle)
                quick = run(tried)
                rate = self._rate(population, quick)
                if LOW <= rate <= HIGH and (best is None or abs(rate - target) < best[0]):
                    best = (abs(rate - target), tried, quick)
                if (best is not None and best[0] < 0.04) or low >= high:
                    break
                low, high = (middle + 1, high) if rate > target else (low, max(low, middle - 1))
            if best is not None:
                return best[1], best[2]
        raise CannotCalibrateError


def _most(population: Population) -> float:
    return 1.0 if isinstance(population.neuron, Sigma) or is_integrator(population) else HIGH


def threshold_limit(neuron: NeuronSpec) -> int:
    """The largest threshold mantissa of a neuron that has one."""
    match neuron:
        case Lif():
            return VTH_MAX
        case Delta() | SigmaDelta():
            return (1 << 31) - 1 >> (neuron.spike_exp + neuron.state_exp)
        case Rf() | RfIz():
            return (1 << 23) - 1 >> neuron.state_exp
    raise TypeError(f"{neuron} has no threshold")


def with_threshold(neuron: NeuronSpec, threshold: int) -> NeuronSpec:
    """`neuron` with another threshold mantissa."""
    match neuron:
        case Lif() | Rf() | RfIz():
            return replace(neuron, vth_mant=threshold)
        case Delta() | SigmaDelta():
            return replace(neuron, vth=threshold)
    raise TypeError(f"{neuron} has no threshold")
