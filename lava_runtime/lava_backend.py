"""`sim`: the network as Lava processes in Lava's CPU simulator, pipelined, samples back to back.

Needs lava-nc (Python 3.10). `models="compiled"` runs this project's process models on compact processes,
`models="stock"` Lava's own models on Lava's own processes; the spikes are the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lava_runtime.lowering.lower import check_messages, lower_compact, lower_portable
from lava_runtime.simulation.lava_import import import_lava
from lava_runtime.simulation.run_record import RunRecord
from lava_runtime.simulation.sample_runs import run_samples
from lava_runtime.trace import Trace
from netx_export.errors import RunError
from netx_export.graph import Graph

if TYPE_CHECKING:
    from lava_runtime.backend import Inputs, Probes

MODELS = ("compiled", "stock")


class Backend:
    """Lava's CPU simulator. Options: `models` = "compiled" (this project's process models) or "stock" (Lava's own).

    Raises RunError for an unknown option and BackendUnavailableError where lava-nc cannot be imported.
    """

    def __init__(self, *, models: str = "compiled", **unknown: Any) -> None:
        if unknown:
            raise RunError(f"Backend 'sim' has no option {sorted(unknown)[0]!r}; it takes models.")
        if models not in MODELS:
            raise RunError(f"Backend 'sim' has no models {models!r}; choose one of {', '.join(MODELS)}.")
        import_lava("sim")
        self._models = models

    def run(self, graph: Graph, inputs: Inputs, probes: Probes, *, progress: bool) -> Trace:
        """Run `inputs` (T,B,C,H,W) by input population; see `lava_runtime.run`."""
        # Lava is imported here and not above, so that the other backends work without it.
        from lava_runtime.simulation.warm_up import compile_kernels

        compile_kernels()
        return run_samples(graph, inputs, lambda part: self._run_once(graph, part, probes, progress=progress))

    def _run_once(self, graph: Graph, inputs: Inputs, probes: Probes, *, progress: bool) -> Trace:
        from lava.magma.core.run_configs import Loihi2SimCfg

        from lava_runtime.simulation.assembly import assemble, source_frames
        from lava_runtime.simulation.run_config import CompiledSimCfg
        from lava_runtime.simulation.runner import run_network, termination_after_cleaning

        compiled = self._models == "compiled"
        with termination_after_cleaning(), tempfile.TemporaryDirectory(prefix="basalt-sim-") as folder:
            record = RunRecord(graph=graph, inputs=inputs, probes=probes, folder=Path(folder))
            lowered = (lower_compact if compiled else lower_portable)(graph, steps=record.schedule.steps)
            assembly = assemble(lowered, source_frames(graph, inputs), record.ledgers, self_recording=compiled)
            for head in assembly.heads:
                run_network(
                    head,
                    CompiledSimCfg() if compiled else Loihi2SimCfg(select_tag="fixed_pt"),
                    steps=record.schedule.hardware_steps,
                    counter=record.counter,
                    progress=progress,
                    what=f"sim ({self._models})",
                )
            if not compiled:
                check_messages(graph, record.largest_messages())
            return record.trace(backend="sim", meta={"models": self._models})
