"""Random networks of foreign kinds on stock Lava, wired by hand: the interpreter, and with it the engine, is Lava's equal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from tests.conformance.stock_processes import NotExpressibleError, check_expressible, compare
from tests.equality.agreement import TALLIES, Tally, foreign_tally, spread
from tests.foreign_features import FOREIGN_FEATURES, foreign_features
from tests.foreign_strategies import FOREIGN_EMPHASES, draw_foreign
from tests.reference import check_lively, interpret
from tests.strategies import CannotDrawError, Case

pytest.importorskip("lava")
pytestmark = pytest.mark.lava

BEYOND_LAVA = {"aligned", "transposed in groups", "output padding", "wire of a slice", "several samples"}
"""What a short sample need not hold: Lava has no transposed convolution, no resets of most kinds, no batch."""


def _candidates(seeds: int) -> Iterator[Case]:
    """Networks that the plain wiring can build, emphasis after emphasis."""
    for seed in range(seeds):
        emphasis = FOREIGN_EMPHASES[seed % len(FOREIGN_EMPHASES)]
        try:
            case = draw_foreign(
                seed=seed, emphasis=emphasis, inputs=1 + seed // 7 % 2, populations=3, steps=8, samples=1, as_given=True
            )
            check_expressible(case.graph, interpret(case.graph, case.inputs))
        except (CannotDrawError, NotExpressibleError):
            continue
        yield case


def _chosen(count: int) -> list[Case]:
    """Few networks that meet every feature about equally often; the cheap ones first, as each process takes time."""
    waiting = list(_candidates(10 * count))
    merits = [foreign_features(c.graph, c.inputs) for c in waiting]
    costs = [6 + len(c.graph.projections) for c in waiting]
    return [waiting[i] for i in spread(merits, costs, set(FOREIGN_FEATURES), count)]


def _hold(cases: Iterable[Case]) -> Tally:
    tally = foreign_tally("stock Lava wired by hand, foreign kinds")
    for index, case in enumerate(cases):
        try:
            run = compare(case.graph, case.inputs, every=4)
        except AssertionError as error:
            raise AssertionError(f"network {index}, {case!r}: {error}") from None
        check_lively(case.graph, run)
        tally.add(case, run)
    TALLIES[tally.backend] = tally
    return tally


def test_a_sample_of_random_networks_runs_alike_on_stock_lava() -> None:
    """10 networks, every kind in two of them: all messages, u and v after each fourth step."""
    tally = _hold(_chosen(10))
    kinds = ("delta", "sigma-delta relu", "sigma-delta unit", "sigma", "rf", "rf_iz", "lif")
    rare = [name for name in (*kinds, "onto itself", "delays per axon", "sparse") if tally.features[name] < 2]
    assert not rare, f"met in fewer than 2 networks: {rare}"


@pytest.mark.long
def test_many_random_networks_run_alike_on_stock_lava() -> None:
    tally = _hold(_candidates(400))
    rare = [name for name in FOREIGN_FEATURES if tally.features[name] < 3 and name not in BEYOND_LAVA]
    assert not rare, f"met in fewer than 3 networks: {rare}"
