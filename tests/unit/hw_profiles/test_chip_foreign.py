"""Every kind of neuron and synapse on every chip: mapped, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

import hw_profiles
import lava_runtime
from hw_profiles.mapping import Mapping
from hw_profiles.packing import channel_blocks, list_words, packing_notes, weight_bits
from hw_profiles.registers import state_words
from netx_export.errors import DoesNotFitError
from netx_export.graph import (
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
)
from tests.unit.hw_profiles.chip_networks import weights


def every_kind() -> Graph:
    """Delta behind a wire, sigma-delta with a transposed convolution, resonators, sparse, delays, a layer that reads itself."""
    rng = np.random.default_rng(0)
    rows, columns = np.divmod(np.sort(rng.choice(40 * 400, 900, replace=False)), 400)
    populations = (
        Population(id="host", shape=(4, 10, 10), neuron=Input(message_bits=8)),
        Population(id="delta", shape=(4, 10, 10), neuron=Delta(vth=1)),
        Population(id="up", shape=(6, 20, 20), neuron=SigmaDelta(vth=1)),
        Population(id="sparse", shape=(40, 1, 1), neuron=Lif(vth_mant=1 << 17)),
        Population(id="rf", shape=(12, 1, 1), neuron=Rf(sin=1, cos=4000, vth_mant=3)),
        Population(id="iz", shape=(12, 1, 1), neuron=RfIz(sin=1, cos=4000, vth_mant=3)),
        Population(id="sum", shape=(5, 1, 1), neuron=Sigma()),
    )
    projections = (
        Projection(src="host", dst="delta", synapse=Wire()),
        Projection(src="delta", dst="up", synapse=ConvTranspose(kernel=weights(4, 6, 2, 2), stride=(2, 2)), delay=2),
        Projection(src="delta", dst="sparse", synapse=Sparse(kernel=weights(900), rows=rows, columns=columns)),
        Projection(src="sparse", dst="sparse", synapse=Dense(kernel=weights(40, 40, seed=1))),
        Projection(src="sparse", dst="rf", synapse=Dense(kernel=weights(12, 40)), port="re"),
        Projection(
            src="sparse",
            dst="rf",
            synapse=Dense(kernel=weights(12, 40)),
            port="im",
            delays=np.full((40, 1, 1), 9, np.uint8),
        ),
        Projection(src="rf", dst="iz", synapse=Dense(kernel=weights(12, 12)), port="im"),
        Projection(src="iz", dst="sum", synapse=Dense(kernel=weights(5, 12))),
        Projection(src="iz", dst="sum", synapse=Dense(kernel=weights(5, 12, seed=2)), delay=62),
    )
    return Graph(populations=populations, projections=projections, timing="as_given", messages="graded")


@pytest.mark.parametrize("name", ["loihi1-davies2018", "loihi1-fitted", "loihi2", "loihi2-2024", "darwin3"])
def test_every_kind_is_mapped(name: str) -> None:
    graph, profile = every_kind(), hw_profiles.load(name)
    mapping = hw_profiles.map(graph, profile)
    for resource, (used, limit) in mapping.utilization().items():
        assert limit is None or used <= limit, resource
    assert Mapping.from_slices(graph, profile, mapping.slices).registers == mapping.registers
    assert mapping.placement is not None
    assert mapping.utilization("rf")["delay_slots"] == (12 * 10, None)
    states = {
        p.id: sum(mapping.registers[s.core]["state_words"] for s in mapping.by_population[p.id])
        for p in graph.populations
    }
    assert states == {"host": 0, "delta": 800, "up": 7200, "sparse": 80, "rf": 24, "iz": 24, "sum": 5}


def test_states_of_every_neuron() -> None:
    assert [state_words(neuron) for neuron in (Readout(), Or(), Lif(vth_mant=1), SigmaDelta(vth=1))] == [1, 2, 2, 3]


def test_words_of_sparse_lists_count_what_is_there() -> None:
    graph, profile = every_kind(), hw_profiles.load("loihi2")
    registers = hw_profiles.map(graph, profile).registers
    (core,) = (s.core for s in hw_profiles.map(graph, profile).by_population["sparse"])
    sparse = graph.incoming["sparse"][0].synapse
    assert isinstance(sparse, Sparse)
    lists = [-(-(8 + count * 19) // 64) for count in np.bincount(sparse.columns, minlength=400) if count]
    recurrent = 40 * -(-(8 + 40 * 19) // 64)
    assert registers[core]["synapse_memory"] == sum(lists) + recurrent


def test_lists_on_loihi_1_are_continued_after_64_synapses() -> None:
    profile = hw_profiles.load("loihi1-fitted")
    kernel = weights(4, 4)
    # 10 header bits and 64 synapses of 18 bits take 19 words, the other 6 take 2.
    assert list_words(profile, np.array([70]), kernel, shared=False) == 19 + 2
    assert list_words(profile, np.array([64, 0]), kernel, shared=False) == 19
    assert list_words(profile, np.array([70]), kernel, shared=True) == -(-(10 + 64 * 8) // 64) + 1
    assert list_words(hw_profiles.load("truenorth"), np.array([5]), kernel, shared=True) == 0


@pytest.mark.parametrize(
    ("mantissa", "exponent", "bits"),
    [
        ([-3, 3], 1, 4),
        ([-6, 6], 0, 4),
        ([-4, 3], 1, 4),
        ([-5, 4], 1, 5),
        ([-128, 127], 0, 8),
        ([-128, 127], 1, 9),
        ([-128, 127], 5, 9),
        ([1, 1], 0, 2),
        ([0, 0], 0, 2),
        ([64, -64], 0, 3),
        ([-7, 5], -2, 4),
    ],
)
def test_weight_bits(mantissa: list[int], exponent: int, bits: int) -> None:
    assert weight_bits(Kernel(mantissa=np.array(mantissa), exponent=exponent)) == bits


def test_channel_blocks() -> None:
    assert [channel_blocks(n) for n in (1, 3, 4, 16, 24, 36, 48, 64, 100, 512)] == [1, 1, 1, 1, 2, 2, 2, 1, 3, 1]


def test_notes_say_how_memory_is_counted() -> None:
    assert "11 more in dense and sparse lists" in packing_notes(hw_profiles.load("loihi2"))[0]
    assert packing_notes(hw_profiles.load("truenorth")) == []


def test_delays_beyond_the_chip_are_named() -> None:
    graph = Graph(
        populations=(
            Population(id="in", shape=(3, 1, 1), neuron=Input()),
            Population(id="out", shape=(2, 1, 1), neuron=Lif(vth_mant=1)),
        ),
        projections=(
            Projection(
                src="in",
                dst="out",
                synapse=Dense(kernel=weights(2, 3)),
                delay=10,
                delays=np.array([[1, 2, 60], [3, 4, 5]], np.uint8),
            ),
        ),
        timing="as_given",
    )
    with pytest.raises(
        DoesNotFitError, match="'in -> out' needs delay 70, the limit is 62; export with relay populations"
    ):
        hw_profiles.map(graph, hw_profiles.load("loihi2"))


def test_messages_of_neurons_without_spikes_are_counted_too() -> None:
    graph, profile = every_kind(), hw_profiles.load("loihi2")
    inputs = np.random.default_rng(0).integers(-100, 100, (4, 1, 4, 10, 10)).astype(np.int32)
    trace = lava_runtime.run(graph, {"host": inputs})
    workload = hw_profiles.report(trace, hw_profiles.map(graph, profile), profile).workload
    assert workload is not None
    spikes = {layer.population: layer.spikes or 0 for layer in workload.layers}
    assert spikes["up"] > 0
    assert workload.spikes == trace.total_spikes(graph) == sum(spikes.values()) - spikes["host"]
    assert workload.rate > 0
