"""`make reports`: reports of known networks into runs/reports/. docs/reports.md says how to read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import hw_profiles
import netx_export
from benchmarks.random_centernet import SIZES, calibrate, event_input, random_centernet
from hw_profiles.calibration import load_measurement
from hw_profiles.probes import CoreProbe
from lava_runtime import Probes
from lava_runtime.streaming import Summary, stream
from netx_export.graph import Graph

OUT = Path("runs/reports")
FIRING = 0.08
PILOTNET_STEPS = 16


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with input (T,B,C,H,W), the boards it is priced on, and what a reader must know."""

    name: str
    title: str
    graph: Graph
    inputs: npt.NDArray[np.int32]
    boards: tuple[tuple[str, str | None], ...]
    notes: tuple[str, ...] = ()
    measured: str | None = None


def pilotnet() -> Subject | None:
    """PilotNet LIF as it comes in the wheel of lava-dl, on the image beside it; None without lava-dl."""
    try:
        folder = Path(str(distribution("lava-dl").locate_file("tests/lava/lib/dl/netx/gts/pilotnet_lif")))
    except PackageNotFoundError:
        return None
    # (W,H,C), as the host's transform leaves it; the board was measured on samples of 16 steps.
    image = np.load(folder / "image.npy").transpose(2, 1, 0).astype(np.int32)
    return Subject(
        name="pilotnet-lif",
        title="PilotNet LIF, from the wheel of lava-dl",
        graph=netx_export.read(folder / "network.net"),
        inputs=np.broadcast_to(image, (PILOTNET_STEPS, 1, *image.shape)).copy(),
        boards=(
            ("loihi1-fitted", "Kapoho Bay"),
            ("loihi1-davies2018", "Kapoho Bay"),
            ("loihi2", "Oheo Gulch"),
            ("algorithmic-45nm", None),
        ),
        notes=(
            f"One inference: the image that comes with the network, presented in each of {PILOTNET_STEPS} steps. What the "
            "host does to it, and the way from host to chip, are not modelled.",
        ),
        measured="pilotnet-lif",
    )


def scn_r() -> Subject:
    """The Spiking CenterNet of the paper's size; its calibrated thresholds are kept in runs/reports."""
    size, kept = SIZES["full"], OUT / "scn-r.net"
    if kept.is_file():
        graph = netx_export.read(kept)
    else:
        graph = calibrate(random_centernet(size), event_input(size, 1), FIRING, progress=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        netx_export.write(graph, kept)
    return Subject(
        name="scn-r",
        title="Spiking CenterNet of the paper's size (scn-r), random weights",
        graph=graph,
        inputs=event_input(size, 1),
        boards=(("loihi2", "Hala Point"), ("algorithmic-45nm", None)),
        notes=(
            "Random weights: nobody has trained this network here. Thresholds are set so that every population fires near "
            f"{FIRING:.0%} of its neurons in a step, and the input is random events. Counts and energies show what a "
            "network of this size and activity takes; there is nothing to detect.",
        ),
    )


SUBJECTS: dict[str, Callable[[], Subject | None]] = {
    "pilotnet-lif": pilotnet,
    "scn-r": scn_r,
}
"""A network more is one function and one line here."""


def write(subject: Subject, out: Path) -> tuple[Path, ...]:
    """Run `subject` sample by sample, probe and price it on every board, write its report."""
    graph = subject.graph
    mapped: list[tuple[Any, Any, CoreProbe | None]] = []
    for name, board in tqdm(subject.boards, desc=f"{subject.name}: mapping"):
        profile = hw_profiles.load(name, board=board)
        mapping = hw_profiles.map(graph, profile)
        mapped.append((profile, mapping, CoreProbe(mapping) if mapping.placement is not None else None))
    summary = Summary(graph)
    batches = [subject.inputs[:, sample : sample + 1] for sample in range(subject.inputs.shape[1])]
    traces = stream(graph, batches, probes=Probes(rasters="all"))
    for trace in tqdm(traces, desc=f"{subject.name}: running", total=len(batches)):
        summary.add(trace)
        for _, _, probe in mapped:
            if probe is not None:
                probe.add(trace)
    measured = None if subject.measured is None else load_measurement(subject.measured)
    reports = [
        hw_profiles.report(
            summary.trace(),
            mapping,
            profile,
            probed=None if probe is None else probe.finish(),
            measured=measured,
            title=subject.title,
            notes=subject.notes,
        )
        for profile, mapping, probe in tqdm(mapped, desc=f"{subject.name}: pricing")
    ]
    return hw_profiles.write_report(reports, out)


def main() -> None:
    """Write every report that can be made here."""
    for name, make in SUBJECTS.items():
        subject = make()
        if subject is None:
            print(f"{name}: left out, it comes in the wheel of lava-dl, which is not installed (make install)")
            continue
        print(write(subject, OUT / name)[2])


if __name__ == "__main__":
    main()
