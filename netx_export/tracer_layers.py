"""Does a module still do what its class promises? Subclasses with a forward of their own, and hooks."""

from __future__ import annotations

import torch
from torch import nn

from netx_export.errors import ExportError
from netx_export.tracer_neurons import USER_CODE_ERRORS

_ON_MAPS = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Upsample)


def check_hooks(module: nn.Module, what: str, example: torch.Tensor) -> None:
    """Raise ExportError where hooks of `module`, whose forward is not called as usual, could change what it does.

    Hooks before the forward may look at `example`; those that return something else, and all behind the forward, are refused.
    """
    keyword_hooks = module._forward_pre_hooks_with_kwargs
    changed = module._forward_hooks or any(
        number in keyword_hooks or hook(module, (example,)) is not None
        for number, hook in module._forward_pre_hooks.items()
    )
    if changed:
        raise ExportError(
            f"{what} ({type(module).__name__}) has forward hooks, which may change what it computes and do not travel to "
            "hardware; remove them before exporting."
        )


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def check_same_layer(layer: nn.Module, kind: type[nn.Module], example: torch.Tensor, path: str) -> None:
    """Raise ExportError where `layer`, a `kind` with a forward or hooks of its own, computes something else than a `kind`.

    Layers over time fold T and B around the forward they inherit: that is the same layer. Both are run on noise, because
    behind neurons the example of a trace holds zeros.
    """
    if getattr(layer.forward, "__func__", None) is kind.forward and not _has_hooks(layer):
        return
    noise = torch.rand(example.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    noise = noise.to(device=example.device, dtype=example.dtype)
    folded = noise.flatten(0, 1) if noise.ndim == 5 and issubclass(kind, _ON_MAPS) else noise
    try:
        found, expected = layer(noise), kind.forward(layer, folded)
        precision = torch.finfo(expected.dtype).eps ** 0.5
        same = found.numel() == expected.numel() and torch.allclose(
            found.reshape(expected.shape), expected, rtol=precision, atol=precision, equal_nan=True
        )
    except USER_CODE_ERRORS as error:
        raise ExportError(
            f"Module {path!r} ({type(layer).__name__}) could not be compared with {kind.__name__}, from which it derives: "
            f"{type(error).__name__}: {error}. Compose it of torch.nn's layers in an nn.Module of its own."
        ) from error
    if not same:
        raise ExportError(
            f"Module {path!r} ({type(layer).__name__}) derives from {kind.__name__} and computes something else: its own "
            "forward, or a hook, changes the result. The exporter takes the weights of the layer alone. Compose it of "
            "torch.nn's layers in an nn.Module of its own, or put what it adds into the weights."
        )
