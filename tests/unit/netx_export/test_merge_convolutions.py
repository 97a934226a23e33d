"""Merging convolutions is exact everywhere or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from netx_export.errors import ExportError  # noqa: E402
from netx_export.float_graph import ConvNode, FloatGraph, InputNode, OutputNode, conv_output_shape  # noqa: E402
from netx_export.float_run import float_run  # noqa: E402
from netx_export.passes.merge_convolutions import MergeConvolutions, dense_weight, merge, upsampled  # noqa: E402
from netx_export.tracer import trace  # noqa: E402
from tests.unit.netx_export.networks import Conv, Neuron, Norm, events, skip_network, wake  # noqa: E402
from tests.unit.netx_export.passes import up_to  # noqa: E402
from tests.unit.netx_export.same_function import assert_same  # noqa: E402

X = events((4, 2, 2, 7, 9))


def test_depthwise_and_pointwise_become_one_dense_kernel_with_a_plain_bias() -> None:
    x = events((4, 2, 2, 12, 12))
    before, after = up_to("merge convolutions", skip_network(), x)
    assert_same(before, after, x.numpy())
    merged = next(node for node in after.nodes if isinstance(node, ConvNode) and node.source == "project")
    assert merged.weight.shape == (7, 10, 3, 3)
    assert merged.groups == 1
    # The shift of the batch norm between them is added after the zero padding: the same everywhere.
    assert merged.bias is not None
    assert merged.bias.shape == (7,)


def test_a_bias_before_padding_becomes_one_number_per_neuron() -> None:
    module = wake(nn.Sequential(Conv(2, 5, 1), Norm(5), Conv(5, 3, 3, padding=1), Norm(3), Neuron()))
    before, after = up_to("merge convolutions", module, X)
    assert_same(before, after, X.numpy())
    (conv,) = (node for node in after.nodes if isinstance(node, ConvNode))
    assert conv.bias is not None
    assert conv.bias.shape == (3, 7, 9)
    np.testing.assert_allclose(conv.bias[:, 2:-2, 2:-2], np.broadcast_to(conv.bias[:, 3:4, 4:5], (3, 3, 5)), atol=1e-12)
    assert abs(conv.bias[0, 0, 0] - conv.bias[0, 3, 4]) > 1e-3


def test_three_convolutions_and_two_linear_layers_merge() -> None:
    module = wake(nn.Sequential(Conv(2, 4, 3, padding=1), Conv(4, 4, 1), Conv(4, 3, 3, stride=2), Neuron()))
    before, after = up_to("merge convolutions", module, X)
    assert_same(before, after, X.numpy())
    assert sum(isinstance(node, ConvNode) for node in after.nodes) == 1
    linear = wake(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4, bias=False), nn.Linear(4, 7), Neuron()))
    x = events((4, 2, 6))
    before, after = up_to("merge convolutions", linear, x)
    assert_same(before, after, x.numpy()[..., None, None])
    assert len(after.nodes) == 4


def test_two_padded_kernels_are_refused() -> None:
    module = nn.Sequential(Conv(2, 4, 3, padding=1), Conv(4, 3, 3, padding=1), Neuron())
    with pytest.raises(
        ExportError,
        match=r"Convolution '1' reads real-valued currents of '0'.*cannot be merged exactly: padding \(1, 1\) of the second reaches "
        r"beyond.*Put a spiking neuron after '0', or set padding=0 in '1'",
    ):
        up_to("merge convolutions", module, X)


def test_batch_norm_must_be_folded_first() -> None:
    with pytest.raises(ExportError, match="met the BatchNormNode '1'; fold batch norm first"):
        MergeConvolutions().requires(trace(nn.Sequential(Conv(2, 3, 1), Norm(3)).eval(), X))


@st.composite
def pairs(draw: Any) -> tuple[ConvNode, ConvNode, Any]:
    """Two convolutions in a row and an input for them."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = (4, draw(st.integers(5, 9)), draw(st.integers(5, 9)))
    built: list[ConvNode] = []
    source = "input"
    for name, upsample in (("a", draw(st.sampled_from([1, 1, 2]))), ("b", draw(st.sampled_from([1, 1, 2])))):
        kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        groups = draw(st.sampled_from([1, 2, 4]))
        options: dict[str, Any] = {
            "stride": (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
            "padding": (draw(st.integers(0, 1)), draw(st.integers(0, 1))),
            "dilation": (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
            "upsample": upsample,
        }
        weight = rng.normal(size=(4, 4 // groups, *kernel))
        target = conv_output_shape(weight, shape, **options)
        if min(target) < 1:
            options |= {"stride": (1, 1), "padding": (2, 2), "dilation": (1, 1)}
            target = conv_output_shape(weight, shape, **options)
        bias = draw(st.sampled_from([None, rng.normal(size=4), rng.normal(size=target)]))
        built.append(
            ConvNode(
                id=name, shape=target, source=name, inputs=(source,), weight=weight, bias=bias, groups=groups, **options
            )
        )
        source, shape = name, target
    frames = rng.integers(0, 2, size=(1, 2, *_input_shape(built[0]))).astype(np.float64)
    return built[0], built[1], frames


def _input_shape(conv: ConvNode) -> tuple[int, int, int]:
    extents = []
    for axis in range(2):
        span = conv.dilation[axis] * (conv.weight.shape[2 + axis] - 1) + 1
        low = (conv.shape[1 + axis] - 1) * conv.stride[axis] + span - 2 * conv.padding[axis]
        extents.append(-(-low // conv.upsample))
    return (4, extents[0], extents[1])


@settings(max_examples=120, deadline=None)
@given(pairs())
def test_merged_pairs_are_equal_everywhere_or_named_inexact(pair: tuple[ConvNode, ConvNode, Any]) -> None:
    inner, outer, frames = pair
    merged = merge(outer, inner)
    if isinstance(merged, str):
        assert "beyond the map of the first" in merged or "after a stride" in merged
        return
    first = InputNode(id="input", shape=frames.shape[2:])
    last = OutputNode(id="out", shape=outer.shape, inputs=("b",))
    before = FloatGraph(nodes=(first, inner, outer, last))
    after = FloatGraph(nodes=(first, merged, last))
    np.testing.assert_allclose(
        float_run(after, frames).outputs["out"], float_run(before, frames).outputs["out"], rtol=1e-9, atol=1e-9
    )


def test_upsampling_behind_a_convolution_moves_in_front() -> None:
    rng = np.random.default_rng(0)
    conv = ConvNode(
        id="a",
        shape=(3, 6, 5),
        inputs=("input",),
        weight=rng.normal(size=(3, 2, 3, 3)),
        bias=rng.normal(size=(3, 6, 5)),
        padding=(1, 1),
    )
    lifted = upsampled(conv, 2)
    assert isinstance(lifted, ConvNode)
    frames = rng.integers(0, 2, size=(1, 1, 2, 6, 5)).astype(np.float64)
    first = InputNode(id="input", shape=(2, 6, 5))
    small = float_run(FloatGraph(nodes=(first, conv, OutputNode(id="o", shape=(3, 6, 5), inputs=("a",)))), frames)
    large = float_run(FloatGraph(nodes=(first, lifted, OutputNode(id="o", shape=(3, 12, 10), inputs=("a",)))), frames)
    np.testing.assert_allclose(small.outputs["o"].repeat(2, -1).repeat(2, -2), large.outputs["o"], atol=1e-12)


def test_grouped_kernels_spread_over_all_channels() -> None:
    weight = np.arange(8.0).reshape(4, 2, 1, 1)
    dense = dense_weight(weight, 2)[:, :, 0, 0]
    np.testing.assert_array_equal(dense, [[0, 1, 0, 0], [2, 3, 0, 0], [0, 0, 4, 5], [0, 0, 6, 7]])
