"""Time of one convolution population against the firing rate of its source: chosen way, lists alone, dense alone.

python -m benchmarks.engine_density
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import lava_runtime
from benchmarks.engine_tiny import best_of
from netx_export.graph import Conv, Graph, Input, Kernel, Lif, Population, Projection, Readout
from netx_export.graph.fixedpoint import VTH_MANT_MAX

RATES = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
ROUNDS = 7
STEPS = 5


def layer(channels: int, height: int, width: int, *, seed: int = 0, convolved: bool = True) -> Graph:
    """A 3x3 convolution from `channels` to as many LIF neurons per pixel; a readout of one channel keeps them inside.

    With `convolved` False the readout reads the input: what is left is the cost of the input itself.
    """
    mantissa = np.random.default_rng(seed).integers(-127, 128, (channels, channels, 3, 3), dtype=np.int16)
    conv = Conv(kernel=Kernel(mantissa=mantissa), padding=(1, 1))
    point = Conv(kernel=Kernel(mantissa=mantissa[:1, :, :1, :1]))
    given = Population(id="in", shape=(channels, height, width), neuron=Input())
    out = Population(id="out", shape=(1, height, width), neuron=Readout())
    if not convolved:
        only = Projection(src="in", dst="out", synapse=point)
        return Graph(populations=(given, out), projections=(only,), steps=STEPS)
    hidden = Population(id="hidden", shape=(channels, height, width), neuron=Lif(vth_mant=VTH_MANT_MAX, dv=2048))
    return Graph(
        populations=(given, hidden, out),
        projections=(
            Projection(src="in", dst="hidden", synapse=conv),
            Projection(src="hidden", dst="out", synapse=point),
        ),
        steps=STEPS,
    )


@contextmanager
def only(way: str) -> Iterator[None]:
    """The engine computes every row from lists (`lists`), densely (`dense`), or as it likes (`chosen`)."""
    from lava_runtime.engine import tiling

    chosen = tiling.event_rows
    if way != "chosen":
        tiling.event_rows = lambda population, *_: np.full(population.shape[1], way == "lists")
    try:
        yield
    finally:
        tiling.event_rows = chosen


def measure(
    channels: int = 256, height: int = 64, width: int = 80, *, threads: int = 1, rounds: int = ROUNDS
) -> list[dict[str, Any]]:
    """One row per rate: milliseconds of the layer as the engine chooses, from lists and dense; torch's convolution alone.

    What the input costs by itself, `input`, is measured in the same turns and taken off the three.
    """
    import torch

    torch.set_num_threads(threads)
    graph, bare = layer(channels, height, width), layer(channels, height, width, convolved=False)
    weights = torch.tensor(graph.projections[0].synapse.kernel.mantissa.astype(np.float32))  # type: ignore[union-attr]
    rows = []
    for rate in RATES:
        rng = np.random.default_rng(1)
        inputs = (rng.random((STEPS, 1, channels, height, width)) < rate).astype(np.uint8)
        given = torch.tensor(inputs[:, 0].astype(np.float32)).contiguous(memory_format=torch.channels_last)

        def run(way: str, inputs: Any = inputs) -> Callable[[], None]:
            def work() -> None:
                with only(way):
                    lava_runtime.run(graph, inputs, threads=threads)

            work()
            return work

        def convolve(given: Any = given) -> None:
            with torch.inference_mode():
                torch.nn.functional.conv2d(given, weights, padding=1)

        functions: dict[str, Callable[[], Any]] = {way: run(way) for way in ("chosen", "lists", "dense")}

        def encode(inputs: Any = inputs) -> None:
            lava_runtime.run(bare, inputs, threads=threads)

        encode()
        best = best_of({**functions, "float32 convolution": convolve, "input": encode}, rounds)
        own = {way: (best[way] - best["input"]) * 1e3 for way in functions}
        others = {name: best[name] * 1e3 for name in ("float32 convolution", "input")}
        rows.append({"rate": rate, **own, **others})
    return rows


def main() -> None:
    """Print one line of JSON per rate."""
    for row in measure():
        print(json.dumps({name: round(value, 4) for name, value in row.items()}))


if __name__ == "__main__":
    main()
