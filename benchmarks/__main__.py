"""`make bench`: ratios measured side by side in one run on this machine, as a table and as JSON.

Every comparison interleaves its rounds and keeps the best of each, so that a machine that slows down slows both sides.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import lava_runtime
from benchmarks.engine_tiny import best_of, dense_forward
from benchmarks.random_centernet import SIZES, calibrate, event_input, random_centernet
from netx_export.command_line import print_table, provenance
from netx_export.files import replace_file

RESULT = Path("runs/bench/bench.json")
FIRING = 0.08
ROUNDS = 5
SIM_SAMPLES = 4


def main() -> None:
    """Measure, print, write runs/bench/bench.json."""
    size = SIZES["tiny"]
    graph = calibrate(random_centernet(size), event_input(size, 1), FIRING)
    rows: list[dict[str, Any]] = []

    inputs = event_input(size, 8)
    for threads in (1, 2):

        def fast(threads: int = threads) -> None:
            lava_runtime.run(graph, inputs, threads=threads)

        fast()
        dense = dense_forward(graph, inputs, threads)
        dense()
        best = best_of({"fast": fast, "torch float32, dense": dense}, ROUNDS)
        rows.append(row(f"tiny detector, batch 8, {threads} thread(s)", best, "torch float32, dense", "fast", 8))

    few = event_input(size, SIM_SAMPLES)

    def sim(models: str) -> None:
        lava_runtime.run(graph, few, backend="sim", models=models)

    def one_by_one() -> None:
        lava_runtime.run(graph, few, threads=1)

    one_by_one()
    best = best_of({"fast": one_by_one, "sim": lambda: sim("compiled"), "sim, stock models": lambda: sim("stock")}, 1)
    rows.append(row("tiny detector in Lava, start included", best, "sim, stock models", "sim", SIM_SAMPLES))
    rows.append(row("tiny detector, Lava against engine", best, "sim, stock models", "fast", SIM_SAMPLES))

    print_table(
        ("", "slower", "ms/sample", "faster", "ms/sample", "ratio"),
        [
            (
                r["what"],
                r["slower"],
                f"{r['slower_ms']:.2f}",
                r["faster"],
                f"{r['faster_ms']:.2f}",
                f"{r['ratio']:.1f}x",
            )
            for r in rows
        ],
    )
    with replace_file(RESULT) as temporary:
        temporary.write_text(
            json.dumps({"machine": machine(), "provenance": provenance(), "rows": rows}, indent=1) + "\n"
        )
    print(RESULT)


def row(what: str, best: dict[str, float], slower: str, faster: str, samples: int) -> dict[str, Any]:
    """One comparison, in milliseconds per sample."""
    return {
        "what": what,
        "slower": slower,
        "faster": faster,
        "slower_ms": best[slower] / samples * 1e3,
        "faster_ms": best[faster] / samples * 1e3,
        "ratio": best[slower] / best[faster],
    }


def machine() -> dict[str, Any]:
    """What was measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in read_lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform()}


def read_lines(path: str) -> list[str]:
    """Lines of a file, none where the system has no such file."""
    file = Path(path)
    return file.read_text().splitlines() if file.is_file() else []


if __name__ == "__main__":
    main()
