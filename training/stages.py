"""What the training side contributes to an export's verification: the float module and its quantised twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from netx_export.graph import Graph, Lif, Or
from training.checkpoints.files import load_model
from training.quantised_twin import QuantisedTwin
from training.spike_recording import record_spikes

Arrays = dict[str, npt.NDArray[Any]]


class TrainingStages:
    """Spikes and readouts of a checkpoint's forms on the same inputs uint8 (T,B,C,H,W), by population id.

    Each record has the entries `spikes` and `readouts`, (T,B,C,H,W) each, at training's timing.
    """

    def __init__(self, checkpoint: Path, inputs: npt.NDArray[np.uint8]) -> None:
        self._module, _ = load_model(checkpoint)
        self._inputs = inputs

    def float_record(self, graph: Graph) -> dict[str, Arrays]:
        """The float module, recorded at the module paths that the populations of `graph` came from."""
        paths = {p.id: p.source for p in graph.populations if isinstance(p.neuron, Lif | Or) and p.source}
        recorded, outputs = record_spikes(self._module, self._inputs, paths.values())
        return {"spikes": {name: recorded[path] for name, path in paths.items()}, "readouts": outputs}

    def twin_record(self, graph: Graph) -> dict[str, Arrays]:
        """The quantised twin of `graph`."""
        sent = QuantisedTwin(graph)(torch.from_numpy(self._inputs))
        spiking = {p.id for p in graph.populations if isinstance(p.neuron, Lif | Or)}
        return {
            "spikes": {name: array.numpy() for name, array in sent.items() if name in spiking},
            "readouts": {name: array.numpy() for name, array in sent.items() if name not in spiking},
        }

    def twin_states(self, graph: Graph, population: str) -> dict[str, Any]:
        """u and v of one population of the twin; empty where it has none."""
        if not isinstance(graph.by_id[population].neuron, Lif):
            return {}
        u, v = QuantisedTwin(graph).states(torch.from_numpy(self._inputs), population)
        return {"u": {population: u.numpy()}, "v": {population: v.numpy()}}
