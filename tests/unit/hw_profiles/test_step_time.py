"""What each step waits for, by hand: neurons, messages, a link, the barrier; prices by kind of synapse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hw_profiles
from hw_profiles.energy import price
from hw_profiles.latency import operation_prices
from hw_profiles.mapping import Mapping
from hw_profiles.profile import HardwareProfile, Quantity
from hw_profiles.slices import Slice
from lava_runtime.trace import Trace, make_trace
from netx_export.graph import Dense, Graph, Input, Kernel, Lif, Population, Projection
from tests.unit.hw_profiles.chip_networks import chip_text, write_chip

TIMES = {"synaptic_operation": 2.0, "neuron_update": 3.0, "hop_east_west": 7.0, "barrier": 4.0}

# Spikes of each of the three populations in six steps.
SPIKES = {"in": (0, 2, 0, 3, 0, 0), "a": (0, 0, 4, 0, 1, 0), "b": (0, 0, 0, 0, 2, 0)}


def run(steps: int = 6) -> tuple[Graph, Trace]:
    """3 inputs, 4 neurons, 8 neurons, as_given; the first neurons of a population spike."""
    populations = (
        Population(id="in", shape=(3, 1, 1), neuron=Input()),
        Population(id="a", shape=(4, 1, 1), neuron=Lif(vth_mant=1)),
        Population(id="b", shape=(8, 1, 1), neuron=Lif(vth_mant=1)),
    )
    projections = (
        Projection(src="in", dst="a", synapse=Dense(kernel=Kernel(mantissa=np.ones((4, 3), int)))),
        Projection(src="a", dst="b", synapse=Dense(kernel=Kernel(mantissa=np.ones((8, 4), int)))),
    )
    graph = Graph(populations=populations, projections=projections, timing="as_given", steps=steps)
    rasters = {p.id: np.zeros((steps, *p.shape), np.uint8) for p in populations}
    for name, counts in SPIKES.items():
        for step, spikes in enumerate(counts[:steps]):
            rasters[name][step, :spikes] = 1
    counts = {name: raster.sum(axis=0, dtype=np.int64) for name, raster in rasters.items()}
    trace = make_trace(
        graph,
        backend="made up",
        steps=steps,
        samples=1,
        outputs={},
        spike_counts=counts,
        sample_spikes={},
        warm_up={},
        drain={},
        rasters=rasters,
    )
    return graph, trace


def chip(folder: Path, times: dict[str, float]) -> HardwareProfile:
    return hw_profiles.load(write_chip(folder, chip_text(limits={"neurons": 4}, time=times)))


def mapped(graph: Graph, profile: HardwareProfile) -> Mapping:
    spans = (("a", 0, 4), ("b", 0, 4), ("b", 4, 8))
    slices = [
        Slice(population=name, core=core, box=((start, stop), (0, 1), (0, 1)))
        for core, (name, start, stop) in enumerate(spans)
    ]
    return Mapping.from_slices(graph, profile, slices)


def test_every_step_waits_for_something(tmp_path: Path) -> None:
    graph, trace = run()
    profile = chip(tmp_path, TIMES)
    mapping = mapped(graph, profile)
    step = price(trace, mapping, profile).step
    series = step.series
    assert series is not None
    # 4 neurons take 12 ns on every core; input spikes reach 4 synapses on core 0, spikes of a 4 on cores 1 and 2 each.
    assert series.neuron == (12,) * 6
    assert series.message == (0, 16, 32, 24, 8, 0)
    assert series.core == (0, 0, 1, 0, 1, 0)
    assert series.high == (16, 32, 48, 40, 24, 16)
    assert series.low == (16, 20, 36, 28, 16, 16)
    # Core 2 is one tile east of core 0: four messages pass that link in step 2, one in step 4.
    assert series.link == (0, 0, 28, 0, 7, 0)
    assert series.binding == ("neurons", "messages", "messages", "messages", "neurons", "neurons")
    assert series.place[:3] == ("core 0", "core 0", "core 1")
    assert (series.waits(0), series.waits(2)) == ("neurons on core 0", "messages on core 1")
    assert step.bound_by == {"messages": 3, "neurons": 3}
    assert step.total == (22, pytest.approx(176 / 6))
    assert step.slowest == 1
    # With delays as given the answer comes within the sample's own steps.
    assert step.latency == step.sample == pytest.approx((22 * 6, 176))
    assert any("endless stream" in line for line in step.assumptions)


def test_links_and_barriers_bind(tmp_path: Path) -> None:
    graph, trace = run()
    slow_mesh = chip(tmp_path, TIMES | {"hop_east_west": 100.0})
    series = price(trace, mapped(graph, slow_mesh), slow_mesh).step.series
    assert series is not None
    assert (series.binding[2], series.place[2], series.high[2]) == ("link", "link from tile (0,0) east", 404)
    slow_barrier = chip(tmp_path, TIMES | {"barrier": 1000.0})
    step = price(trace, mapped(graph, slow_barrier), slow_barrier).step
    assert step.bound_by == {"barrier": 6}
    assert step.series is not None
    assert (step.series.waits(0), series.waits(2)) == ("the barrier", "link from tile (0,0) east")


def test_a_message_has_its_own_time(tmp_path: Path) -> None:
    graph, trace = run()
    profile = chip(tmp_path, TIMES | {"message_in": 5.0, "message_out": 1.0})
    series = price(trace, mapped(graph, profile), profile).step.series
    assert series is not None
    # Step 2: four spikes of core 0 go to two cores; each of those takes them in and makes 16 operations.
    assert series.message[2] == 16 * 2 + 4 * 5
    assert series.core[2] == 1


def test_prices_by_kind_of_synapse() -> None:
    def quantity(value: float) -> Quantity:
        return Quantity(low=value, high=value, unit="pJ", source="s", grade="M", basis="fitted")

    one, other = quantity(1), quantity(2)
    assert operation_prices({"synaptic_operation": one}) == {"conv": one, "dense": one, "sparse": one}
    mixed = {"synaptic_operation": one, "synaptic_operation_dense": other}
    assert operation_prices(mixed) == {"conv": one, "dense": other, "sparse": one}
    assert operation_prices({"synaptic_operation_dense": other}) is None
