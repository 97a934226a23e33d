"""What SLAYER's neurons carry from one recording to the next, and how to make them forget it."""

from __future__ import annotations

import torch
from torch import nn


def reset_states(module: nn.Module) -> None:
    """Forget what SLAYER's neurons and delays carry from one recording to the next (recurrent blocks always carry)."""
    for part in module.modules():
        for name in ("current_state", "voltage_state", "real_state", "imag_state", "spike_state"):
            state = getattr(part, name, None)
            if isinstance(state, torch.Tensor):
                setattr(part, name, torch.zeros(1, dtype=state.dtype, device=state.device))
        for name in ("pre_state", "residual_state", "error_state"):
            state = getattr(part, name, None)
            if isinstance(state, torch.Tensor):
                setattr(part, name, torch.zeros(1, dtype=state.dtype, device=state.device))
        if hasattr(part, "delay_buffer"):
            setattr(part, "delay_buffer", None)  # noqa: B010 - an attribute that lava-dl makes on the way
