"""Delays make branches of different depth meet; beyond 62 steps relays bridge, or the skip is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netx_export.errors import ExportError
from netx_export.float_run import float_run
from netx_export.graph import FloatLif, Graph, Input, Or
from netx_export.passes.balance_delays import BalanceDelays
from netx_export.passes.quantise import Quantise
from netx_export.projection_graph import (
    FloatConv,
    FloatOneToOne,
    FloatPopulation,
    FloatProjection,
    FloatReadout,
    ProjectionGraph,
)


def ladder(depth: int, *, message_bits: int = 0, extra: int = 0) -> ProjectionGraph:
    """`depth` populations in a row and a skip from the input (and population 1) to the readout behind the last."""
    lif = FloatLif(leak=0.5, gain=0.5, threshold=0.25)
    populations = [FloatPopulation(id="input", shape=(2, 2, 2), neuron=Input(message_bits=message_bits))]
    projections: list[FloatProjection] = []

    def join(src: str, dst: str, weight: Any) -> None:
        projections.append(FloatProjection(src=src, dst=dst, synapse=FloatConv(weight=weight), source=f"conv_{dst}"))

    rng = np.random.default_rng(0)
    for index in range(1, depth + 1):
        populations.append(FloatPopulation(id=f"p{index}", shape=(2, 2, 2), neuron=lif, source=f"p{index}"))
        join(populations[-2].id, f"p{index}", rng.uniform(0.3, 1.0, (2, 2, 1, 1)))
    populations.append(FloatPopulation(id="out", shape=(2, 2, 2), neuron=FloatReadout()))
    join(f"p{depth}", "out", np.ones((2, 2, 1, 1)))
    join("input", "out", np.full((2, 2, 1, 1), 0.5))
    if extra:
        join("p1", "out", np.full((2, 2, 1, 1), 0.25))
    return ProjectionGraph(populations=tuple(populations), projections=tuple(projections))


def test_delays_are_the_gaps_in_depth() -> None:
    graph = BalanceDelays().call(ladder(4, extra=1))
    BalanceDelays().ensures(graph)
    assert [(p.src, p.dst, p.delay) for p in graph.projections if p.delay] == [("input", "out", 4), ("p1", "out", 3)]
    integers = Quantise().call(graph)
    assert integers.timing == "aligned"


def test_62_steps_are_allowed_and_63_are_refused_by_name() -> None:
    assert max(p.delay for p in BalanceDelays().call(ladder(62)).projections) == 62
    with pytest.raises(
        ExportError,
        match=r"Projection input -> out \(module 'conv_out'\) skips 64 layers and needs a delay of 63 time steps, the limit is 62. "
        r"Shorten the skip, or export with relays=True \(--relays\), which inserts 1 relay population of \(2, 2, 2\)",
    ):
        BalanceDelays().call(ladder(63))


def test_relays_bridge_the_rest_exactly() -> None:
    before = ladder(66, extra=1)
    after = BalanceDelays(relays=True).call(before)
    BalanceDelays(relays=True).ensures(after)
    relays = [p for p in after.populations if isinstance(p.neuron, Or)]
    assert [p.id for p in relays] == [
        "input.relay1", "input.relay2", "input.relay3", "input.relay4", "p1.relay1", "p1.relay2", "p1.relay3",
    ]  # fmt: skip
    last = after.incoming["out"]
    assert [(p.src, p.delay) for p in last] == [("p66", 0), ("input.relay4", 62), ("p1.relay3", 62)]
    frames = np.random.default_rng(1).integers(0, 2, (3, 1, 2, 2, 2))
    first, second = float_run(before, frames), float_run(after, frames)
    np.testing.assert_array_equal(first.outputs["out"], second.outputs["out"])
    graph = Quantise().call(after)
    assert isinstance(graph, Graph)
    assert isinstance(graph.by_id["p1.relay2"].neuron, Or)


def test_relays_are_shared_by_projections_of_one_source() -> None:
    base = ladder(64)
    twice = (*base.projections, FloatProjection(src="input", dst="out", synapse=FloatOneToOne(weight=np.ones(2))))
    after = BalanceDelays(relays=True).call(ProjectionGraph(populations=base.populations, projections=twice))
    assert sum(isinstance(p.neuron, Or) for p in after.populations) == 2


def test_graded_input_cannot_be_relayed() -> None:
    with pytest.raises(
        ExportError, match=r"needs a delay of 63 .* relays repeat 0/1 spikes only while this input is graded"
    ):
        BalanceDelays(relays=True).call(ladder(63, message_bits=8))


def test_delays_are_balanced_once() -> None:
    after = BalanceDelays().call(ladder(3))
    with pytest.raises(ExportError, match="Projection input -> out already has delay 3"):
        BalanceDelays().requires(after)
    with pytest.raises(ExportError, match="input -> out has delay 0, needs 3, the limit is 62"):
        BalanceDelays().ensures(ladder(3))
