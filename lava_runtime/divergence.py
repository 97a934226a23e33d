"""Why two runs part: the first neuron that differs, and what arrived there in that step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.trace import Difference, Trace
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    Graph,
    Lif,
    OneToOne,
    Population,
    Projection,
    Rf,
    RfIz,
    Sparse,
    Wire,
    fixedpoint,
)

Indices = npt.NDArray[np.int64]
Neuron = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Synapses:
    """The synapses of one projection that end in one neuron: source neurons (flat, C,H,W order), weights, waiting steps."""

    sources: Indices
    weights: Indices
    waits: Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One message that reached the neuron, `mine` in one run and `theirs` in the other."""

    projection: str
    source: Neuron
    sent: int
    weight: int
    mine: int
    theirs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first difference, where it lies in the sample's own time, the threshold, and the messages that arrived.

    `unknown` names sources whose rasters one of the runs did not record.
    """

    difference: Difference
    sample: int
    step: int
    latency: int
    threshold: int | None
    arrivals: tuple[Arrival, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"First difference: {self.difference}",
            f"  hardware step {self.difference.step} is step {self.step} of sample {self.sample}; "
            + (
                f"the pipeline's {self.latency} steps up to this population are taken out"
                if self.latency
                else "no pipeline's steps to take out: sample and network keep the same time"
            ),
        ]
        if self.threshold is not None:
            lines.append(f"  spikes when its state exceeds {self.threshold}")
        for label in dict.fromkeys(arrival.projection for arrival in self.arrivals):
            here = [arrival for arrival in self.arrivals if arrival.projection == label]
            mine = sum(a.weight * a.mine for a in here)
            theirs = sum(a.weight * a.theirs for a in here)
            lines.append(f"  {label}: {len(here)} messages arrived, sum {mine} against {theirs}")
            lines += [
                f"    {a.source} sent {a.mine} against {a.theirs} at step {a.sent}, weight {a.weight}"
                for a in sorted(here, key=lambda a: a.mine == a.theirs)[:_SHOWN]
            ]
        if self.unknown:
            lines.append(
                f"  not recorded in both runs: {', '.join(self.unknown)}; run with rasters of every population"
            )
        return "\n".join(lines)


_SHOWN = 8
"""Messages listed per projection; those that differ come first."""


def first_divergence(graph: Graph, mine: Trace, theirs: Trace, *, within: str | None = None) -> Divergence | None:
    """The first difference of two runs of `graph`, or of its population `within`, explained; None where they agree.

    Raises RunError when a trace belongs to another network or the runs cover different samples.
    """
    mine.check_graph(graph)
    theirs.check_graph(graph)
    difference = (mine if within is None else _only(mine, within)).first_difference(theirs)
    if difference is None:
        return None
    arrivals: list[Arrival] = []
    unknown: list[str] = []
    target = graph.by_id[difference.population]
    for projection in graph.incoming[target.id]:
        if projection.src not in mine.rasters or projection.src not in theirs.rasters:
            unknown.append(projection.src)
            continue
        arrivals += _arrivals(graph, projection, target, difference, mine, theirs)
    calendar = mine.schedule
    sample, step = divmod(difference.step - calendar.depth[target.id], calendar.steps)
    return Divergence(
        difference=difference,
        sample=sample,
        step=step,
        latency=calendar.depth[target.id],
        threshold=_threshold(target),
        arrivals=tuple(arrivals),
        unknown=tuple(dict.fromkeys(unknown)),
    )


def _only(trace: Trace, population: str) -> Trace:
    """The trace without the records of other populations."""

    def kept(record: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return {name: values for name, values in record.items() if name == population}

    return replace(trace, rasters=kept(trace.rasters), outputs=kept(trace.outputs), u=kept(trace.u), v=kept(trace.v))


def held_to(
    trace: Trace,
    *,
    spikes: Mapping[str, npt.NDArray[Any]],
    readouts: Mapping[str, npt.NDArray[Any]],
    u: Mapping[str, npt.NDArray[Any]],
    v: Mapping[str, npt.NDArray[Any]],
) -> Trace:
    """What another stage did, arrays (T,B,C,H,W) at training's timing, as a trace in the hardware time of `trace`.

    Inputs are those of `trace`: both stages were given the same.
    """

    def placed(name: str, values: npt.NDArray[Any], like: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rows = np.zeros_like(like)
        rows[trace.schedule.window(name)] = values.swapaxes(0, 1).reshape(-1, *values.shape[2:])
        return rows

    known = {**spikes, **readouts}
    return replace(
        trace,
        rasters={n: placed(n, known[n], like) if n in known else like for n, like in trace.rasters.items()},
        outputs={n: placed(n, known[n], like) for n, like in trace.outputs.items() if n in known},
        u={n: placed(n, u[n], like) for n, like in trace.u.items() if n in u},
        v={n: placed(n, v[n], like) for n, like in trace.v.items() if n in v},
    )


def _threshold(population: Population) -> int | None:
    match population.neuron:
        case Lif():
            return population.neuron.vth_mant << fixedpoint.ACTIVATION_SHIFT
        case Rf() | RfIz():
            return population.neuron.vth_mant << population.neuron.state_exp
        case _:
            return None


def _arrivals(
    graph: Graph, projection: Projection, target: Population, difference: Difference, mine: Trace, theirs: Trace
) -> list[Arrival]:
    source = graph.by_id[projection.src]
    found = synapses_of(projection, source, target, difference.neuron)
    sent = difference.step - found.waits
    # With timing 'as_given' every sample starts with nothing under way.
    steps = mine.schedule.steps
    known = sent >= (difference.step - difference.step % steps if graph.timing == "as_given" else 0)
    neurons = np.stack(np.unravel_index(found.sources, source.shape), axis=1)
    arrivals = []
    for (c, y, x), weight, step in zip(neurons[known], found.weights[known], sent[known], strict=True):
        messages = [int(trace.rasters[source.id][step, c, y, x]) for trace in (mine, theirs)]
        if any(messages):
            arrivals.append(
                Arrival(
                    projection=projection.label,
                    source=(int(c), int(y), int(x)),
                    sent=int(step),
                    weight=int(weight),
                    mine=messages[0],
                    theirs=messages[1],
                )
            )
    return arrivals


def synapses_of(projection: Projection, source: Population, target: Population, neuron: Neuron) -> Synapses:
    """All synapses of `projection` that end in `neuron` (c,y,x) of `target`; weights with positive exponents applied."""
    read = projection.source_shape(source)
    at = int(np.ravel_multi_index(neuron, target.shape))
    synapse = projection.synapse
    row: Any
    match synapse:
        case Wire():
            sources, weights, row = np.array([at]), np.array([1]), slice(None)
        case OneToOne():
            sources, weights, row = np.array([at]), synapse.kernel.mantissa[neuron[0] : neuron[0] + 1], slice(None)
        case Dense():
            weights = synapse.kernel.mantissa[at]
            sources, row = np.arange(weights.size), at
        case Sparse():
            row = synapse.rows == at
            sources, weights = synapse.columns[row], synapse.kernel.mantissa[row]
        case Conv() | ConvTranspose():
            sources, weights = _convolution(synapse, read, neuron)
            row = slice(None)
    flat: Indices = np.asarray(sources, np.int64)
    waits = np.full(flat.size, 0 if isinstance(synapse, Wire) else 1 + projection.delay, np.int64)
    if projection.delays is not None:
        if projection.delays.ndim == 3:
            waits += projection.delays.reshape(-1)[flat]
        else:
            waits += projection.delays[row]
    exponent = 0 if isinstance(synapse, Wire) else max(synapse.kernel.exponent, 0)
    # From the slice that is read to the whole population: the slice is of channels, the slowest axis.
    first = projection.src_channels[0] if projection.src_channels is not None else 0
    return Synapses(
        sources=flat + first * source.shape[1] * source.shape[2],
        weights=np.asarray(weights, np.int64) << exponent,
        waits=waits,
    )


def _convolution(synapse: Conv | ConvTranspose, read: tuple[int, int, int], neuron: Neuron) -> tuple[Any, Any]:
    """Flat source indices and weights of one output neuron."""
    mantissa = synapse.kernel.mantissa
    transposed = isinstance(synapse, ConvTranspose)
    per_group_out = mantissa.shape[1] if transposed else mantissa.shape[0] // synapse.groups
    per_group_in = mantissa.shape[0] // synapse.groups if transposed else mantissa.shape[1]
    group, within = divmod(neuron[0], per_group_out)
    channels = np.arange(group * per_group_in, (group + 1) * per_group_in)
    sources, weights = [], []
    for ky, y in _taps(synapse, read[1], neuron[1], 0):
        for kx, x in _taps(synapse, read[2], neuron[2], 1):
            sources.append((channels * read[1] + y) * read[2] + x)
            weights.append(mantissa[channels, within, ky, kx] if transposed else mantissa[neuron[0], :, ky, kx])
    if not sources:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(sources), np.concatenate(weights)


def _taps(synapse: Conv | ConvTranspose, extent: int, position: int, axis: int) -> list[tuple[int, int]]:
    """(tap, source place) along one axis."""
    found = []
    for tap in range(synapse.kernel.mantissa.shape[2 + axis]):
        if isinstance(synapse, Conv):
            place = position * synapse.stride[axis] - synapse.padding[axis] + tap * synapse.dilation[axis]
            if 0 <= place < extent * synapse.upsample:
                found.append((tap, place // synapse.upsample))
        else:
            place, rest = divmod(position + synapse.padding[axis] - tap * synapse.dilation[axis], synapse.stride[axis])
            if rest == 0 and 0 <= place < extent:
                found.append((tap, place))
    return found


__all__ = ["Arrival", "Divergence", "Synapses", "first_divergence", "held_to", "synapses_of"]
