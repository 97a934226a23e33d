"""Random networks of what files from elsewhere hold: sigma-delta, resonators, recurrence, delays, wires, resets.

Made like those of `strategies`: hypothesis draws an outline and a seed, a population is calibrated as soon as it is
made. Recurrent projections of a population are part of its calibration; feedback to earlier ones is added last, and
kept only where all populations stay alive.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import assume
from hypothesis import strategies as st

from netx_export.graph import (
    GRADED,
    RESONATORS,
    Graph,
    Input,
    Lif,
    NeuronSpec,
    Or,
    Population,
    Projection,
    Readout,
    Shape,
    Timing,
    accumulator_bound,
    is_spiking,
)
from tests.calibration import CannotCalibrateError, Spikes
from tests.foreign_neurons import NeuronMaker
from tests.quick_dynamics import Bench, Quick
from tests.random_foreign_synapses import ForeignSynapseMaker
from tests.reference.record import NEVER_FIRES
from tests.strategies import CannotDrawError, Case

FOREIGN_EMPHASES = (
    "mixed",
    "sigma-delta",
    "huge messages",
    "rf",
    "rf_iz",
    "loud resonators",
    "complex dense",
    "recurrent",
    "feedback",
    "axonal delays",
    "synaptic delays",
    "wire",
    "negative exponent",
    "sparse",
    "transposed",
    "resets",
    "integrator",
)

_KINDS: dict[str, tuple[str, ...]] = {
    "sigma-delta": ("sigma-delta", "sigma-delta", "sigma-delta", "sigma", "delta"),
    "huge messages": ("sigma-delta", "delta", "sigma", "sigma-delta", "lif"),
    "rf": ("rf", "rf", "lif", "rf_iz"),
    "rf_iz": ("rf_iz", "rf_iz", "lif", "rf"),
    "loud resonators": ("rf", "rf_iz"),
    "complex dense": ("rf", "rf_iz"),
    "resets": ("lif", "lif", "lif", "sigma-delta"),
    "integrator": ("lif", "lif", "sigma"),
}
_ANY = ("lif", "lif", "or", "delta", "sigma-delta", "sigma-delta", "sigma", "rf", "rf_iz")

_SYNAPSES: dict[str, str] = {
    "wire": "wire",
    "sparse": "sparse",
    "transposed": "transposed",
    "complex dense": "dense",
    "negative exponent": "sparse",
    "synaptic delays": "dense",
}


@dataclass(kw_only=True)
class _Builder(ForeignSynapseMaker):
    steps: int
    samples: int
    as_given: bool
    populations: dict[str, Population] = field(default_factory=dict)
    sent: dict[str, Spikes] = field(default_factory=dict)
    inputs: dict[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    bench: Bench = field(init=False)
    neurons: NeuronMaker = field(init=False)

    def __post_init__(self) -> None:
        self.bench = Bench(as_given=self.as_given)
        self.neurons = NeuronMaker(maker=self, as_given=self.as_given)

    # -- inputs --------------------------------------------------------------------------------------------------

    def add_input(self, name: str, bits: int) -> None:
        rng = self.rng
        shape: Shape = (int(rng.integers(1, 4)), int(rng.integers(2, 5)), int(rng.integers(2, 5)))
        size, density = (self.steps, self.samples, *shape), float(rng.uniform(0.1, 0.6))
        if bits == 0:
            array = (rng.random(size) < density).astype(np.int32)
        else:
            edge = 1 << (bits - 1)
            array = rng.integers(-edge, edge, size, dtype=np.int64)
            if self.chance(0.5):
                # A signal that changes little from step to step, as those are that sigma-delta networks are made for.
                array = np.clip((array >> 3).cumsum(axis=0), -edge, edge - 1)
            array[rng.random(size) > density] = 0
            array.flat[0] = -edge
        if not array.any():
            array.flat[0] = 1
        self.inputs[name] = array.astype(np.int32)
        self.keep(Population(id=name, shape=shape, neuron=Input(message_bits=bits)), array.reshape(*size[:2], -1))

    def keep(self, population: Population, sent: Spikes) -> None:
        self.populations[population.id] = population
        self.bench.shapes[population.id] = population
        self.sent[population.id] = sent.astype(np.int64)
        self.loudest[population.id] = max(1, int(np.abs(sent).max()))

    # -- projections ---------------------------------------------------------------------------------------------

    def kind_of_synapse(self, source: Population, emphasised: bool) -> str:
        if emphasised and self.chance(0.7) and self.emphasis in _SYNAPSES:
            return _SYNAPSES[self.emphasis]
        kinds = ("conv", "conv", "dense", "dense", "sparse", "transposed", "one to one")
        return str(self.pick((*kinds, "wire") if isinstance(source.neuron, Input) else kinds))

    def projection(
        self, name: str, target: Shape | None, port: str, *, positive: bool, relaxed: int, src: str = ""
    ) -> tuple[Projection, Shape]:
        """A projection into `name`, from `src` or any population that may send; raises CannotDrawError."""
        senders = [
            p
            for p in self.populations.values()
            if not isinstance(p.neuron, Readout) and (is_spiking(p.neuron) or not positive) and src in ("", p.id)
        ]
        senders = [p for p in senders if not isinstance(p.neuron, Lif) or p.neuron.vth_mant < NEVER_FIRES]
        if not senders:
            raise CannotDrawError
        for _ in range(12):
            source = senders[-1] if target is None and self.chance(0.6) else self.pick(senders)
            if self.emphasis == "wire" and target is None and self.chance(0.4):
                source = senders[0]
            channels, section = source.shape[0], None
            if channels > 1 and self.chance(0.4 if self.emphasis == "wire" else 0.12):
                start = int(self.rng.integers(0, channels))
                section = (start, int(self.rng.integers(start + 1, channels + 1)))
            read = source.shape if section is None else (section[1] - section[0], *source.shape[1:])
            kind = self.kind_of_synapse(source, emphasised=True)
            if kind == "wire" and not self.as_given:
                continue
            made = self.connect(kind, source, read, target, positive=positive, relaxed=relaxed)
            if made is not None:
                return self.link(source, name, made[0], read, section, port, relaxed), made[1]
        raise CannotDrawError

    def link(
        self,
        source: Population,
        name: str,
        synapse: Any,
        read: Shape,
        section: tuple[int, int] | None,
        port: str,
        relaxed: int,
    ) -> Projection:
        delay, delays = self.delays(synapse, read, source, relaxed) if self.as_given else (0, None)
        return Projection(
            src=source.id, dst=name, synapse=synapse, delay=delay, src_channels=section, port=port, delays=delays
        )

    def onto_itself(self, draft: Population, port: str, relaxed: int) -> Projection | None:
        """A projection of `draft` onto itself."""
        kind = str(self.pick(("dense", "dense", "sparse", "conv", "one to one")))
        made = self.connect(kind, draft, draft.shape, draft.shape, positive=False, relaxed=relaxed)
        return None if made is None else self.link(draft, draft.id, made[0], draft.shape, None, port, relaxed)

    # -- populations ---------------------------------------------------------------------------------------------

    def add_population(self, name: str, kind: str) -> None:
        """A population of `kind` with one to four projections into it, alive."""
        for attempt in range(14):
            try:
                population, incoming = self.draft(name, kind, attempt)
                population, quick = self.settle(population, incoming)
            except (CannotDrawError, CannotCalibrateError):
                continue
            self.keep(population, quick.sent)
            self.projections += incoming
            return
        raise CannotDrawError

    def draft(self, name: str, kind: str, attempt: int) -> tuple[Population, list[Projection]]:
        positive, resonator = kind == "or", kind in ("rf", "rf_iz")
        first, shape = self.projection(
            name, None, str(self.pick(("re", "im"))) if resonator else "", positive=positive, relaxed=attempt
        )
        incoming = [first]
        more = int(self.rng.integers(0, 2))
        ports = ["re" if first.port == "im" else "im"] if resonator and self.chance(0.75) else []
        ports += [str(self.pick(("re", "im"))) if resonator else ""] * more
        for k, port in enumerate(ports):
            twin = first.src if resonator and k == 0 and self.chance(0.6) else ""
            try:
                incoming.append(self.projection(name, shape, port, positive=positive, relaxed=attempt, src=twin)[0])
            except CannotDrawError:
                break
        draft = Population(id=name, shape=shape, neuron=self.neurons.make(kind, shape))
        self.bench.shapes[name] = draft
        often = 0.8 if self.emphasis == "recurrent" else 0.1
        if self.as_given and kind not in ("or", "readout", "sigma") and self.chance(often):
            loop = self.onto_itself(draft, first.port, attempt)
            if loop is not None:
                incoming.append(loop)
        return draft, incoming

    def settle(self, draft: Population, incoming: list[Projection]) -> tuple[Population, Quick]:
        """`draft` with a neuron that keeps it alive, and what it sends."""
        currents = self.bench.given_currents(incoming, self.sent)
        loops = [p for p in incoming if p.src == draft.id]

        def run(neuron: NeuronSpec) -> Quick:
            population = replace(draft, neuron=neuron)
            return self.bench.run([population], loops, self.sent, currents)[draft.id]

        if isinstance(draft.neuron, Or) and sum(accumulator_bound(p.synapse) for p in incoming) >= 1 << 17:
            raise CannotCalibrateError
        neuron, quick = self.neurons.calibrate(draft, run)
        return replace(draft, neuron=neuron), quick

    def add_feedback(self) -> None:
        """A projection from a later population to an earlier one, where everything stays alive with it."""
        found = [p for p in self.populations.values() if not isinstance(p.neuron, Input)]
        for attempt in range(6):
            early, late = sorted(int(k) for k in self.rng.integers(0, len(found), 2))
            source, target = found[late], found[early]
            if early == late or isinstance(source.neuron, Readout) or isinstance(target.neuron, Or):
                continue
            port = str(self.pick(("re", "im"))) if isinstance(target.neuron, RESONATORS) else ""
            kind = str(self.pick(("dense", "sparse", "conv")))
            made = self.connect(kind, source, source.shape, target.shape, positive=False, relaxed=attempt)
            if made is None:
                continue
            back = self.link(source, target.id, made[0], source.shape, None, port, attempt)
            given = {name: self.sent[name] for name in self.inputs}
            quick = self.bench.run(found, [*self.projections, back], given)
            if all(self.neurons.is_lively(p, quick[p.id]) for p in found):
                self.projections.append(back)
                self.sent.update({name: record.sent for name, record in quick.items()})
                return
        if self.emphasis == "feedback":
            raise CannotDrawError

    def graph(self) -> Graph:
        timing: Timing = "as_given" if self.as_given else "aligned"
        projections = self.projections
        if not self.as_given:
            depth: dict[str, int] = {}
            for name in self.populations:
                depth[name] = max((depth[p.src] + 1 for p in projections if p.dst == name), default=0)
            projections = [replace(p, delay=depth[p.dst] - depth[p.src] - 1) for p in projections]
        graded = any(isinstance(p.neuron, GRADED) for p in self.populations.values())
        return Graph(
            populations=tuple(self.populations.values()),
            projections=tuple(projections),
            timing=timing,
            messages="graded" if graded else "binary",
            steps=self.steps,
        )


def draw_foreign(
    *, seed: int, emphasis: str, inputs: int, populations: int, steps: int, samples: int, as_given: bool
) -> Case:
    """The network of this outline and seed; raises CannotDrawError where it stays dead."""
    builder = _Builder(
        rng=np.random.default_rng([seed, FOREIGN_EMPHASES.index(emphasis), 7]),
        emphasis=emphasis,
        steps=steps,
        samples=samples,
        as_given=as_given,
    )
    for index in range(inputs):
        wide = {"huge messages": (32, 28), "sigma-delta": (8, 12, 16)}.get(emphasis, (0, 0, 0, 8, 16))
        builder.add_input(f"in{index}", int(builder.pick(wide)))
    for index in range(populations):
        kind = str(builder.pick(_KINDS.get(emphasis, _ANY)))
        if index == populations - 1 and index and builder.chance(0.15):
            kind = "readout"
        builder.add_population(f"p{index}", kind)
    if as_given and (emphasis == "feedback" or builder.chance(0.1)) and populations > 1:
        builder.add_feedback()
    return Case(graph=builder.graph(), inputs=builder.inputs, emphasis=emphasis)


@st.composite
def foreign_cases(draw: st.DrawFn) -> Case:
    """A calibrated network with inputs: 1-2 inputs, 2-5 populations, T = 6..16, B = 1..3, mostly as given."""
    seed = draw(st.integers(0, 2**32 - 1))
    emphasis = draw(st.sampled_from(FOREIGN_EMPHASES))
    as_given = draw(st.integers(0, 4)) < 4
    try:
        return draw_foreign(
            seed=seed,
            emphasis=emphasis,
            inputs=draw(st.sampled_from((1, 2))),
            populations=draw(st.sampled_from((2, 3, 4, 5))),
            steps=draw(st.sampled_from((6, 9, 12, 16) if as_given else (2, 4, 6, 9))),
            samples=draw(st.sampled_from((1, 2, 3))),
            as_given=as_given,
        )
    except CannotDrawError:
        assume(False)
        raise
