"""Both ways of computing, and every kind of dense sums that this host has, against the stepped pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lava_runtime
from lava_runtime.engine import execution, tiling
from lava_runtime.engine.dense_sums import DOTS, PORTABLE, TILES, dense_kind
from lava_runtime.engine.population_plan import PopulationPlan
from netx_export.graph import Conv, Dense, Graph, Input, Lif, OneToOne, Population, Projection, Readout
from tests.unit.lava_runtime.test_fast_equality import check, kernel, one_layer, skip_graph, spikes

HERE = [kind for kind in (PORTABLE, DOTS, TILES) if kind <= dense_kind()]


def force(monkeypatch: pytest.MonkeyPatch, *, by_event: bool | None = None, kind: int | None = None) -> None:
    """Compute every row one way, or every second row the other way (None)."""

    def rows(population: PopulationPlan, *_: Any) -> Any:
        every = np.arange(population.shape[1]) % 2 == 0 if by_event is None else by_event
        return np.full(population.shape[1], every) & population.event_driven

    monkeypatch.setattr(tiling, "event_rows", rows)
    if kind is not None:
        monkeypatch.setattr(execution, "dense_kind", lambda: kind)


CASES: list[tuple[dict[str, Any], tuple[int, int, int], tuple[int, int], int]] = [
    ({"padding": (1, 1)}, (70, 6, 21), (3, 3), 40),
    ({"stride": (2, 2), "padding": (3, 3)}, (3, 12, 37), (7, 7), 17),
    ({"dilation": (2, 2), "padding": (2, 2)}, (20, 5, 30), (3, 3), 16),
    ({"upsample": 2}, (33, 3, 11), (1, 1), 20),
    ({"upsample": 3, "stride": (2, 2), "padding": (1, 1)}, (12, 4, 15), (3, 3), 24),
    ({"groups": 4, "padding": (1, 1)}, (64, 4, 20), (3, 3), 64),
    ({"groups": 40, "padding": (1, 1)}, (40, 4, 18), (3, 3), 40),
    ({"padding": (0, 1)}, (30, 5, 4), (3, 3), 12),
]


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("number", range(len(CASES)))
def test_dense_convolutions(kind: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options, source, size, channels = CASES[number]
    steps = (1, 5, 9)[number % 3]
    rng = np.random.default_rng(1)
    conv = Conv(kernel=kernel(rng, channels, source[0] // options.get("groups", 1), *size), **options)
    graph = one_layer(conv, source, Lif(vth_mant=300, dv=700, bias_mant=[40]), steps=steps)
    force(monkeypatch, by_event=False, kind=kind)
    check(graph, spikes(rng, steps, 2, *source), fires=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_listed_convolutions_and_a_mixture(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options, source, size, channels = case
    rng = np.random.default_rng(2)
    conv = Conv(kernel=kernel(rng, channels, source[0] // options.get("groups", 1), *size), **options)
    graph = one_layer(conv, source, Lif(vth_mant=300, dv=700, bias_mant=[40]), steps=5)
    for by_event in (True, None):
        force(monkeypatch, by_event=by_event)
        check(graph, spikes(rng, 5, 2, *source), fires=False)


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("by_event", [False, True, None])
def test_a_network_with_skips(kind: int, by_event: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    force(monkeypatch, by_event=by_event, kind=kind)
    check(skip_graph(rng, steps=5), spikes(rng, 5, 3, 2, 6, 8))
    check(skip_graph(rng, steps=5, timing="as_given", extra=2), spikes(rng, 21, 1, 2, 6, 8))


@pytest.mark.parametrize("kind", HERE)
def test_messages_of_several_bytes_into_convolutions_and_maps(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    force(monkeypatch, by_event=False, kind=kind)
    graph = Graph(
        populations=(
            Population(id="in", shape=(5, 4, 6), neuron=Input(message_bits=20)),
            Population(id="conv", shape=(18, 4, 6), neuron=Readout()),
            Population(id="dense", shape=(3, 2, 5), neuron=Readout()),
            Population(id="twin", shape=(5, 4, 6), neuron=Readout()),
        ),
        projections=(
            Projection(src="in", dst="conv", synapse=Conv(kernel=kernel(rng, 18, 5, 3, 3), padding=(1, 1))),
            Projection(src="in", dst="dense", synapse=Dense(kernel=kernel(rng, 30, 120, exponent=3))),
            Projection(src="in", dst="twin", synapse=OneToOne(kernel=kernel(rng, 5))),
        ),
        steps=3,
    )
    check(graph, rng.integers(-(1 << 19), 1 << 19, (3, 2, 5, 4, 6)), fires=False)


def test_bytes_and_integers_are_the_same_input() -> None:
    rng = np.random.default_rng(5)
    graph, given = skip_graph(rng, steps=3), spikes(rng, 3, 2, 2, 6, 8)
    one = lava_runtime.run(graph, given, threads=1)
    for kind in (np.uint8, np.bool_, np.int64, np.float32):
        other = lava_runtime.run(graph, given.astype(kind), threads=1)
        np.testing.assert_array_equal(other.outputs["head"], one.outputs["head"])
        np.testing.assert_array_equal(other.spike_counts["in"], one.spike_counts["in"])
