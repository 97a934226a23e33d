"""Forward passes that people run today: the trained, unmerged module in torch, and SpikingJelly's of the same layers.

Both are inference in float32 on dense maps; weights are fresh ones, which costs the same as trained ones.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


def module_forward(inputs: npt.NDArray[Any], threads: int, *, preset: str = "full") -> Callable[[], Any]:
    """This project's SpikingCenterNet as it is trained: batch norms, depthwise and pointwise layers, PLIF neurons."""
    import torch

    from training.config import preset as settings
    from training.models.spiking_centernet import SpikingCenterNet

    torch.manual_seed(0)
    module = SpikingCenterNet(settings(preset).model).eval()
    return _forward(module, inputs, threads)


def spikingjelly_forward(inputs: npt.NDArray[Any], threads: int, *, preset: str = "full") -> Callable[[], Any] | None:
    """The same layers with SpikingJelly's multi-step ParametricLIFNode; None where SpikingJelly is not installed."""
    import torch

    from training.config import preset as settings
    from training.models.spiking_centernet import SpikingCenterNet
    from training.neurons import Plif

    try:
        # It prints on import when CUDA or data set tools are missing.
        with contextlib.redirect_stdout(io.StringIO()):
            from spikingjelly.activation_based import functional, neuron
    except ImportError:
        return None
    torch.manual_seed(0)
    module = SpikingCenterNet(settings(preset).model).eval()
    for path, part in list(module.named_modules()):
        if isinstance(part, Plif):
            holder, _, name = path.rpartition(".")
            node = neuron.ParametricLIFNode(init_tau=2.0, detach_reset=True, step_mode="m")
            setattr(module.get_submodule(holder), name, node.eval())
    run = _forward(module, inputs, threads)

    def reset_and_run() -> Any:
        functional.reset_net(module)
        return run()

    return reset_and_run


def _forward(module: Any, inputs: npt.NDArray[Any], threads: int) -> Callable[[], Any]:
    import torch

    given = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))

    def run() -> Any:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return module(given)

    return run
