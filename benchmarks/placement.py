"""`python -m benchmarks.placement`: messages times hops of our placement against row-major and random ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import hw_profiles
import netx_export
from benchmarks.random_centernet import SIZES, random_centernet
from hw_profiles.placement import Traffic, place, place_near, place_on
from hw_profiles.profile import Topology
from netx_export.command_line import print_table
from netx_export.errors import BasaltError
from netx_export.graph import Graph

RANDOM_TRIES = 20
CHIPS = ("loihi2", "loihi1-davies2018")


def main() -> None:
    """Place every network on every chip that holds it and print the sums."""
    rows = []
    for name, graph in networks():
        for chip in CHIPS:
            profile = hw_profiles.load(chip)
            try:
                mapping = hw_profiles.map(graph, profile)
            except BasaltError as error:
                print(f"{name} on {chip}: left out: {error}")
                continue
            if profile.topology is None:
                continue
            traffic = mapping.traffic
            start = time.perf_counter()
            ours = place_near(mapping.cores, profile.topology, traffic).weighted_hops(traffic)
            seconds = time.perf_counter() - start
            row_major = place(mapping.cores, profile.topology).weighted_hops(traffic)
            chance = random_hops(mapping.cores, profile.topology, traffic)
            ratio = f"{row_major / max(ours, 1):.1f}x"
            rows.append(
                (name, chip, f"{mapping.cores}", f"{chance:.0f}", f"{row_major}", f"{ours}", ratio, f"{seconds:.2f}")
            )
    print_table(("network", "chip", "cores", "random", "row-major", "ours", "row-major / ours", "s"), rows)


def random_hops(cores: int, topology: Topology, traffic: Traffic) -> float:
    """Mean over random placements on the same chips."""
    slots = -(-cores // topology.cores_per_chip) * topology.cores_per_chip
    rng = np.random.default_rng(0)
    tries = [
        place_on(rng.permutation(slots)[:cores].astype(np.int64), topology).weighted_hops(traffic)
        for _ in range(RANDOM_TRIES)
    ]
    return float(np.mean(tries))


def networks() -> Iterator[tuple[str, Graph]]:
    """The detector in its sizes, and PilotNet where the lava-dl wheel is installed."""
    for name, size in SIZES.items():
        yield f"CenterNet {name}", random_centernet(size)
    try:
        from lava.lib.dl import netx
    except ImportError:
        print("PilotNet left out: lava-dl is not installed")
        return
    path = Path(netx.__file__).parents[4] / "tests/lava/lib/dl/netx/gts/pilotnet_lif/network.net"
    yield "PilotNet LIF", netx_export.read(path, skip_layers=1)


if __name__ == "__main__":
    main()
