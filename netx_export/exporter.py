"""From a torch module to an integer Graph, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netx_export.errors import ExportError
from netx_export.float_graph import FloatArray, FloatGraph
from netx_export.graph import Graph
from netx_export.passes.balance_delays import BalanceDelays
from netx_export.passes.check_binary import CheckBinary, CheckIdentities
from netx_export.passes.dissolve_linear import DissolveLinear
from netx_export.passes.fold_batch_norm import FoldBatchNorm
from netx_export.passes.merge_convolutions import MergeConvolutions
from netx_export.passes.pipeline import Pipeline, SameFunction, Stage
from netx_export.passes.pool_as_or import PoolAsOr
from netx_export.passes.quantise import Quantise
from netx_export.passes.units import Rounding
from netx_export.passes.unroll_residuals import UnrollResiduals
from netx_export.projection_graph import ProjectionGraph

TRACED = "trace"
"""Name of the stage before the first pass."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Export:
    """An exported network and what it was on the way: every stage by the name of the pass that made it, in order.

    `traced` still is the torch module operation by operation; `folded` is the last float stage, whose populations and
    projections are those of `graph`.
    """

    graph: Graph
    traced: FloatGraph
    folded: ProjectionGraph
    stages: Mapping[str, Stage]


def export(
    module: Any,
    example: Any,
    *,
    steps: int | None = None,
    relays: bool = False,
    meta: Mapping[str, str] | None = None,
    check: bool = False,
    input_bits: int = 0,
    rounding: Rounding = "maximum",
) -> Graph:
    """Trace the torch `module` on `example` and make it an integer Graph with balanced delays.

    A network of lava-dl's SLAYER blocks keeps the timing it was trained with (`as_given`): see `export_slayer`.

    example     (T,B,C,H,W), or (B,C,H,W) for modules called step by step; (T,B,N) or (B,N) for linear networks.
                SLAYER networks take (B,C,H,W,T) or (B,C,T), as in training.
    steps       T of one sample; by default that of the example.
    relays      insert relay populations where a skip needs a delay beyond 62 steps, instead of refusing.
    meta        provenance, kept in the graph: versions, command line, task.
    check       run every float stage on the example and stop at the pass that changed the function.
    input_bits  0 for 0/1 events, else the width of integer input, sign included.
    rounding    scales by the largest weight ("maximum") or by least squared error ("mse").

    Raises ExportError or NotBinaryError for what has no spiking form, QuantisationError for numbers that do not fit; each
    names the module, the value, the limit and the remedy. Needs torch.
    """
    # Torch is needed to trace only: everything else that deals with graphs works without it.
    from netx_export.slayer.tracer import export_slayer, holds_blocks

    if holds_blocks(module):
        return export_slayer(module, example, steps=steps, meta=meta, input_bits=input_bits)
    return export_with_stages(
        module,
        example,
        steps=steps,
        relays=relays,
        meta=meta,
        check=check,
        input_bits=input_bits,
        rounding=rounding,
    ).graph


def export_with_stages(
    module: Any,
    example: Any,
    *,
    steps: int | None = None,
    relays: bool = False,
    meta: Mapping[str, str] | None = None,
    check: bool = False,
    input_bits: int = 0,
    rounding: Rounding = "maximum",
) -> Export:
    """As `export`, with the float stages for verification."""
    from netx_export import tracer
    from netx_export.slayer.tracer import holds_blocks

    if holds_blocks(module):
        raise ExportError(
            f"{type(module).__name__} holds SLAYER blocks, whose arithmetic is integer from the start: it has no float stages. "
            "Use export."
        )
    comparison = SameFunction(inputs=_samples(example), expected=tracer.record(module, example)) if check else None
    pipeline = Pipeline(check=comparison)
    traced = pipeline.start(TRACED, tracer.trace(module, example, input_bits=input_bits))
    nodes = pipeline.apply(FoldBatchNorm(), traced)
    nodes = pipeline.apply(MergeConvolutions(), nodes)
    nodes = pipeline.apply(PoolAsOr(), nodes)
    nodes = pipeline.apply(UnrollResiduals(), nodes)
    nodes = pipeline.apply(CheckBinary(), nodes)
    dissolved = pipeline.apply(DissolveLinear(), nodes)
    dissolved = pipeline.apply(CheckIdentities(), dissolved)
    folded = pipeline.apply(BalanceDelays(relays=relays), dissolved)
    count = steps if steps is not None else _steps(np.shape(example))
    graph = pipeline.apply(Quantise(steps=count, rounding=rounding, meta=dict(meta or {})), folded)
    return Export(graph=graph, traced=traced, folded=folded, stages=dict(pipeline.stages))


def _steps(shape: tuple[int, ...]) -> int:
    """T of an example; one for a module that is called step by step."""
    return int(shape[0]) if len(shape) in (3, 5) else 1


def _samples(example: Any) -> FloatArray:
    """The example as (T,B,C,H,W) float64."""
    array = np.asarray(example.detach().cpu() if hasattr(example, "detach") else example, np.float64)
    return array[..., None, None] if array.ndim == 3 else array


__all__ = ["Export", "export", "export_with_stages"]
