"""Placement: never worse than row-major, deterministic, exact sums of hops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hw_profiles
from hw_profiles.mapping import Mapping
from hw_profiles.placement import Traffic, place, place_near, place_on
from hw_profiles.profile import Topology
from netx_export.graph import Graph
from tests.papers.published_networks import dense_network, yolo_kp
from tests.unit.hw_profiles.chip_networks import chip_text, forked, write_chip

SMALL = Topology(cores_per_chip=14, cores_per_tile=2, mesh_columns=4, mesh_rows=2)


def random_traffic(cores: int, pairs: int, seed: int) -> Traffic:
    rng = np.random.default_rng(seed)
    start, end = rng.integers(0, cores, (2, pairs))
    keep = start != end
    return Traffic(start=start[keep], end=end[keep], messages=rng.integers(1, 50, pairs)[keep])


def hops_by_hand(mapping: Mapping) -> int:
    """Sum over pairs of cores, one pair at a time."""
    where, traffic = mapping.placement, mapping.traffic
    assert where is not None
    assert mapping.profile.topology is not None
    columns = mapping.profile.topology.mesh_columns
    total = 0
    for a, b, messages in zip(traffic.start, traffic.end, traffic.messages, strict=True):
        across = abs(int(where.chip[a]) * columns + int(where.x[a]) - int(where.chip[b]) * columns - int(where.x[b]))
        total += int(messages) * (across + abs(int(where.y[a]) - int(where.y[b])))
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cores", [1, 2, 9, 14, 15, 27])
def test_never_worse_than_row_major(cores: int, seed: int) -> None:
    traffic = random_traffic(cores, 4 * cores, seed)
    ours = place_near(cores, SMALL, traffic)
    assert ours.weighted_hops(traffic) <= place(cores, SMALL).weighted_hops(traffic)
    assert ours.chips == place(cores, SMALL).chips
    taken = {(int(c), int(t)) for c, t in zip(ours.chip, ours.tile, strict=True)}
    assert all((ours.tile[ours.chip == c] == t).sum() <= SMALL.cores_per_tile for c, t in taken)


def test_no_exchange_of_two_slots_helps() -> None:
    cores, traffic = 11, random_traffic(11, 60, 3)
    ours = place_near(cores, SMALL, traffic)
    best = ours.weighted_hops(traffic)
    slots = (ours.chip * SMALL.cores_per_chip + ours.tile * SMALL.cores_per_tile).astype(np.int64)
    for i in range(cores):
        for target in range(0, SMALL.cores_per_chip, SMALL.cores_per_tile):
            other = slots.copy()
            for j in np.flatnonzero(slots == target)[:1]:
                other[j] = slots[i]
            if np.count_nonzero(slots == target) in (0, 1, 2):
                other[i] = target
                if all(np.count_nonzero(other == s) <= SMALL.cores_per_tile for s in set(other.tolist())):
                    assert place_on(other, SMALL).weighted_hops(traffic) >= best


@pytest.mark.parametrize("profile", ["loihi2", "loihi1-fitted"])
@pytest.mark.parametrize("network", [forked(), dense_network(784, 512, 512, 10, bits=6)], ids=["forked", "mnist"])
def test_real_networks(network: Graph, profile: str) -> None:
    mapping = hw_profiles.map(network, hw_profiles.load(profile))
    assert mapping.placement is not None
    assert mapping.profile.topology is not None
    row_major = place(mapping.cores, mapping.profile.topology).weighted_hops(mapping.traffic)
    assert mapping.placement.weighted_hops(mapping.traffic) == hops_by_hand(mapping) <= row_major


def test_a_large_detector_travels_half_as_far() -> None:
    mapping = hw_profiles.map(yolo_kp(), hw_profiles.load("loihi2"))
    assert mapping.placement is not None
    assert mapping.profile.topology is not None
    row_major = place(mapping.cores, mapping.profile.topology).weighted_hops(mapping.traffic)
    assert mapping.placement.weighted_hops(mapping.traffic) < 0.5 * row_major


def test_placement_is_deterministic_and_can_be_given(tmp_path: Path) -> None:
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(limits={"neurons": 64})), board="Large")
    first, again = (hw_profiles.map(forked(), profile).placement for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.tile.tolist() == again.tile.tolist()
    mapping = hw_profiles.map(forked(), profile)
    assert profile.topology is not None
    fixed = Mapping(
        graph=mapping.graph,
        profile=profile,
        slices=mapping.slices,
        registers=mapping.registers,
        placed=place(mapping.cores, profile.topology),
    )
    assert fixed.placement is fixed.placed
    assert fixed.chips == mapping.chips
