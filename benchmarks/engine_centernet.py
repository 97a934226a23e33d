"""The paper's detector (SCN-R, random weights, calibrated firing) in the engine, beside dense networks and the machine.

python -m benchmarks.engine_centernet
Every function returns plain dictionaries; rounds of what is compared are interleaved and the best of each counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

import lava_runtime
from benchmarks.engine_tiny import Convolve, best_of, dense_forward
from benchmarks.random_centernet import SIZES, STEPS, calibrate, event_input, random_centernet
from netx_export.graph import Conv, Graph, Lif, Projection

FIRING = 0.1
ROUNDS = 7
_ROOF_ROWS = 4000


def centernet(rate: float = FIRING) -> tuple[Graph, npt.NDArray[Any]]:
    """The network with every population firing near `rate`, and its input of one sample; a minute of calibration."""
    size = SIZES["full"]
    inputs = event_input(size, 1, rate=rate)
    return calibrate(random_centernet(size), inputs, rate), inputs.astype(np.uint8)


def dense_macs(graph: Graph) -> int:
    """Multiply-adds of the convolutions of one sample, borders counted, pooling left out."""
    return sum(
        STEPS * int(p.fan_out(graph.by_id[p.src]).sum())
        for p in graph.projections
        if isinstance(graph.by_id[p.dst].neuron, Lif)
    )


def int8_convolutions(graph: Graph, samples: int, threads: int) -> Callable[[], Any]:
    """All convolutions of `graph` in oneDNN with u8 spikes and s8 weights, exact, float32 output, no neurons.

    Uses a private operator of torch 2.3; RuntimeError or AttributeError where torch lacks it.
    """
    import torch

    torch.set_num_threads(threads)
    # Not part of torch's typed surface.
    operators: Any = vars(torch)["ops"].onednn
    layers = []
    for projection in graph.projections:
        conv, source = projection.synapse, graph.by_id[projection.src]
        if not isinstance(conv, Conv) or conv.groups > 1:
            continue
        channels, height, width = source.shape
        up = conv.upsample
        given = (torch.rand(STEPS * samples, channels, height * up, width * up) < FIRING).to(torch.uint8)
        given = given.contiguous(memory_format=torch.channels_last)
        weights = torch.tensor(conv.kernel.mantissa.astype(np.int8))
        outputs = weights.shape[0]
        ones, zeros = torch.ones(outputs), torch.zeros(outputs, dtype=torch.int32)
        geometry = (list(conv.stride), list(conv.padding), list(conv.dilation), 1)
        packed = operators.qconv_prepack(weights, ones, 1.0, 0, *geometry, list(given.shape))
        layers.append((given, packed, ones, zeros, geometry))

    def run() -> None:
        with torch.inference_mode():
            for given, packed, ones, zeros, geometry in layers:
                operators.qconv2d_pointwise(
                    given, 1.0, 0, packed, ones, zeros, None, *geometry, 1.0, 0, torch.float32, "none", [], ""
                )

    run()
    return run


def int8_layers(graph: Graph, samples: int) -> Convolve:
    """The convolutions of `graph` one by one in oneDNN, u8 spikes and s8 weights, exact, float32 output.

    With `dense_forward`, an int8 simulator of the whole network. Uses the same private operator.
    """
    import torch

    operators: Any = getattr(torch, "ops").onednn  # noqa: B009 - torch does not declare it
    prepared = {}
    for projection in graph.projections:
        conv, source = projection.synapse, graph.by_id[projection.src]
        if not isinstance(conv, Conv) or conv.groups > 1:
            continue
        channels, height, width = source.shape
        shape = [STEPS * samples, channels, height * conv.upsample, width * conv.upsample]
        weights = torch.tensor(conv.kernel.mantissa.astype(np.int8))
        ones, zeros = torch.ones(len(weights)), torch.zeros(len(weights), dtype=torch.int32)
        geometry = (list(conv.stride), list(conv.padding), list(conv.dilation), 1)
        packed = operators.qconv_prepack(weights, ones, 1.0, 0, *geometry, shape)
        prepared[id(projection)] = (packed, ones, zeros, geometry)

    def convolve(projection: Projection, x: Any) -> Any:
        packed, ones, zeros, geometry = prepared[id(projection)]
        rest: tuple[Any, ...] = (1.0, 0, torch.float32, "none", [], "")
        return operators.qconv2d_pointwise(x, 1.0, 0, packed, ones, zeros, None, *geometry, *rest)

    return convolve


def measure(graph: Graph, inputs: npt.NDArray[Any], *, threads: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Milliseconds per sample of the engine, of float32 convolutions with neurons, of int8 convolutions alone."""
    samples = inputs.shape[1]

    def engine() -> None:
        lava_runtime.run(graph, inputs, threads=threads)

    engine()
    functions: dict[str, Callable[[], Any]] = {
        "engine": engine,
        "float32": dense_forward(graph, inputs.astype(np.int32), threads),
        "int8": dense_forward(graph, inputs, threads, int8_layers(graph, samples)),
        "int8 convolutions": int8_convolutions(graph, samples, threads),
    }
    functions["float32"]()
    functions["int8"]()
    best = best_of(functions, rounds)
    trace = lava_runtime.run(graph, inputs, threads=threads)
    synops = sum(trace.synops(graph).values())
    return {
        "threads": threads,
        "samples": samples,
        "ms": {name: seconds / samples * 1e3 for name, seconds in best.items()},
        "synops": synops // samples,
        "dense_macs": dense_macs(graph),
        "giga_synops_per_second": synops / best["engine"] / 1e9,
        "float32_ratio": best["float32"] / best["engine"],
        "int8_ratio": best["int8"] / best["engine"],
        "int8_convolutions_ratio": best["int8 convolutions"] / best["engine"],
        "firing": trace.total_spikes(graph) / sum(trace.neuron_updates(graph).values()),
    }


