"""`make bench`: ratios measured side by side in one run on this machine: a table, JSON, and a picture.

Every comparison takes turns and keeps the best turn of each, so that a machine that slows down slows both sides.
docs/performance.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

import lava_runtime
from benchmarks import engine_centernet, engine_density
from benchmarks.centernet_modules import module_forward, spikingjelly_forward
from benchmarks.engine_tiny import best_of
from benchmarks.lava_models import convolution, pilotnet
from benchmarks.picture import draw
from benchmarks.startup import first_run
from netx_export.command_line import print_table, provenance
from netx_export.files import replace_file

FOLDER = Path("runs/bench")
SECTIONS = ("lava", "centernet", "density", "start")
THREADS = 2
_MILLI = 1e3


def main() -> None:
    """Measure, print, write runs/bench/bench.json and bench.png."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=SECTIONS, help="(default: everything)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side (default: %(default)s)")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    if "start" in options.only:
        facts["start"] = first_run(FOLDER)
    if "lava" in options.only:
        rows += lava_rows(facts)
    if "centernet" in options.only:
        rows += centernet_rows(facts, options.rounds)
    if "density" in options.only:
        facts["density"] = engine_density.measure(rounds=options.rounds)
    report(rows, facts)


def lava_rows(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Lava's stock simulator against its processes with our models, one process, and the engine."""
    network, single = pilotnet(), convolution()
    facts["lava"] = [network, single]
    targets = {"compiled models": 20, "one process": 150, "fast, 1 thread": 300, "fast, 2 threads": 300}
    made = [
        row("PilotNet LIF, a step", network["ms_per_step"], "stock models", name, target)
        for name, target in targets.items()
    ]
    return [
        *made,
        row("convolution 64->64 at 64x48, a step", single["ms_per_step"], "stock models", "compiled models", 60),
    ]


def centernet_rows(facts: dict[str, Any], rounds: int) -> list[dict[str, Any]]:
    """The paper's detector in the engine, in dense float32 and int8, as it is trained, and in SpikingJelly."""
    graph, inputs = engine_centernet.centernet()
    measured = {
        threads: engine_centernet.measure(graph, inputs, threads=threads, rounds=rounds)
        | {"roofline": engine_centernet.roofline(threads)}
        for threads in (1, THREADS)
    }
    facts["centernet"] = list(measured.values())

    def engine(threads: int) -> Any:
        return lambda: lava_runtime.run(graph, inputs, threads=threads)

    ways = {
        "fast, 1 thread": engine(1),
        "fast, 2 threads": engine(THREADS),
        "trained module, torch": module_forward(inputs, THREADS),
    }
    jelly = spikingjelly_forward(inputs, THREADS)
    if jelly is not None:
        ways["SpikingJelly"] = jelly
    for work in ways.values():
        work()
    best = {name: seconds * _MILLI for name, seconds in best_of(ways, rounds).items()}
    facts["centernet_turns_ms"] = best
    rows = [
        row("SCN-R", found["ms"], slower, "engine", target, note=f"{threads} thread{'s' * (threads > 1)}")
        for threads, found in measured.items()
        for slower, target in (("float32", 7), ("int8", 1), ("int8 convolutions", None))
    ]
    rows.append(row("SCN-R", best, "fast, 1 thread", "fast, 2 threads", 1.8))
    rows += [row("SCN-R", best, name, "fast, 2 threads", 1) for name in best if not name.startswith("fast")]
    return rows


def row(
    what: str, milliseconds: dict[str, float], slower: str, faster: str, target: float | None, *, note: str = ""
) -> dict[str, Any]:
    """One comparison; `target` is the ratio that is asked for."""
    return {
        "what": f"{what}, {note}" if note else what,
        "slower": slower,
        "faster": faster,
        "slower_ms": milliseconds[slower],
        "faster_ms": milliseconds[faster],
        "ratio": milliseconds[slower] / milliseconds[faster],
        "target": target,
    }


def report(rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """Print tables, write JSON and picture."""
    if rows:
        print_table(
            ("", "slower", "ms", "faster", "ms", "ratio", "target"),
            [
                (
                    r["what"],
                    r["slower"],
                    f"{r['slower_ms']:.3g}",
                    r["faster"],
                    f"{r['faster_ms']:.3g}",
                    f"{r['ratio']:.1f}x",
                    f"{r['target']}x" if r["target"] else "-",
                )
                for r in rows
            ],
        )
    for found in facts.get("centernet", ()):
        print(
            f"SCN-R, {found['threads']} thread(s): {found['giga_synops_per_second']:.1f} G synops/s, "
            f"{found['synops'] / 1e9:.2f} G synops and {found['firing']:.1%} firing; this machine adds at most "
            f"{found['roofline']['rows']:.0f} G weights/s from lists and multiplies {found['roofline']['blocks']:.0f} G/s densely"
        )
    if "density" in facts:
        names = [name for name in facts["density"][0] if name != "rate"]
        print_table(
            ("firing", *(f"{name}, ms" for name in names)),
            [(f"{r['rate']:.1%}", *(f"{r[name]:.2f}" for name in names)) for r in facts["density"]],
        )
        worst = max(r["chosen"] / r["dense"] for r in facts["density"])
        print(f"slower than the dense path by at most {worst - 1:+.0%}")
    if "start" in facts:
        start = facts["start"]
        print(
            f"{start['what']}: import {start['import_s']:.2f} s, first run {start['first_run_s']:.2f} s, whole process "
            f"{start['process_s']:.2f} s, peak {start['peak_mb']:.0f} MB"
        )
    with replace_file(FOLDER / "bench.json") as temporary:
        content = {"machine": machine(), "provenance": provenance(), "rows": rows, **facts}
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    if rows and "density" in facts:
        found = machine()
        draw(rows, facts["density"], FOLDER / "bench.png", title=f"{found['processor']}, {found['cores']} cores")
    print(FOLDER / "bench.json")


def machine() -> dict[str, Any]:
    """What was measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in read_lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "numpy": np.__version__,
    }


def read_lines(path: str) -> list[str]:
    """Lines of a file, none where the system has no such file."""
    file = Path(path)
    return file.read_text().splitlines() if file.is_file() else []


if __name__ == "__main__":
    main()
