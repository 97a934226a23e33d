"""Lava's CPU simulator with its own models, with this project's, and with a whole network in one process.

All variants are started first and then take turns, a few time steps each, in one run: starting is not part of the
figures. Outputs are compared. python -m benchmarks.lava_models
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import lava_runtime
import netx_export
from lava_runtime.simulation.lava_import import import_lava
from netx_export.errors import NotInstalledError
from netx_export.graph import Graph

FIRING = 0.1
"""Share of the convolution's source neurons that spike in each step."""

CHANNEL_SLOTS = 2
"""Messages that a Lava channel holds, the same for all variants: with Lava's default of 64 each visits 64 places."""


CONVOLUTIONS = 6
"""Layers of PilotNet up to its last convolution, the input among them."""

WARM_UP = 3
"""Steps before the first turn."""


@dataclass(kw_only=True)
class Variant:
    """One network in Lava: `steps` time steps a turn."""

    name: str
    process: Any
    sink: Any
    config: Any
    steps: int
    best: float = float("inf")

    def start(self, warm_up: int) -> None:
        """Start the processes and run the first steps, which fill the pipeline."""
        self.process.create_runtime(run_cfg=self.config, compile_config={"pypy_channel_size": CHANNEL_SLOTS})
        self._run(warm_up)

    def stop(self) -> None:
        """End its processes."""
        self.process.stop()

    def turn(self) -> None:
        """One turn; keeps the seconds per step of the best."""
        begin = time.perf_counter()
        self._run(self.steps)
        self.best = min(self.best, (time.perf_counter() - begin) / self.steps)

    def _run(self, steps: int) -> None:
        from lava.magma.core.run_conditions import RunSteps

        self.process.run(condition=RunSteps(num_steps=steps))


@dataclass(kw_only=True)
class EngineVariant:
    """The `fast` backend on the same frames, without Lava: `steps` time steps a turn."""

    name: str
    graph: Graph
    frames: npt.NDArray[np.int32]
    threads: int
    best: float = float("inf")

    def start(self, warm_up: int) -> None:
        """Plan the network and load kernels."""
        lava_runtime.run(self.graph, self.frames, threads=self.threads)

    def turn(self) -> None:
        """One turn; keeps the seconds per step of the best."""
        begin = time.perf_counter()
        lava_runtime.run(self.graph, self.frames, threads=self.threads)
        self.best = min(self.best, (time.perf_counter() - begin) / len(self.frames))

    def stop(self) -> None:
        """Nothing runs between turns."""


def pilotnet_path() -> Path:
    """The PilotNet LIF network in the lava-dl wheel; NotInstalledError where lava-dl is missing."""
    found = find_spec("lava.lib.dl.netx") if find_spec("lava") is not None else None
    if found is None or found.origin is None:
        raise NotInstalledError("PilotNet comes with lava-dl; install the extra: pip install -e .[slayer]")
    # Beside lava/ in site-packages; this repository has a package of the same name, so it cannot be imported.
    tests = Path(found.origin).parents[4] / "tests"
    return tests / "lava" / "lib" / "dl" / "netx" / "gts" / "pilotnet_lif" / "network.net"


def pilotnet(rounds: int = 3, stock_steps: int = 3, own_steps: int = 150) -> dict[str, Any]:
    """PilotNet LIF, its input population included: lava-dl's own loader under both configurations, and one process."""
    import_lava("sim")
    from lava.lib.dl import netx
    from lava.magma.core.run_configs import Loihi2SimCfg

    from lava_runtime.simulation import CompiledSimCfg, NetworkProcess

    path = pilotnet_path()
    image = np.load(path.parent / "image.npy").astype(np.int32)

    def variants(layers: int | None, room: int) -> list[Variant]:
        def loaded() -> tuple[Any, Any]:
            network = netx.hdf5.Network(net_config=str(path), num_layers=layers)
            return network.in_layer.neuron.a_in, network.out

        whole = NetworkProcess(netx_export.read(path, num_layers=layers))
        stock, ours = Loihi2SimCfg(select_tag="fixed_pt"), CompiledSimCfg()
        return [
            _variant("stock models", image, *loaded(), config=stock, steps=stock_steps, room=room),
            _variant("compiled models", image, *loaded(), config=ours, steps=own_steps, room=room),
            _variant("one process", image, whole.inp, whole.out, config=ours, steps=own_steps, room=room),
        ]

    graph = netx_export.read(path)
    frame = image.reshape(graph.inputs[0].shape[::-1]).transpose(2, 1, 0)
    frames = np.broadcast_to(frame, (own_steps, 1, *frame.shape)).copy()
    engine = [
        EngineVariant(name=f"fast, {n} thread{'s' * (n > 1)}", graph=graph, frames=frames, threads=n) for n in (1, 2)
    ]
    # The last layer integrates and never spikes, so the spikes compared are those of the last convolution.
    compared = _compare(variants(CONVOLUTIONS, CONVOLUTIONS + 2), CONVOLUTIONS + 2)
    return {"what": "PilotNet LIF, 10 layers", **compared, **_measure([*variants(None, 4), *engine], rounds)}


