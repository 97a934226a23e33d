"""What a module's neurons and pools emit, recorded by module path, for comparison with an exported network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from netx_export.errors import ExportError


def record_spikes(
    module: nn.Module, inputs: npt.NDArray[np.uint8], paths: Iterable[str]
) -> tuple[dict[str, npt.NDArray[np.uint8]], dict[str, npt.NDArray[np.float32]]]:
    """Run `module` on inputs (T,B,C,H,W); the spikes of the named submodules, and its outputs, each (T,B,C,H,W).

    Raises ExportError for a path that is no submodule, and where one emits anything but 0 and 1.
    """
    recorded: dict[str, npt.NDArray[np.uint8]] = {}
    submodules = dict(module.named_modules())
    handles = []
    for path in paths:
        if path not in submodules:
            raise ExportError(
                f"Module path {path!r} does not exist in {type(module).__name__}; export the module again."
            )

        def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor, path: str = path) -> None:
            spikes = output.detach()
            if not bool(((spikes == 0) | (spikes == 1)).all()):
                raise ExportError(f"Module {path!r} emits values other than 0 and 1; only spikes can be compared.")
            recorded[path] = spikes.to(torch.uint8).numpy()

        handles.append(submodules[path].register_forward_hook(keep))
    try:
        with torch.no_grad():
            outputs = module(torch.from_numpy(inputs).to(torch.float32))
    finally:
        for handle in handles:
            handle.remove()
    return recorded, {name: value.numpy() for name, value in outputs.items()}
