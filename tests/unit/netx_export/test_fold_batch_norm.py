"""Folding batch norm changes no spike, borders included."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from netx_export.errors import ExportError  # noqa: E402
from netx_export.float_graph import BatchNormNode, ConvNode, LinearNode, ScaleNode  # noqa: E402
from netx_export.passes.fold_batch_norm import FoldBatchNorm  # noqa: E402
from netx_export.tracer import trace  # noqa: E402
from tests.unit.netx_export.networks import (  # noqa: E402
    Conv,
    Function,
    Neuron,
    Norm,
    Up,
    events,
    skip_network,
    wake,
)
from tests.unit.netx_export.passes import up_to  # noqa: E402
from tests.unit.netx_export.same_function import assert_same  # noqa: E402

X = events((4, 2, 2, 7, 9))


def test_skip_network_keeps_its_function() -> None:
    x = events((4, 2, 2, 12, 12))
    before, after = up_to("fold batch norm", skip_network(), x)
    assert_same(before, after, x.numpy())
    assert not any(isinstance(node, BatchNormNode) for node in after.nodes)
    assert after.by_id["spike0"].source == "spike0"
    assert [n.source for n in after.nodes if isinstance(n, ConvNode)][:2] == ["conv0", "conv1"]


def test_a_shared_convolution_gets_a_folded_copy() -> None:
    def forward(m: Any, x: Any) -> Any:
        y = m.conv(x)
        return m.spike(m.norm(y)), m.other(y), m.third(m.norm2(m.norm(y)))

    module = wake(
        Function(
            forward,
            conv=Conv(2, 3, 3, padding=1),
            norm=Norm(3),
            norm2=Norm(3),
            spike=Neuron(),
            other=Neuron(),
            third=Neuron(),
        )
    )
    before, after = up_to("fold batch norm", module, X)
    assert_same(before, after, X.numpy())
    assert sum(isinstance(node, ConvNode) for node in after.nodes) == 3


def test_a_batch_norm_without_weights_before_it_becomes_depthwise() -> None:
    def forward(m: Any, x: Any) -> Any:
        s = m.spike(m.norm0(x))
        return m.last(m.norm2(m.up(m.norm1(s)) + m.up(s)))

    module = wake(
        Function(
            forward, norm0=Norm(2), spike=Neuron(), norm1=Norm(2), up=Up(scale_factor=2), norm2=Norm(2), last=Neuron()
        )
    )
    before, after = up_to("fold batch norm", module, X)
    assert_same(before, after, X.numpy())
    assert {n.groups for n in after.nodes if isinstance(n, ConvNode)} == {2}


def test_linear_layers_and_factors_fold_too() -> None:
    def forward(m: Any, x: Any) -> Any:
        return m.spike(m.norm(m.linear(x).flatten(0, 1) * 0.5).unflatten(0, x.shape[:2]))

    module = wake(Function(forward, linear=nn.Linear(6, 5), norm=nn.BatchNorm1d(5), spike=Neuron()))
    x = events((4, 3, 6))
    before, after = up_to("fold batch norm", module, x)
    assert_same(before, after, x.numpy()[..., None, None])
    assert not any(isinstance(node, ScaleNode) for node in after.nodes)
    assert [n.source for n in after.nodes if isinstance(n, LinearNode)] == ["linear"]


def test_what_it_ensures_is_checked() -> None:
    graph = trace(nn.Sequential(Conv(2, 3, 1), Norm(3)).eval(), X)
    with pytest.raises(
        ExportError, match="Pass 'fold batch norm' met the BatchNormNode '1'; it should have been folded"
    ):
        FoldBatchNorm().ensures(graph)
