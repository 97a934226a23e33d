"""The run configuration that puts this project's compiled models in the place of Lava's.

process.run(condition=RunSteps(num_steps=100), run_cfg=CompiledSimCfg())
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.lif.process import LIF, LIFReset, TernaryLIF
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import Delta, Sigma, SigmaDelta
from lava.proc.sparse.process import DelaySparse, Sparse

from lava_runtime.lava import neuron_models, synapse_models
from lava_runtime.lava.processes import FanIn
from lava_runtime.lava.project_models import fan_in_model
from lava_runtime.simulation.warm_up import compile_kernels

COMPILED_MODELS: dict[type, type] = {
    Conv: synapse_models.PyConvModelCompiled,
    Dense: synapse_models.PyDenseModelCompiled,
    DelayDense: synapse_models.PyDelayDenseModelCompiled,
    Sparse: synapse_models.PySparseModelCompiled,
    DelaySparse: synapse_models.PyDelaySparseModelCompiled,
    LIF: neuron_models.PyLifModelCompiled,
    LIFReset: neuron_models.PyLifResetModelCompiled,
    TernaryLIF: neuron_models.PyTernaryLifModelCompiled,
    RF: neuron_models.PyRfModelCompiled,
    RF_IZ: neuron_models.PyRfIzModelCompiled,
    Sigma: neuron_models.PySigmaModelCompiled,
    Delta: neuron_models.PyDeltaModelCompiled,
    SigmaDelta: neuron_models.PySigmaDeltaModelCompiled,
}
"""This project's models of Lava's processes, for `exception_proc_model_map` of a run configuration of one's own."""

_SCALARS = ("vth", "du", "dv", "sin_decay", "cos_decay")
"""Vars that may hold a value for each neuron in Lava's models, and hold one for all in the compiled ones."""


class CompiledSimCfg(Loihi2SimCfg):
    """Lava's CPU simulator with this project's models wherever there is one, Lava's fixed-point models elsewhere.

    Any network of `lava.proc` or lava-dl's `netx.hdf5.Network` runs under it as it is and sends the same integers. The
    kernels are compiled here (from the cache after the first time), before Lava starts its processes. Neurons with a
    threshold or decay each (LIF(vth=array)) keep Lava's model: the compiled ones take one value for all.
    `exceptions` adds models of the caller's own, by process class.
    """

    def __init__(self, exceptions: dict[type, type] | None = None) -> None:
        super().__init__(select_tag="fixed_pt", exception_proc_model_map={**COMPILED_MODELS, **(exceptions or {})})
        self._own = exceptions or {}
        self._stock = Loihi2SimCfg(select_tag="fixed_pt")
        compile_kernels()

    def select(self, proc: Any, proc_models: list[type]) -> type:
        """The model of `proc`; a FanIn gets one with as many ports as it has."""
        if isinstance(proc, FanIn):
            return fan_in_model(len(proc.proc_params["sources"]))
        config: Any = super()
        if type(proc) in COMPILED_MODELS and type(proc) not in self._own and _differ(proc):
            config = self._stock
            proc_models = [model for model in proc_models if model not in COMPILED_MODELS.values()]
        chosen: type = config.select(proc, proc_models)
        return chosen


def _differ(proc: Any) -> bool:
    """True where the neurons of `proc` have parameters of their own."""
    return any(np.size(getattr(proc, name).init) > 1 for name in _SCALARS if hasattr(proc, name))
