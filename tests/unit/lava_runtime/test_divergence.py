"""Where two runs part: the neuron is named, what arrived there is listed, and the synapses are those of the network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lava_runtime
from hw_profiles.divergence_picture import draw_divergence
from lava_runtime import Probes
from lava_runtime.divergence import first_divergence, synapses_of
from lava_runtime.trace import Trace
from netx_export.errors import RunError
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Population,
    Projection,
    Sparse,
    SynapseSpec,
    Wire,
)

RNG = np.random.default_rng(0)


def kernel(*shape: int) -> Kernel:
    return Kernel(mantissa=RNG.integers(-20, 60, shape), exponent=1)


def network(vth: int = 120) -> Graph:
    return Graph(
        populations=(
            Population(id="in", shape=(2, 5, 6), neuron=Input()),
            Population(id="map", shape=(3, 5, 6), neuron=Lif(vth_mant=vth, dv=2048)),
            Population(id="out", shape=(4, 1, 1), neuron=Lif(vth_mant=500, dv=1024)),
        ),
        projections=(
            Projection(src="in", dst="map", synapse=Conv(kernel=KERNELS[0], padding=(1, 1))),
            Projection(src="map", dst="out", synapse=Dense(kernel=KERNELS[1])),
        ),
        steps=6,
    )


KERNELS = (kernel(3, 2, 3, 3), kernel(4, 90))
INPUTS = (RNG.random((6, 2, 2, 5, 6)) < 0.4).astype(np.int32)


def run(graph: Graph, **options: Any) -> Trace:
    return lava_runtime.run(graph, INPUTS, probes=Probes(**{"rasters": "all", "states": "all", **options}), threads=1)


def tampered(trace: Trace) -> Trace:
    """The trace with one spike of `map` turned over, and what follows from another run left as it was."""
    raster = trace.rasters["map"].copy()
    raster[4, 1, 2, 3] ^= 1
    return dataclasses.replace(trace, rasters={**trace.rasters, "map": raster})


def test_runs_that_agree_have_no_divergence() -> None:
    assert first_divergence(network(), run(network()), run(network())) is None


def test_the_neuron_its_threshold_and_what_arrived_are_named() -> None:
    graph = network()
    mine = run(graph)
    found = first_divergence(graph, mine, tampered(mine))
    assert found is not None
    assert (found.difference.population, found.difference.step, found.difference.neuron) == ("map", 4, (1, 2, 3))
    assert (found.sample, found.step, found.latency, found.threshold) == (0, 3, 1, 120 << 6)
    # What arrived is what the state shows: u = (sum of weights) << 6 in a neuron without current memory.
    assert sum(a.weight * a.mine for a in found.arrivals) << 6 == int(mine.u["map"][4, 1, 2, 3])
    assert {a.sent for a in found.arrivals} == {3}
    text = str(found)
    for part in ("First difference: population 'map', step 4", "step 3 of sample 0", "exceeds 7680", "in -> map: "):
        assert part in text


def test_rasters_that_nobody_recorded_are_named() -> None:
    graph = network()
    mine = run(graph, rasters=("map",))
    found = first_divergence(graph, mine, tampered(mine))
    assert found is not None
    assert found.arrivals == ()
    assert "not recorded in both runs: in; run with rasters of every population" in str(found)


def test_traces_of_other_networks_are_refused() -> None:
    with pytest.raises(RunError, match="was recorded from network"):
        first_divergence(network(), run(network()), run(network(vth=121)))


def test_both_rasters_are_drawn(tmp_path: Path) -> None:
    graph = network()
    mine = run(graph)
    theirs = tampered(mine)
    found = first_divergence(graph, mine, theirs)
    assert found is not None
    for name in ("one.png", "two.png"):
        draw_divergence(found, mine, theirs, tmp_path / name, names=("fast", "sim"))
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    bare = dataclasses.replace(mine, rasters={}, outputs={})
    with pytest.raises(RunError, match="No raster of population 'map' was recorded in both runs"):
        draw_divergence(found, bare, theirs, tmp_path / "three.png", names=("fast", "sim"))
    assert not (tmp_path / "three.png").exists()


@pytest.mark.parametrize(
    ("synapse", "channels"),
    [
        (Conv(kernel=kernel(4, 2, 3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), None),
        (Conv(kernel=kernel(4, 1, 3, 3), groups=2, padding=(1, 1), upsample=2), None),
        (Conv(kernel=kernel(4, 2, 1, 1)), (1, 3)),
        (ConvTranspose(kernel=kernel(2, 3, 3, 2), stride=(2, 1), padding=(1, 1), output_padding=(1, 0)), None),
        (ConvTranspose(kernel=kernel(2, 2, 2, 2), groups=2, stride=(2, 2), dilation=(2, 1)), None),
        (OneToOne(kernel=kernel(2)), None),
        (Dense(kernel=kernel(7, 60)), None),
        (Sparse(kernel=kernel(3), rows=np.array([0, 0, 5]), columns=np.array([7, 9, 1])), None),
        (Wire(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_synapses_of_every_neuron_are_all_synapses(synapse: SynapseSpec, channels: tuple[int, int] | None) -> None:
    """Held to fan-out: counted from the sources' side, the synapses are the same."""
    source = Population(id="a", shape=(3 if channels else 2, 5, 6), neuron=Input())
    projection = Projection(src="a", dst="b", synapse=synapse, src_channels=channels)
    read = projection.source_shape(source)
    shape = synapse.output_shape(read) if isinstance(synapse, Conv | ConvTranspose) else (7, 1, 1)
    shape = read if isinstance(synapse, OneToOne | Wire) else shape
    target = Population(id="b", shape=shape, neuron=Lif(vth_mant=1))
    counts = np.zeros(source.size, np.int64)
    for place in range(target.size):
        c, y, x = (int(index) for index in np.unravel_index(place, shape))
        found = synapses_of(projection, source, target, (c, y, x))
        np.add.at(counts, found.sources, 1)
        assert set(found.waits.tolist()) <= {0 if isinstance(synapse, Wire) else 1}
    if not isinstance(synapse, Wire):
        np.testing.assert_array_equal(counts.reshape(source.shape), projection.fan_out(source))


def test_waiting_steps_hold_every_delay() -> None:
    source = Population(id="a", shape=(2, 1, 1), neuron=Input())
    target = Population(id="b", shape=(2, 1, 1), neuron=Lif(vth_mant=1))
    dense = Dense(kernel=kernel(2, 2))
    per_axon = Projection(src="a", dst="b", synapse=dense, delay=1, delays=np.array([[[3]], [[5]]]))
    per_synapse = Projection(src="a", dst="b", synapse=dense, delays=np.array([[1, 2], [3, 4]]))
    assert synapses_of(per_axon, source, target, (1, 0, 0)).waits.tolist() == [5, 7]
    assert synapses_of(per_synapse, source, target, (1, 0, 0)).waits.tolist() == [4, 5]
