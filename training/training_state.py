"""What a training run is between two updates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training.flat_parameters import FlatParameters
from training.models.spiking_centernet import SpikingCenterNet


@dataclass(slots=True)
class TrainingState:
    """A run between two updates: network, flat parameters, optimiser, and one row of COLUMNS per update done."""

    module: SpikingCenterNet
    flat: FlatParameters
    optimiser: torch.optim.AdamW
    history: npt.NDArray[np.float64]

    @property
    def updates(self) -> int:
        """Updates done."""
        return len(self.history)