def convolution(rounds: int = 3, stock_steps: int = 2, own_steps: int = 150) -> dict[str, Any]:
    """One 64->64 3x3 convolution at 64x48, a tenth of its source spiking."""
    import_lava("sim")
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.conv.process import Conv

    from lava_runtime.simulation import CompiledSimCfg

    rng = np.random.default_rng(0)
    frame = (rng.random((64, 48, 64)) < FIRING).astype(np.int32)
    weight = rng.integers(-128, 128, (64, 3, 3, 64))

    def variants() -> list[Variant]:
        made = [Conv(weight=weight, input_shape=frame.shape, padding=(1, 1)) for _ in range(2)]
        stock, ours = Loihi2SimCfg(select_tag="fixed_pt"), CompiledSimCfg()
        return [
            _variant("stock models", frame, made[0].s_in, made[0].a_out, config=stock, steps=stock_steps, room=2),
            _variant("compiled models", frame, made[1].s_in, made[1].a_out, config=ours, steps=own_steps, room=2),
        ]

    return {
        "what": f"convolution 64->64 3x3 at 64x48, {FIRING:.0%} spikes",
        **_compare(variants(), 2),
        **_measure(variants(), rounds),
    }


def _variant(
    name: str, frame: npt.NDArray[np.int32], into: Any, out: Any, *, config: Any, steps: int, room: int
) -> Variant:
    """The network between `into` and `out`, fed with the same frame in each step; a sink keeps the last `room` steps."""
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    source = Source(data=frame[..., None])
    sink = Sink(shape=out.shape, buffer=room)
    source.s_out.connect(into)
    out.connect(sink.a_in)
    return Variant(name=name, process=source, sink=sink, config=config, steps=steps)


def _compare(variants: list[Variant], steps: int) -> dict[str, Any]:
    """Whether all variants send the same from the first step on, and how many messages that are."""
    records = []
    for variant in variants:
        try:
            variant.start(steps)
            records.append(variant.sink.data.get().reshape(-1, steps))
        finally:
            variant.stop()
    return {
        "same_outputs": all(bool((record == records[0]).all()) for record in records),
        "messages_compared": int(np.count_nonzero(records[0])),
    }


def _measure(variants: Sequence[Variant | EngineVariant], rounds: int) -> dict[str, Any]:
    """Milliseconds per step of the best of `rounds` turns, the variants taking turns."""
    try:
        for variant in variants:
            variant.start(WARM_UP)
        for _ in range(rounds):
            for variant in variants:
                variant.turn()
    finally:
        for variant in variants:
            variant.stop()
    stock = variants[0].best
    return {
        "ms_per_step": {variant.name: variant.best * 1e3 for variant in variants},
        "ratio_to_stock": {variant.name: stock / variant.best for variant in variants[1:]},
    }


def lava_rows(rounds: int = 3) -> list[dict[str, Any]]:
    """Both comparisons as plain dictionaries."""
    return [pilotnet(rounds), convolution(rounds)]


MEASURES: dict[str, Callable[[int], dict[str, Any]]] = {"pilotnet": pilotnet, "convolution": convolution}


def main() -> None:
    """Print one JSON object per comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=MEASURES)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name, measure in MEASURES.items():
        if options.only in (None, name):
            print(json.dumps(measure(options.rounds), indent=1), flush=True)


if __name__ == "__main__":
    main()
