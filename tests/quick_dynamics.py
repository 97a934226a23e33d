"""All neurons of a population at once, for making random networks: quick, but not the truth.

`reference.check_lively` has the last word about every network that was calibrated with this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from netx_export.graph import (
    Delta,
    Input,
    Lif,
    NeuronSpec,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    bias_of,
)
from tests.calibration import Spikes, current_of, delivered, weights_of, wrap
from tests.reference import per_neuron

Array = npt.NDArray[np.int64]
Port = tuple[str, str]
"""(population, port)"""


@dataclass(kw_only=True)
class Quick:
    """What a population sent and its v, (T,B,neurons)."""

    sent: Spikes
    v: Spikes


def _tz(x: Array, bits: int) -> Array:
    return np.sign(x) * (np.abs(x) >> bits)


def _held(x: Array) -> Array:
    return np.clip(x, -(1 << 23) + 1, (1 << 23) - 1)


@dataclass(kw_only=True)
class State:
    """The neurons of one population, (B,neurons)."""

    population: Population
    u: Array
    v: Array
    act: Array
    bias: Array

    @classmethod
    def of(cls, population: Population, samples: int) -> State:
        zeros = np.zeros((samples, population.size), np.int64)
        given = bias_of(population.neuron)
        bias = np.array(per_neuron(given, population.shape) if given is not None else [0], np.int64)
        return cls(population=population, u=zeros, v=zeros, act=zeros, bias=bias)

    def step(self, neuron: NeuronSpec, number: int, a_in: Array, a_im: Array) -> Array:
        """What the neurons send in step `number` of their sample, counted from 1; `a_in` is `re` for resonators."""
        match neuron:
            case Or():
                return (a_in > 0).astype(np.int64)
            case Readout():
                return wrap(a_in + self.bias, 32)
            case Lif():
                return self._lif(neuron, number, a_in)
            case Sigma():
                self.u = wrap(self.u + a_in, 32)
                return self.u
            case Delta():
                return self._encode(neuron, wrap(a_in << (neuron.spike_exp + neuron.state_exp), 32))
            case SigmaDelta():
                self.u = wrap(self.u + a_in, 32)
                biased = wrap(self.u + (self.bias << (neuron.spike_exp + neuron.state_exp)), 32)
                return self._encode(neuron, np.maximum(biased, 0) if neuron.activation == "relu" else biased)
            case Rf() | RfIz():
                return self._resonate(neuron, a_in, a_im)
            case Input():
                raise TypeError("an input has no dynamics")

    def _lif(self, neuron: Lif, number: int, a_in: Array) -> Array:
        if neuron.reset_interval and number % neuron.reset_interval == neuron.reset_offset % neuron.reset_interval:
            self.u, self.v = np.zeros_like(self.u), np.zeros_like(self.v)
        total = wrap(_tz(self.u * (4095 - neuron.du), 12) + wrap(a_in << 6, 32), 32)
        self.u = total - (total > 1 << 23) * (1 << 24) + (total <= -(1 << 23)) * (1 << 24)
        v = _held(_tz(self.v * (4096 - neuron.dv), 12) + self.u + (self.bias << neuron.bias_exp))
        spikes = v > neuron.vth_mant << 6
        self.v = np.where(spikes, 0, v)
        return spikes.astype(np.int64)

    def _encode(self, neuron: Delta | SigmaDelta, act: Array) -> Array:
        change = wrap(act - self.act + self.v, 32)
        reached = wrap(np.abs(change), 32) >= neuron.vth << (neuron.spike_exp + neuron.state_exp)
        sent = np.where(reached, change, 0)
        self.act, self.v = act, change - sent
        return sent >> neuron.state_exp

    def _resonate(self, neuron: Rf | RfIz, a_re: Array, a_im: Array) -> Array:
        sin, cos, threshold = neuron.sin, neuron.cos, neuron.vth_mant << neuron.state_exp
        re = _held(_tz(cos * self.u, 12) - _tz(sin * self.v, 12) + wrap(a_re << neuron.state_exp, 32))
        im = _held(_tz(sin * self.u, 12) + _tz(cos * self.v, 12) + wrap(a_im << neuron.state_exp, 32))
        if isinstance(neuron, Rf):
            spikes = (re >= threshold) & (im >= 0) & (self.v < 0)
        else:
            spikes = im >= threshold
            re, im = np.where(spikes, 0, re), np.where(spikes, threshold - 1, im)
        self.u, self.v = re, im
        return spikes.astype(np.int64)


@dataclass(kw_only=True)
class Bench:
    """Runs some populations of a growing network, given what all the others send."""

    as_given: bool
    shapes: dict[str, Population] = field(default_factory=dict)
    """Every population by id; of those that are given, only the shape counts."""
    cache: dict[int, tuple[Projection, dict[int, Array]]] = field(default_factory=dict)

    def weights(self, p: Projection) -> dict[int, Array]:
        """Weight mantissas of `p` by delay."""
        if id(p) not in self.cache:
            self.cache[id(p)] = (p, weights_of(p, self.shapes[p.src], self.shapes[p.dst]))
        return self.cache[id(p)][1]

    def given_currents(self, projections: Sequence[Projection], sent: Mapping[str, Spikes]) -> dict[Port, Spikes]:
        """What arrives, by target and port, from populations whose messages are known."""
        currents: dict[Port, Spikes] = {}
        for p in projections:
            if p.src not in sent:
                continue
            source, target = self.shapes[p.src], self.shapes[p.dst]
            found = current_of(p, source, target, sent[p.src], as_given=self.as_given, weights=self.weights(p))
            key = (p.dst, p.port)
            currents[key] = currents[key] + found if key in currents else found
        return currents

    def run(
        self,
        populations: Sequence[Population],
        projections: Sequence[Projection],
        sent: Mapping[str, Spikes],
        currents: Mapping[Port, Spikes] | None = None,
    ) -> dict[str, Quick]:
        """What `populations` send, where `projections` end in them and `sent` is what all other sources send."""
        steps, samples = next(iter(sent.values())).shape[:2]
        known = currents if currents is not None else self.given_currents(projections, sent)
        loops = [p for p in projections if p.src not in sent]
        arriving = {
            (p.id, port): known[p.id, port].copy()
            if (p.id, port) in known
            else np.zeros((steps, samples, p.size), np.int64)
            for p in populations
            for port in ("", "re", "im")
        }
        states = {p.id: State.of(p, samples) for p in populations}
        out = {
            p.id: Quick(
                sent=np.zeros((steps, samples, p.size), np.int64), v=np.zeros((steps, samples, p.size), np.int64)
            )
            for p in populations
        }
        for t in range(steps):
            for population in populations:
                name = population.id
                resonator = isinstance(population.neuron, Rf | RfIz)
                a_in = wrap(arriving[name, "re" if resonator else ""][t], 32)
                messages = states[name].step(population.neuron, t + 1, a_in, wrap(arriving[name, "im"][t], 32))
                out[name].sent[t], out[name].v[t] = messages, states[name].v
                for p in loops:
                    if p.src != name:
                        continue
                    for delay, weights in self.weights(p).items():
                        arrival = t + 1 + delay if self.as_given else t
                        if arrival < steps:
                            arriving[p.dst, p.port][arrival] += delivered(messages @ weights.T, p)
        return out
