"""Stage tables: what was compared, how much differs, and where first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netx_export.errors import GraphError
from netx_export.verify import StageRecord, compare, compare_all, table


def record(name: str, **changes: Any) -> StageRecord:
    rng = np.random.default_rng(0)
    spikes = {key: rng.integers(0, 2, (3, 2, 2, 4, 4)).astype(np.uint8) for key in ("a", "b")}
    readouts = {"out": rng.integers(-50, 50, (3, 2, 1, 4, 4)).astype(np.int32)}
    states = {"v": {"b": np.full((3, 2, 2, 4, 4), 7)}}
    return StageRecord(**({"name": name, "spikes": spikes, "readouts": readouts} | states | changes))


def test_equal_stages_have_no_mismatch() -> None:
    first = record("quantised twin")
    row = compare(record("fast"), first)
    assert (row.stage, row.against, row.mismatches, row.first) == ("fast", "quantised twin", 0, None)
    assert row.spikes == sum(int(spikes.sum()) for spikes in first.spikes.values())
    assert row.values == 2 * 192 + 96


def test_the_first_mismatch_names_population_step_neuron_u_and_v() -> None:
    first, second = record("quantised twin"), record("sim", u={"b": np.full((3, 2, 2, 4, 4), -3)})
    second.spikes["b"][2, 1, 1, 0, 3] ^= 1
    second.spikes["b"][1, 0, 1, 2, 3] ^= 1
    second.readouts["out"][0, 0, 0, 0, 0] += 1
    row = compare(second, first, order=["input", "a", "b", "out"])
    assert row.mismatches == 3
    assert row.first is not None
    assert (row.first.population, row.first.step, row.first.sample, row.first.neuron) == ("b", 1, 0, (1, 2, 3))
    assert row.first.states == {"u mine": -3.0, "v mine": 7.0, "v theirs": 7.0}
    text = table([row])
    assert "first: population 'b', step 1, sample 0, neuron (c,y,x) = (1, 2, 3): " in text
    assert "u mine -3, v mine 7, v theirs 7" in text
    assert text.splitlines()[0].split() == ["stage", "compared", "against", "spikes", "compared", "mismatches"]


def test_real_readouts_may_differ_a_little() -> None:
    first, second = record("float"), record("folded")
    real = first.readouts["out"].astype(np.float64)
    close = record("folded", readouts={"out": real + 1e-6})
    assert compare(close, record("float", readouts={"out": real})).mismatches == 0
    wrong = real.copy()
    wrong[2, 1, 0, 3, 3] = np.nan
    row = compare(record("folded", readouts={"out": wrong}), second)
    assert row.mismatches == 1
    assert row.first is not None
    assert row.first.population == "out"


def test_each_stage_is_held_to_the_one_before() -> None:
    rows = compare_all([record("a"), record("b"), record("c")])
    assert [(row.stage, row.against) for row in rows] == [("b", "a"), ("c", "b")]


@pytest.mark.parametrize(
    ("stage", "order", "message"),
    [
        (
            record("sim", spikes={"c": np.zeros((1, 1, 1, 1, 1))}),
            (),
            "'sim' and 'twin' share no spiking population; record the rasters",
        ),
        (
            record("sim", spikes={"a": np.zeros((3, 2, 2, 4, 4))}),
            ("a", "b"),
            r"'sim' has no spikes of \['b'\], which 'twin' recorded",
        ),
        (
            record("sim", spikes={"a": np.zeros((3, 2, 2, 4, 5))}),
            (),
            r"'a' has shape \(3, 2, 2, 4, 5\) in 'sim' and \(3, 2, 2, 4, 4\) in",
        ),
    ],
)
def test_comparisons_of_nothing_are_refused(stage: StageRecord, order: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        compare(stage, record("twin"), order=order)
