"""A detector of 16x16 pixels with its task, and recordings for it: small enough for whole data sets in a test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from netx_export.graph import Conv, Graph, Input, Kernel, Lif, Population, Projection, Readout
from training.config import DetectorTask
from training.event_files import BOX_DTYPE, EVENT_DTYPE, write_boxes, write_dat

TASK = DetectorTask(steps=5, step_us=2_000, scale=1, grid=(16, 16), sensor=(16, 16))
"""Windows of 10 ms."""


def detector(seed: int = 0) -> Graph:
    """Input (4,16,16), 16 neurons per 4x4 patch, and the three heads."""
    rng = np.random.default_rng(seed)

    def conv(src: str, dst: str, out: int, size: int) -> Projection:
        inputs = 4 if src == "input" else 16
        mantissa = rng.integers(-40, 60, (out, inputs, size, size)).astype(np.int16)
        return Projection(
            src=src, dst=dst, synapse=Conv(kernel=Kernel(mantissa=mantissa, exponent=0), stride=(size, size))
        )

    heads = [Population(id=name, shape=(2, 4, 4), neuron=Readout(unit=0.01)) for name in ("heatmap", "offset", "size")]
    return Graph(
        populations=(
            Population(id="input", shape=(4, 16, 16), neuron=Input()),
            Population(id="stem", shape=(16, 4, 4), neuron=Lif(vth_mant=60, du=4095, dv=512)),
            *heads,
        ),
        projections=(conv("input", "stem", 16, 4), *(conv("stem", head.id, 2, 1) for head in heads)),
        meta={"task": json.dumps(TASK.to_json())},
    )


def events(duration_us: int, seed: int) -> np.ndarray:
    """Ten thousand random events per second, EVENT_DTYPE."""
    rng = np.random.default_rng(seed)
    found = np.zeros(max(4, duration_us // 100), EVENT_DTYPE)
    found["t"] = np.sort(rng.integers(0, duration_us, found.size))
    found["x"], found["y"] = rng.integers(0, 16, found.size), rng.integers(0, 16, found.size)
    found["p"] = rng.integers(0, 2, found.size)
    return found


def write_recordings(folder: Path, count: int, *, duration_us: int = 400_000, boxes: bool = False) -> list[Path]:
    """`a_td.dat`, `b_td.dat`, ... with boxes every 10 ms on request."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{chr(ord('a') + number)}_td.dat" for number in range(count)]
    for seed, path in enumerate(paths):
        write_dat(path, events(duration_us, seed), (16, 16))
        if boxes:
            table = np.zeros(duration_us // 10_000 - 1, BOX_DTYPE)
            table["t"] = np.arange(1, table.size + 1) * 10_000
            table["x"], table["y"], table["w"], table["h"] = 2, 3, 8, 7
            write_boxes(path.with_name(path.name.replace("_td.dat", "_bbox.npy")), table)
    return paths
