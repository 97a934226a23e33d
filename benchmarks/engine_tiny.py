"""Speed of the compiled engine on a random Spiking CenterNet beside a dense float32 network in torch.

python -m benchmarks.engine_tiny --size tiny --threads 1 --rate 0.08 --batch 8
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import lava_runtime
from benchmarks.random_centernet import SIZES, STEPS, calibrate, event_input, random_centernet
from netx_export.graph import Conv, Graph, Input, Lif, Or, Projection

Convolve = Callable[[Projection, Any], Any]
"""A projection and the spikes of its source, upsampled, to currents in float32."""


def float32_convolutions(graph: Graph) -> Convolve:
    """torch's float32 convolutions."""
    import torch
    from torch.nn import functional

    weights = {
        id(p): torch.tensor(p.synapse.kernel.mantissa.astype(np.float32)).contiguous(memory_format=torch.channels_last)
        for p in graph.projections
        if isinstance(p.synapse, Conv)
    }

    def convolve(projection: Projection, x: Any) -> Any:
        conv = projection.synapse
        assert isinstance(conv, Conv)
        return functional.conv2d(x.float(), weights[id(projection)], stride=conv.stride, padding=conv.padding)

    return convolve


def dense_forward(
    graph: Graph, inputs: npt.NDArray[Any], threads: int, convolve: Convolve | None = None
) -> Callable[[], Any]:
    """The same layers as dense convolutions (float32 by default) and neuron updates in torch."""
    import torch
    from torch.nn import functional

    steps, samples = inputs.shape[:2]
    given = torch.tensor(inputs.astype(np.uint8)).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    apply = convolve or float32_convolutions(graph)

    def run() -> Any:
        values: dict[str, torch.Tensor] = {}
        for population in graph.populations:
            neuron = population.neuron
            if isinstance(neuron, Input):
                values[population.id] = given
                continue
            first = graph.incoming[population.id][0]
            if isinstance(neuron, Or):
                values[population.id] = functional.max_pool2d(values[first.src].float(), 3, 2, 1).to(torch.uint8)
                continue
            total: torch.Tensor | None = None
            for projection in graph.incoming[population.id]:
                conv = projection.synapse
                assert isinstance(conv, Conv)
                x = values[projection.src]
                if conv.upsample > 1:
                    x = functional.interpolate(x, scale_factor=conv.upsample)
                x = apply(projection, x)
                total = x if total is None else total + x
            assert total is not None
            if isinstance(neuron, Lif):
                current = total.reshape(steps, samples, *total.shape[1:])
                v = torch.zeros_like(current[0])
                spikes = []
                for t in range(steps):
                    v = v * 0.5 + current[t]
                    fired = v > neuron.vth_mant
                    v = v.masked_fill(fired, 0.0)
                    spikes.append(fired)
                total = torch.stack(spikes).flatten(0, 1).to(torch.uint8)
                total = total.contiguous(memory_format=torch.channels_last)
            values[population.id] = total
        return values

    def without_gradients() -> Any:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return run()

    return without_gradients


def best_of(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest round of each function, rounds interleaved."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def main() -> None:
    """Print one line of JSON with milliseconds per sample and rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.08)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-torch", action="store_true")
    options = parser.parse_args()
    size = SIZES[options.size]
    graph = calibrate(random_centernet(size), event_input(size, 1), options.rate)
    inputs = event_input(size, options.batch)
    trace = lava_runtime.run(graph, inputs, threads=options.threads)
    functions: dict[str, Callable[[], Any]] = {"fast": lambda: lava_runtime.run(graph, inputs, threads=options.threads)}
    if not options.no_torch:
        functions["torch float32"] = dense_forward(graph, inputs, options.threads)
        functions["torch float32"]()
    best = best_of(functions, options.rounds)
    synops = sum(trace.synops(graph).values()) / options.batch
    neurons = sum(trace.neuron_updates(graph).values()) / options.batch
    firing = trace.total_spikes(graph) / options.batch / neurons
    dense = sum(
        STEPS * int(p.fan_out(graph.by_id[p.src]).sum()) for p in graph.projections if isinstance(p.synapse, Conv)
    )
    seconds = best["fast"] / options.batch
    print(
        json.dumps(
            {
                "size": options.size,
                "threads": options.threads,
                "batch": options.batch,
                "million synops per sample": round(synops / 1e6, 2),
                "million dense MAC per sample": round(dense / 1e6, 1),
                "million neuron updates per sample": round(neurons / 1e6, 2),
                "firing": round(firing, 4),
                "ms per sample": {name: round(value / options.batch * 1e3, 2) for name, value in best.items()},
                "samples/s": round(1 / seconds, 1),
                "giga synops/s": round(synops / seconds / 1e9, 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
