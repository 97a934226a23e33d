"""The door to every backend: check what comes in, run, hand out a Trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from lava_runtime.trace import Trace
from netx_export.errors import RunError
from netx_export.graph import Graph, Input

BACKENDS: dict[str, str] = {
    "fast": "lava_runtime.fast_backend",
    "sim": "lava_runtime.lava_backend",
    "loihi2": "lava_runtime.loihi_backend",
}
"""Backend by name: the module that holds a class `Backend`. A new backend is one file and one line here."""

Inputs = Mapping[str, npt.NDArray[Any]]
"""Input population id -> (T,B,C,H,W) integers, uint8 or int32."""

Selection = tuple[str, ...] | str
"""Population ids, one id, or "all"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What a run records beyond spike counts and outputs: spike rasters and states u, v of the named populations."""

    rasters: Selection = ()
    states: Selection = ()

    def select(self, graph: Graph, kind: Literal["rasters", "states"]) -> tuple[str, ...]:
        """The population ids meant by `rasters` or `states`; RunError names one that does not exist."""
        asked = self.rasters if kind == "rasters" else self.states
        if asked == "all":
            return tuple(graph.by_id)
        if isinstance(asked, str):
            asked = (asked,)
        for name in asked:
            if name not in graph.by_id:
                raise RunError(
                    f"Probe on population {name!r}: the network has no such population; it has {', '.join(graph.by_id)}."
                )
        return tuple(asked)


class BackendProtocol(Protocol):
    """What a backend module's class `Backend` offers."""

    def __init__(self, **options: Any) -> None: ...

    def run(self, graph: Graph, inputs: Inputs, probes: Probes, *, progress: bool) -> Trace:
        """Run checked inputs; every backend returns the same Trace for the same graph and inputs."""
        ...


def check_inputs(
    graph: Graph, inputs: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Inputs as uint8 or int32 (T,B,C,H,W) by population id; RunError where shape or values do not fit the network."""
    if not isinstance(inputs, Mapping):
        if len(graph.inputs) != 1:
            raise RunError(
                f"The network has {len(graph.inputs)} inputs ({', '.join(p.id for p in graph.inputs)}); "
                "give a dictionary with one array for each."
            )
        inputs = {graph.inputs[0].id: inputs}
    unknown = sorted(set(inputs) - {population.id for population in graph.inputs})
    if unknown:
        raise RunError(
            f"Input {unknown[0]!r} does not exist; the network reads {', '.join(p.id for p in graph.inputs)}."
        )
    checked: dict[str, npt.NDArray[Any]] = {}
    for population in graph.inputs:
        if population.id not in inputs:
            raise RunError(
                f"Input {population.id!r} is missing; give an array (T,B,C,H,W) of shape (T,B,{population.shape})."
            )
        array = _numbers(population.id, inputs[population.id])
        if array.ndim != 5 or array.shape[2:] != population.shape:
            raise RunError(
                f"Input {population.id!r} has shape {array.shape}; the network reads (T,B,C,H,W) with "
                f"(C,H,W) = {population.shape}. Bin or pad the recording to that size."
            )
        if array.shape[0] < 1 or array.shape[1] < 1:
            raise RunError(
                f"Input {population.id!r} has shape {array.shape}; give at least one time step and one sample."
            )
        if isinstance(population.neuron, Input):
            checked[population.id] = _check_values(population.id, population.neuron.message_bits, array)
    lengths = {array.shape[:2] for array in checked.values()}
    if len(lengths) > 1:
        raise RunError(
            f"The inputs disagree on (T,B): {sorted(lengths)}; all inputs run for the same steps and samples."
        )
    return checked


def _numbers(name: str, given: Any) -> npt.NDArray[Any]:
    """`given` as an array of real numbers; RunError for what is none."""
    try:
        array = np.asarray(given)
    except (RuntimeError, TypeError, ValueError) as error:
        raise RunError(f"Input {name!r} is no array of numbers ({error}); give a NumPy array (T,B,C,H,W).") from None
    if array.ndim and array.dtype.kind not in "iubf":
        raise RunError(f"Input {name!r} has dtype {array.dtype}; give integers (T,B,C,H,W).")
    return array


def _check_values(name: str, message_bits: int, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind not in "iub" and not bool(np.all(np.isfinite(array) & (array == np.floor(array)))):
        raise RunError(
            f"Input {name!r} holds fractions; the network reads integers. Binarise or quantise the input first."
        )
    low, high = (0, 1) if message_bits == 0 else (-(1 << (message_bits - 1)), (1 << (message_bits - 1)) - 1)
    if array.size and (array.min() < low or array.max() > high):
        raise RunError(
            f"Input {name!r} reaches from {array.min()} to {array.max()}, the limit is {low}..{high}"
            + (": this input takes 0/1 spikes." if message_bits == 0 else f" ({message_bits} message bits).")
        )
    # Bytes stay bytes: widening a long recording would cost more memory than running it.
    kept = np.uint8 if array.dtype in (np.uint8, np.bool_) else np.int32
    return np.ascontiguousarray(array, dtype=kept)


def run(
    graph: Graph,
    inputs: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]],
    *,
    backend: str = "fast",
    probes: Probes | None = None,
    progress: bool = False,
    **options: Any,
) -> Trace:
    """Run `graph` on `inputs` (T,B,C,H,W), B samples back to back, and return the Trace.

    With timing 'as_given' every sample is a recording of its own: it starts from rest, with nothing under way.

    `backend` is a key of BACKENDS; `options` go to it (`sim`: models="compiled"|"stock").
    Raises RunError for inputs or probes that do not fit and BackendUnavailableError when the backend cannot run here.
    """
    probes = probes or Probes()
    made = ready(graph, backend=backend, probes=probes, **options)
    return made.run(graph, check_inputs(graph, inputs), probes, progress=progress)


def ready(graph: Graph, *, backend: str = "fast", probes: Probes | None = None, **options: Any) -> BackendProtocol:
    """The backend for `run`; raises what `run` would raise before it looks at inputs, so that nobody prepares them in vain."""
    if not isinstance(graph, Graph):
        raise RunError(
            f"A {type(graph).__name__} was given to run; give a Graph, as netx_export.read and export return it."
        )
    if backend not in BACKENDS:
        raise RunError(f"Backend {backend!r} does not exist; choose one of {', '.join(BACKENDS)}.")
    for kind in ("rasters", "states"):
        (probes or Probes()).select(graph, kind)
    made: BackendProtocol = import_module(BACKENDS[backend]).Backend(**options)
    return made
