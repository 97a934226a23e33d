"""The passes up to a given one, for tests that look at a single pass."""

from __future__ import annotations

from typing import Any

from netx_export.passes.balance_delays import BalanceDelays
from netx_export.passes.check_binary import CheckBinary, CheckIdentities
from netx_export.passes.dissolve_linear import DissolveLinear
from netx_export.passes.fold_batch_norm import FoldBatchNorm
from netx_export.passes.merge_convolutions import MergeConvolutions
from netx_export.passes.pipeline import Pipeline
from netx_export.passes.pool_as_or import PoolAsOr
from netx_export.passes.unroll_residuals import UnrollResiduals
from netx_export.tracer import trace

ALL = (
    FoldBatchNorm(),
    MergeConvolutions(),
    PoolAsOr(),
    UnrollResiduals(),
    CheckBinary(),
    DissolveLinear(),
    CheckIdentities(),
    BalanceDelays(),
)


def up_to(name: str, module: Any, x: Any) -> tuple[Any, Any]:
    """(before, after) the pass `name` for `module` traced on `x`."""
    pipeline = Pipeline()
    graph: Any = pipeline.start("trace", trace(module, x))
    for step in ALL:
        before, graph = graph, pipeline.apply(step, graph)  # type: ignore[arg-type]
        if step.name == name:
            return before, graph
    raise ValueError(name)
