"""Bringing random networks to life: thresholds and biases that make every population fire, but not too much.

Works layer by layer on arrays (T,B,neurons), which is quick but not the truth: `reference.check_lively` has the last
word about every network made here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from netx_export.graph import Dense, Graph, Input, Lif, Or, Population, Projection, Sparse, Wire
from tests.reference import fan_of, per_neuron

LOW, HIGH = 0.015, 0.38
"""Rates accepted here; a little inside the 1..40 % that tests demand."""

VTH_MAX = 131071

Spikes = npt.NDArray[np.int64]
"""(T,B,neurons)"""


class CannotCalibrateError(Exception):
    """No threshold and bias brings this population between 1 and 40 %."""


def wrap(x: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    """Two's complement with `bits` bits."""
    return (x + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def weights_of(projection: Projection, source: Population, target: Population) -> dict[int, npt.NDArray[np.int64]]:
    """Weight mantissas (targets, sources) by delay in steps."""
    weights: dict[int, npt.NDArray[np.int64]] = {}
    for origin, synapses in enumerate(fan_of(projection, source, target)):
        for reached, weight, delay in synapses:
            if delay not in weights:
                weights[delay] = np.zeros((target.size, source.size), np.int64)
            weights[delay][reached, origin] += weight
    return weights


def delivered(total: Spikes, projection: Projection) -> Spikes:
    """The sums of a step with the exponent, wrapped."""
    if isinstance(projection.synapse, Wire):
        return total
    exponent = projection.synapse.kernel.exponent
    if exponent < 0:
        return wrap(total, 32) >> -exponent
    return wrap(total << exponent, 32 if isinstance(projection.synapse, Dense | Sparse) else 24)


def current_of(
    projection: Projection,
    source: Population,
    target: Population,
    spikes: Spikes,
    *,
    as_given: bool,
    weights: Mapping[int, npt.NDArray[np.int64]] | None = None,
) -> Spikes:
    """What `projection` delivers, (T,B,neurons): in the same step at `aligned` timing, else 1 + delay steps later."""
    if isinstance(projection.synapse, Wire):
        first, last = projection.src_channels or (0, source.shape[0])
        area = source.shape[1] * source.shape[2]
        return spikes[:, :, first * area : last * area].copy()
    arriving = np.zeros((*spikes.shape[:2], target.size), np.int64)
    for delay, matrix in (weights or weights_of(projection, source, target)).items():
        current = delivered(spikes @ matrix.T, projection)
        lag = 1 + delay if as_given else 0
        if lag < len(current):
            arriving[lag:] += current[: len(current) - lag]
    return arriving


def lif_spikes(neuron: Lif, shape: tuple[int, int, int], a_in: Spikes) -> Spikes:
    """Spikes (T,B,neurons) of a Lif population that starts every sample from zero."""
    bias = np.array(per_neuron(neuron.bias_mant, shape), np.int64) << neuron.bias_exp
    u = np.zeros(a_in.shape[1:], np.int64)
    v = np.zeros_like(u)
    spikes = np.zeros_like(a_in)
    for t, current in enumerate(a_in):
        leaked = u * (4095 - neuron.du)
        total = wrap(np.sign(leaked) * (np.abs(leaked) >> 12) + wrap(current << 6, 32), 32)
        u = total - (total > 1 << 23) * (1 << 24) + (total <= -(1 << 23)) * (1 << 24)
        leaked = v * (4096 - neuron.dv)
        v = np.clip(np.sign(leaked) * (np.abs(leaked) >> 12) + u + bias, -(1 << 23) + 1, (1 << 23) - 1)
        spikes[t] = v > neuron.vth_mant << 6
        v[spikes[t] == 1] = 0
    return spikes


def calibrate_lif(neuron: Lif, shape: tuple[int, int, int], a_in: Spikes, target: float = 0.12) -> tuple[Lif, Spikes]:
    """`neuron` with a threshold (and, where that is not enough, a bias) that makes it fire in about `target`
    of its neuron-steps; raises CannotCalibrateError."""

    def run(candidate: Lif) -> tuple[float, Spikes]:
        spikes = lif_spikes(candidate, shape, a_in)
        return float(spikes.mean()), spikes

    for candidate in (neuron, *other_biases(neuron)):
        low, high = 0, VTH_MAX
        if run(replace(candidate, vth_mant=low))[0] < LOW or run(replace(candidate, vth_mant=high))[0] > HIGH:
            continue
        for _ in range(18):
            middle = (low + high) // 2
            tried = replace(candidate, vth_mant=middle)
            rate, spikes = run(tried)
            if LOW <= rate <= HIGH and (abs(rate - target) < 0.03 or high - low <= 1):
                return tried, spikes
            low, high = (middle + 1, high) if rate > target else (low, middle)
            if low >= high:
                break
        for vth in (low, high, *np.linspace(0, VTH_MAX, 9).astype(int).tolist()):
            tried = replace(candidate, vth_mant=min(int(vth), VTH_MAX))
            rate, spikes = run(tried)
            if LOW <= rate <= HIGH:
                return tried, spikes
    raise CannotCalibrateError(f"shape {shape}, {neuron}")


def other_biases(neuron: Lif) -> Sequence[Lif]:
    """The same neuron with its bias pushed up or down, as far as 13 bits go."""
    pushed = []
    for exponent in (neuron.bias_exp, 7):
        for step in (700, -700, 3000, -3000):
            mantissa = np.clip(neuron.bias_mant.astype(np.int64) + step, -4096, 4095)
            pushed.append(replace(neuron, bias_mant=mantissa, bias_exp=exponent))
    return pushed


def calibrate(graph: Graph, inputs: Mapping[str, npt.NDArray[np.int32]], target: float = 0.12) -> Graph:
    """`graph` with new thresholds and biases; raises CannotCalibrateError where a population stays silent or loud."""
    spikes: dict[str, Spikes] = {}
    populations: dict[str, Population] = {}
    for population in graph.populations:
        if isinstance(population.neuron, Input):
            array = np.asarray(inputs[population.id], np.int64)
            spikes[population.id] = array.reshape(*array.shape[:2], -1)
        else:
            a_in = sum(
                current_of(
                    p,
                    graph.by_id[p.src],
                    population,
                    spikes[p.src],
                    as_given=graph.timing == "as_given",
                )
                for p in graph.projections
                if p.dst == population.id
            )
            assert isinstance(a_in, np.ndarray)
            a_in = wrap(a_in, 32)
            if isinstance(population.neuron, Lif):
                neuron, spikes[population.id] = calibrate_lif(population.neuron, population.shape, a_in, target)
                population = replace(population, neuron=neuron)
            elif isinstance(population.neuron, Or):
                spikes[population.id] = (a_in > 0).astype(np.int64)
                if not LOW <= spikes[population.id].mean() <= HIGH:
                    raise CannotCalibrateError(f"OR population {population.id!r} cannot be calibrated by a threshold")
        populations[population.id] = population
    return replace(graph, populations=tuple(populations.values()))
