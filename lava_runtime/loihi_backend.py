"""`loihi2`: the network on a Loihi 2 board, through the Lava extension that Intel gives to its research community.

**This backend has never run on a board.** The extension cannot be installed here; the tests run it against a stand-in
package that bears the published names and checks the calls and their arguments. Names and meanings are those of lava-nc
0.10.0 and of the published lava-dl and lava-dnf examples.
"""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lava_runtime.lowering.lower import check_messages, lower_portable
from lava_runtime.simulation.lava_import import import_lava
from lava_runtime.simulation.run_record import RunRecord
from lava_runtime.simulation.sample_runs import run_samples
from lava_runtime.trace import Trace
from netx_export.errors import BackendUnavailableError, RunError
from netx_export.graph import Graph

if TYPE_CHECKING:
    from lava_runtime.backend import Inputs, Probes

EXTENSION_MODULES = ("lava.utils.loihi2_profiler", "lava.proc.embedded_io.spike")
"""What the extension adds to the `lava` namespace and this backend needs."""

POWER_FIELDS = ("total_power", "vdd_power", "vddm_power", "vddio_power")
STATIC_FIELDS = ("static_total_power", "static_vdd_power", "static_vddm_power", "static_vddio_power")
CORE_FIELDS = ("syn_ops", "dendrite_updates", "axon_out", "spikes_in")


class Backend:
    """Loihi 2. Options: `partition` or `board` of a SLURM cluster, or `host_address` of a board on the network.

    Without any of them Lava's own environment variables decide. The profilers' results are in `trace.meta["loihi2"]`, JSON.
    Raises BackendUnavailableError where lava-nc or the extension is missing, RunError for unknown options.
    """

    def __init__(
        self,
        *,
        partition: str | None = None,
        board: str | None = None,
        host_address: str | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise RunError(
                f"Backend 'loihi2' has no option {sorted(unknown)[0]!r}; it takes partition, board or host_address."
            )
        given = [name for name in (partition, board, host_address) if name is not None]
        if len(given) > 1:
            raise RunError(
                f"Backend 'loihi2' was given {len(given)} places to run ({', '.join(given)}); name one: a partition, a "
                "board or a host_address."
            )
        import_lava("loihi2")
        _check_extension()
        _choose_host(partition, board, host_address)

    def run(self, graph: Graph, inputs: Inputs, probes: Probes, *, progress: bool) -> Trace:
        """Run `inputs` (T,B,C,H,W) by input population on the board; see `lava_runtime.run`."""
        if probes.select(graph, "states"):
            raise RunError(
                f"Backend 'loihi2' records no states, but u and v of {', '.join(probes.select(graph, 'states'))} were asked "
                "for; leave out the state probes, or run sim, which computes the same integers."
            )
        return run_samples(graph, inputs, lambda part: self._run_once(graph, part, probes, progress=progress))

    def _run_once(self, graph: Graph, inputs: Inputs, probes: Probes, *, progress: bool) -> Trace:
        # Lava is imported here and not above, so that the other backends work without it.
        from lava.magma.core.run_configs import Loihi2HwCfg
        from lava.utils import loihi2_profiler

        from lava_runtime.simulation.assembly import assemble, board_edges, source_frames
        from lava_runtime.simulation.runner import run_network, termination_after_cleaning

        with termination_after_cleaning(), tempfile.TemporaryDirectory(prefix="basalt-loihi2-") as folder:
            record = RunRecord(graph=graph, inputs=inputs, probes=probes, folder=Path(folder))
            steps = record.schedule.hardware_steps
            lowered = lower_portable(graph, steps=record.schedule.steps)
            assembly = assemble(
                lowered, source_frames(graph, inputs), record.ledgers, self_recording=False, edges=board_edges()
            )
            if len(assembly.heads) > 1:
                raise RunError(
                    f"The network falls into {len(assembly.heads)} parts that are not connected; a board runs one at a "
                    "time: export them one by one."
                )
            profilers = {
                "power": loihi2_profiler.Loihi2Power(num_steps=steps),
                "time": loihi2_profiler.Loihi2ExecutionTime(),
                "memory": loihi2_profiler.Loihi2Memory(),
                "activity": loihi2_profiler.Loihi2Activity(),
            }
            run_network(
                assembly.heads[0],
                Loihi2HwCfg(select_tag="fixed_pt", callback_fxs=list(profilers.values())),
                steps=steps,
                counter=record.counter,
                progress=progress,
                what="loihi2",
            )
            check_messages(graph, record.largest_messages())
            measured = read_profilers(profilers, steps_per_sample=record.schedule.steps)
            return record.trace(backend="loihi2", meta={"loihi2": json.dumps(measured, sort_keys=True)})


def _check_extension() -> None:
    from lava.utils import loihi

    missing = [name for name in EXTENSION_MODULES if not _is_there(name)]
    if missing or not loihi.is_installed():
        raise BackendUnavailableError(
            f"Backend 'loihi2' needs the Lava extension for Loihi, of which {', '.join(missing or EXTENSION_MODULES[:1])} "
            "is not installed here. Members of Intel's neuromorphic research community get it from Intel; "
            "the sim and fast backends compute the same spikes without it."
        )


def _is_there(module: str) -> bool:
    """True where `module` can be found; a missing parent package is no error but an answer."""
    package = module.rpartition(".")[0]
    return (package == "lava" or _is_there(package)) and find_spec(module) is not None


def _choose_host(partition: str | None, board: str | None, host_address: str | None) -> None:
    from lava.utils import loihi

    if host_address is not None:
        loihi.use_ethernet_host(host_address=host_address)
    elif partition is not None or board is not None:
        loihi.use_slurm_host(partition=partition, board=board)


def read_profilers(profilers: dict[str, Any], *, steps_per_sample: int) -> dict[str, Any]:
    """What the profilers measured: mean power in W, time per step in us, energy per sample in J, counters per core.

    rate = 1e6 / (avg_time_per_step * steps_per_sample) samples/s; energy = mean(total power) / rate, the dynamic part
    without the static power. On a board of several chips the static power is that of all of them.
    """
    power, clock = profilers["power"], profilers["time"]
    mean = {name: float(np.mean(getattr(power, name))) for name in POWER_FIELDS}
    static = {name: float(np.mean(getattr(power, name))) for name in STATIC_FIELDS}
    step_us = float(clock.avg_time_per_step)
    seconds = step_us * steps_per_sample * 1e-6
    activity = profilers["activity"]
    return {
        "power_w": {**mean, **static},
        "avg_time_per_step_us": step_us,
        "energy_per_sample_j": mean["total_power"] * seconds,
        "dynamic_energy_per_sample_j": (mean["total_power"] - static["static_total_power"]) * seconds,
        "total_mpds": np.asarray(profilers["memory"].total_mpds).tolist(),
        "cores": {name: np.asarray(getattr(activity, name)).tolist() for name in CORE_FIELDS},
    }
