"""Small networks and made-up runs for the tests of hw_profiles."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from lava_runtime.trace import Trace, make_trace
from netx_export.graph import (
    Conv,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
)


def weights(*shape: int, seed: int = 0, low: int = -128, high: int = 128) -> Kernel:
    return Kernel(mantissa=np.random.default_rng(seed).integers(low, high, shape))


def forked(*, message_bits: int = 0) -> Graph:
    """Input, stem, OR pool, a skip with upsampling and a channel slice, two projections with one kernel, a readout."""
    shared = weights(8, 8, 1, 1, seed=3)
    populations = (
        Population(id="in", shape=(2, 12, 20), neuron=Input(message_bits=message_bits)),
        Population(id="stem", shape=(8, 12, 20), neuron=Lif(vth_mant=100), source="net.stem.neuron"),
        Population(id="pool", shape=(8, 6, 10), neuron=Or(), source="net.pool"),
        Population(id="mix", shape=(8, 12, 20), neuron=Lif(vth_mant=100), source="net.mix.neuron"),
        Population(id="head", shape=(3, 12, 20), neuron=Readout(), source="net.head"),
        Population(id="class", shape=(5, 1, 1), neuron=Lif(vth_mant=100), source="net.classify"),
    )
    projections = (
        Projection(src="in", dst="stem", synapse=Conv(kernel=weights(8, 2, 3, 3, seed=1), padding=(1, 1))),
        Projection(
            src="stem",
            dst="pool",
            synapse=Conv(kernel=Kernel(mantissa=np.ones((8, 1, 3, 3), int)), stride=(2, 2), padding=(1, 1), groups=8),
        ),
        Projection(src="pool", dst="mix", synapse=Conv(kernel=weights(8, 8, 3, 3, seed=2), padding=(1, 1), upsample=2)),
        Projection(src="stem", dst="mix", synapse=Conv(kernel=shared), delay=1),
        Projection(src="stem", dst="mix", synapse=OneToOne(kernel=weights(8, seed=4)), delay=1),
        Projection(src="mix", dst="head", synapse=Conv(kernel=weights(3, 4, 1, 1, seed=5)), src_channels=(2, 6)),
        Projection(src="pool", dst="class", synapse=Dense(kernel=weights(5, 480, seed=6)), delay=0),
    )
    return Graph(populations=populations, projections=projections, steps=4)


def dense_chain(*sizes: int) -> Graph:
    """Layers of Lif neurons, each fully connected to the next."""
    populations = [Population(id="in", shape=(sizes[0], 1, 1), neuron=Input())]
    projections = []
    for index, (before, after) in enumerate(pairwise(sizes), start=1):
        populations.append(Population(id=f"dense{index}", shape=(after, 1, 1), neuron=Lif(vth_mant=100)))
        projections.append(
            Projection(
                src=populations[-2].id, dst=populations[-1].id, synapse=Dense(kernel=weights(after, before, seed=index))
            )
        )
    return Graph(populations=tuple(populations), projections=tuple(projections), steps=8)


def made_up_run(graph: Graph, *, samples: int = 3, seed: int = 0) -> Trace:
    """A trace with random spike counts; hw_profiles reads nothing else of a run."""
    rng = np.random.default_rng(seed)
    most = graph.steps * samples
    counts = {p.id: rng.integers(0, most + 1, p.shape) for p in graph.populations if not isinstance(p.neuron, Readout)}
    return make_trace(
        graph,
        backend="made up",
        steps=graph.steps,
        samples=samples,
        outputs={},
        spike_counts=counts,
        sample_spikes={name: np.full(samples, found.sum() // samples) for name, found in counts.items()},
        warm_up=dict.fromkeys(counts, 0),
        drain=dict.fromkeys(counts, 0),
    )


SOURCE = '{ value = %s, unit = "%s", source = "s", grade = "M", basis = "derived" }'


def chip_text(
    *,
    limits: dict[str, int] | None = None,
    energy: dict[str, float] | None = None,
    time: dict[str, float] | None = None,
    cores: int = 16,
    chips: int = 4,
) -> str:
    """A chip file of one's own, as a user would write it."""
    units = {"neurons": "neurons/core", "synapse_memory": "words/core", "axon_in": "axons/core"}
    units |= {"output_edges": "edges/core", "axon_map": "entries/core", "delay": "steps"}
    chosen = {"neurons": 256, "weight_bits": 8} | (limits or {})
    lines = [
        'name = "own-chip"',
        'title = "A chip of our own"',
        'kind = "chip"',
        'default_board = "Small"',
        'estimator = "prices made up for a test"',
        'includes = "everything we thought of"',
        "[sources]",
        's = "Lab notebook of the test, page 1"',
        "[limits]",
        *(f"{name} = " + SOURCE % (value, units.get(name, "bits")) for name, value in chosen.items()),
        "[packing]",
        "word_bits = " + SOURCE % (64, "bits"),
        "[topology]",
        "cores_per_chip = " + SOURCE % (cores, "cores"),
        "cores_per_tile = " + SOURCE % (2, "cores"),
        "mesh_columns = " + SOURCE % (4, "tiles"),
        "mesh_rows = " + SOURCE % (2, "tiles"),
        "[boards.Small]",
        "chips = " + SOURCE % (chips, "chips"),
        "[boards.Large]",
        "chips = " + SOURCE % (100, "chips"),
        "[energy]",
        *(f"{name} = " + SOURCE % (value, "pJ") for name, value in (energy or {}).items()),
        "[time]",
        *(f"{name} = " + SOURCE % (value, "ns") for name, value in (time or {}).items()),
    ]
    return "\n".join(lines) + "\n"


def write_chip(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path
