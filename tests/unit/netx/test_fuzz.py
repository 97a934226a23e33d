"""Files with random bytes changed: the same graph, another valid graph, or NetxError; nothing else, ever."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import netx_export
from netx_export.errors import NetxError
from netx_export.graph import Conv, Graph, Input, Kernel, Lif, Population, Projection
from tests.unit.netx.networks import branched, foreign


def ours(path: Path) -> None:
    netx_export.write(branched(), path)


def plain(path: Path) -> None:
    kernel = Kernel(mantissa=np.arange(8).reshape(2, 1, 2, 2))
    populations = (
        Population(id="in", shape=(1, 3, 3), neuron=Input()),
        Population(id="a", shape=(2, 2, 2), neuron=Lif(vth_mant=9)),
    )
    projection = Projection(src="in", dst="a", synapse=Conv(kernel=kernel))
    netx_export.write(Graph(populations=populations, projections=(projection,)), path)


def theirs(path: Path) -> None:
    foreign(path)


@pytest.mark.parametrize(("make", "seeds"), [(ours, 40), (plain, 30), (theirs, 30)])
def test_random_bytes(make: object, seeds: int, tmp_path: Path) -> None:
    path = tmp_path / "x.net"
    assert callable(make)
    make(path)
    whole = path.read_bytes()
    digest = netx_export.read(path).digest
    outcomes: Counter[str] = Counter()
    # Where the bytes of the structures lie; half of the changes go there.
    structures = [at for sign in (b"TREE", b"SNOD", b"HEAP", b"OHDR", b"GCOL") for at in positions(whole, sign)]
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 5))):
            near = int(rng.choice(structures)) + int(rng.integers(0, 64))
            place = near if rng.random() < 0.5 else int(rng.integers(len(data)))
            data[min(place, len(data) - 1)] = int(rng.integers(256))
        path.write_bytes(data)
        outcomes[outcome(path, digest)] += 1
    print(dict(outcomes))
    if make is not theirs:
        # Our own files carry a checksum.
        assert outcomes["another graph"] == 0
    assert outcomes["refused"] > 0
    assert set(outcomes) <= {"refused", "same", "another graph"}


def outcome(path: Path, digest: str) -> str:
    try:
        found = netx_export.read(path).digest
    except NetxError as error:
        return "refused" if str(error).startswith(str(path)) else f"a message without the path: {error}"
    return "same" if found == digest else "another graph"


def positions(data: bytes, sign: bytes) -> list[int]:
    found, at = [], data.find(sign)
    while at >= 0:
        found.append(at)
        at = data.find(sign, at + 1)
    return found
