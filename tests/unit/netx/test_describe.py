"""The table of a network in NetX's columns."""

from __future__ import annotations

from pathlib import Path

import netx_export
from netx_export.netx.describe import HEADER, describe, describe_file
from tests.unit.netx.networks import branched, sequential


def test_a_sequential_network(tmp_path: Path) -> None:
    netx_export.write(sequential(), tmp_path / "x.net")
    rows = describe_file(tmp_path / "x.net")
    assert rows == describe(sequential())
    # Stride (2,1), padding (1,0) and dilation (2,1) are (vertical, horizontal); lava-dl prints x first.
    assert rows == [
        f"        {HEADER} neuron",
        "layer 0 |Input     |    7|    9|    2|     |     |     |     |     |    0| 0/1 spikes",
        "layer 1 |Conv      |    5|    5|    4| 3, 3| 1, 2| 0, 1| 1, 1|    1|    0| "
        "LIF vThMant 90 iDecay 4096 vDecay 300 bias -5..8 << 6",
        "layer 2 |Conv      |    7|    3|    6| 3, 2| 1, 1| 2, 0| 1, 2|    2|    0| "
        "LIF vThMant 600 iDecay 1001 vDecay 500 bias -9..9 << 7; weights << 2",
        "layer 3 |Dense     |    2|    2|    3|     |     |     |     |     |    0| "
        "LIF vThMant 300 iDecay 2001 vDecay 100 bias 0..128 << 0; weights << 1",
        "layer 4 |Dense     |    1|    1|    5|     |     |     |     |     |    0| LIF vThMant 100 iDecay 4096 vDecay 0",
        "5 populations, 243 neurons, 4 projections, 1716 weights, timing aligned, 6 steps per sample",
    ]


def test_a_network_with_branches() -> None:
    text = "\n".join(describe(branched()))
    for part in (
        "9-bit messages",
        "| OR",
        "|Conv up2  |",
        "|OneToOne  |",
        "    1| the same neurons; from encoder.a, weights << 7",
        "from encoder.a, channels 1..2, weights << 3",
        "readout bias -2147483648..2147483647",
        "timing aligned, 5 steps per sample",
    ):
        assert part in text
    shared = sum(
        k.mantissa.size for k in {id(p.synapse.kernel): p.synapse.kernel for p in branched().projections}.values()
    )
    assert f"7 projections, {shared} weights" in text
