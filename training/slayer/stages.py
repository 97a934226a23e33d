"""A trained SLAYER network beside its exported form: spikes of every block, and what the outputs are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from netx_export.graph import Graph, Readout
from netx_export.slayer.numbers import WEIGHT_SCALE
from netx_export.slayer.states import reset_states
from training.slayer.checkpoint import SlayerInfo
from training.slayer.recordings import hardware_input, with_silence

Arrays = dict[str, npt.NDArray[Any]]


def run_quantised(module: nn.Module, cubes: npt.NDArray[np.uint8], info: SlayerInfo, *, batch: int = 10) -> Arrays:
    """What SLAYER's quantised arithmetic gives for windows (T,B,C,H,W), at hardware's steps, (T+after,B,...) each.

    Keys are the populations of the exported network: spikes of every block (before its axonal delays), currents of
    readouts in units of 1/64. SLAYER's step t + 1 is hardware's step t; neurons have not shifted their output yet.
    """
    pieces: list[Arrays] = []
    module.eval()
    for start in range(0, cubes.shape[1], batch):
        with _recorded(module) as record, torch.no_grad():
            reset_states(module)
            returned = module(with_silence(cubes[:, start : start + batch], after=info.after))
            if isinstance(returned, dict):
                # The synapses alone are hooked before constants are added to them: what forward returns has both.
                record.update(returned)
        pieces.append({name: _frames(value) for name, value in record.items()})
    reset_states(module)
    return {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}


def _frames(value: Tensor) -> npt.NDArray[Any]:
    """(B,C,H,W,T) or (B,C,T) as (T,B,C,H,W), without the last step, which hardware does not run."""
    array = np.moveaxis(value.detach().numpy(), -1, 0)[:-1]
    return array.reshape(*array.shape[:3], *(array.shape[3:] or (1, 1)))


@contextmanager
def _recorded(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Record what the neurons of every block send, before the block shifts and delays it."""
    record: dict[str, Tensor] = {}
    handles = []
    for path, part in module.named_modules():
        if getattr(part, "recurrent_synapse", None) is not None:
            handles.append(part.register_forward_hook(_keep_shifted(record, path)))
        elif hasattr(part, "neuron") and hasattr(part, "synapse"):
            handles.append(part.neuron.register_forward_hook(_keep(record, path)))
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _keep(record: dict[str, Tensor], path: str) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(_: nn.Module, __: Any, sent: Tensor) -> None:
        record[path] = sent

    return hook


def _keep_shifted(record: dict[str, Tensor], path: str) -> Callable[[nn.Module, Any, Tensor], None]:
    """A recurrent block calls its neurons step by step; its output is theirs, one step later."""

    def hook(_: nn.Module, __: Any, sent: Tensor) -> None:
        record[path] = torch.cat([sent[..., 1:], torch.zeros_like(sent[..., :1])], -1)

    return hook


def slayer_record(module: nn.Module, graph: Graph, cubes: npt.NDArray[np.uint8], info: SlayerInfo) -> dict[str, Arrays]:
    """The record of `run_quantised` as a verification stage holds it: spikes, and readouts as integers."""
    found = run_quantised(module, cubes, info)
    readouts = {p.id for p in graph.populations if isinstance(p.neuron, Readout)}
    return {
        "spikes": {name: value.astype(np.uint8) for name, value in found.items() if name not in readouts},
        "readouts": {
            name: np.rint(value.astype(np.float64) * WEIGHT_SCALE).astype(np.int32)
            for name, value in found.items()
            if name in readouts
        },
    }


def exported_input(cubes: npt.NDArray[np.uint8], info: SlayerInfo) -> npt.NDArray[np.uint8]:
    """The same windows as the exported network takes them, (T+after,B,C,H,W)."""
    return hardware_input(cubes, after=info.after)
