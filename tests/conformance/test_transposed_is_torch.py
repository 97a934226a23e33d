"""The interpreter's convolutions against torch: Lava has no transposed convolution, so torch says what one is."""

from __future__ import annotations

import numpy as np
import pytest

from netx_export.graph import ConvTranspose, Graph, Input, Kernel, Population, Projection, Readout
from tests.reference import interpret

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("groups", "stride", "padding", "output_padding", "dilation", "kernel"),
    [
        (1, (1, 1), (0, 0), (0, 0), (1, 1), (3, 3)),
        (2, (2, 3), (1, 0), (1, 2), (1, 1), (3, 2)),
        (1, (3, 1), (2, 1), (0, 1), (2, 2), (2, 3)),
        (4, (2, 2), (0, 0), (0, 0), (1, 1), (2, 2)),
        (2, (1, 2), (1, 2), (1, 0), (2, 1), (2, 5)),
    ],
)
def test_transposed_convolution(
    groups: int,
    stride: tuple[int, int],
    padding: tuple[int, int],
    output_padding: tuple[int, int],
    dilation: tuple[int, int],
    kernel: tuple[int, int],
) -> None:
    """Groups, oblong strides, paddings and dilations; graded input beyond the 24-bit wrap."""
    rng = np.random.default_rng(groups + stride[0])
    mantissa = rng.integers(-128, 128, (4, 8 // groups, *kernel))
    synapse = ConvTranspose(
        kernel=Kernel(mantissa=mantissa, exponent=7),
        groups=groups,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )
    source = (4, 3, 4)
    shape = synapse.output_shape(source)
    graph = Graph(
        populations=(
            Population(id="in", shape=source, neuron=Input(message_bits=16)),
            Population(id="y", shape=shape, neuron=Readout()),
        ),
        projections=(Projection(src="in", dst="y", synapse=synapse),),
        steps=3,
    )
    data = rng.integers(-32768, 32768, (3, 2, *source), dtype=np.int32)
    run = interpret(graph, {"in": data})
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(data.reshape(6, *source)).double(),
        torch.from_numpy(mantissa << 7).double(),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    total = expected.numpy().astype(np.int64).reshape(3, 2, *shape)
    wrapped = (total + (1 << 23)) % (1 << 24) - (1 << 23)
    np.testing.assert_array_equal(run.in_samples("y", run.raw["y"]), wrapped)
    assert (wrapped != total).any() == (run.events["conv wraps"] > 0)
    assert run.events["conv wraps"] > 0