def roofline(threads: int, rounds: int = ROUNDS) -> dict[str, float]:
    """What this machine can do at most, everything in the first-level cache, `threads` at once.

    `rows`: G synops/s of adding packed weight rows; `blocks`: G multiply-adds/s of dense sums.
    """
    import numba

    from lava_runtime.engine.dense_sums import (
        BLOCK,
        DEPTH,
        ROWS,
        STEP,
        TILES,
        configure_tiles,
        dense_kind,
        dots_5,
        release_tiles,
        tile_shape,
        tiles_5,
    )
    from lava_runtime.engine.synapse_kernels import add_plain
    from lava_runtime.engine.vector_sums import LANES, pack_rows

    kind = dense_kind()

    @numba.njit(nogil=True)
    def rows_kernel(weights: Any, length: int, rows: Any, count: int, total: Any, times: int) -> None:
        for _ in range(times):
            add_plain(weights, 0, length, rows, count, total)

    @numba.njit(nogil=True)
    def block_kernel(shape: int, steps: int, count: int, weights: int, out: int, times: int) -> None:
        if kind == TILES:
            configure_tiles(shape)
        for _ in range(times):
            if kind == TILES:
                tiles_5(steps, 0, count, 0, weights, out)
            else:
                dots_5(steps, 0, count, 0, weights, out, ROWS)
        if kind == TILES:
            release_tiles()

    rng = np.random.default_rng(0)
    packed = pack_rows(rng.integers(-127, 128, (256, 64)).astype(np.int16))
    rows = rng.integers(0, 256, _ROOF_ROWS + LANES).astype(np.int32)
    blocks, times = 9, 400
    weights = rng.integers(-127, 128, blocks * BLOCK).astype(np.int8)
    source = np.zeros(5 * ROWS * DEPTH * 2 + blocks * DEPTH, np.uint8)
    steps = np.array([[0, ROWS * DEPTH, DEPTH, n * BLOCK, DEPTH] for n in range(blocks)], np.int64)
    steps[:, 0] = source.ctypes.data
    shape = tile_shape(ROWS)

    def add_rows() -> None:
        rows_kernel(packed.reshape(-1), packed.shape[1], rows, _ROOF_ROWS, np.empty(64, np.int32), times)

    def add_blocks() -> None:
        out = np.empty(5 * ROWS * ROWS, np.int32)
        addresses = shape.ctypes.data, steps.ctypes.data, blocks, weights.ctypes.data, out.ctypes.data
        block_kernel(*addresses, times * 20)

    if steps.shape[1] != STEP:
        raise ValueError(f"a step has {STEP} numbers, the benchmark gives {steps.shape[1]}")
    with ThreadPoolExecutor(threads) as pool:

        def everywhere(work: Callable[[], None]) -> None:
            for done in [pool.submit(work) for _ in range(threads)]:
                done.result()

        everywhere(add_rows)
        everywhere(add_blocks)
        best = best_of({"rows": lambda: everywhere(add_rows), "blocks": lambda: everywhere(add_blocks)}, rounds)
    synops = threads * times * _ROOF_ROWS * 64
    macs = threads * times * 20 * blocks * 5 * ROWS * BLOCK
    return {"rows": synops / best["rows"] / 1e9, "blocks": macs / best["blocks"] / 1e9}


def main() -> None:
    """Print JSON: one and two threads."""
    graph, inputs = centernet()
    found = [measure(graph, inputs, threads=threads) | {"roofline": roofline(threads)} for threads in (1, 2)]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
