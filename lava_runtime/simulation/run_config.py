"""The run configuration that puts this project's compiled models in the place of Lava's.

process.run(condition=RunSteps(num_steps=100), run_cfg=CompiledSimCfg())
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import Any

from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.process import Sparse

from lava_runtime.lava.models import (
    PyConvModelCompiled,
    PyDenseModelCompiled,
    PyLifModelCompiled,
    PyLifResetModelCompiled,
    PySparseModelCompiled,
    fan_in_model,
)
from lava_runtime.lava.processes import FanIn

COMPILED_MODELS: dict[type, type] = {
    Conv: PyConvModelCompiled,
    Dense: PyDenseModelCompiled,
    Sparse: PySparseModelCompiled,
    LIF: PyLifModelCompiled,
    LIFReset: PyLifResetModelCompiled,
}
"""This project's models of Lava's processes, for `exception_proc_model_map` of a run configuration."""


class CompiledSimCfg(Loihi2SimCfg):
    """Lava's CPU simulator with this project's models wherever there is one, Lava's fixed-point models elsewhere."""

    def __init__(self) -> None:
        super().__init__(select_tag="fixed_pt", exception_proc_model_map=dict(COMPILED_MODELS))

    def select(self, proc: Any, proc_models: list[type]) -> type:
        """The model of `proc`; a FanIn gets one with as many ports as it has."""
        if isinstance(proc, FanIn):
            return fan_in_model(len(proc.proc_params["sources"]))
        chosen: type = super().select(proc, proc_models)
        return chosen
