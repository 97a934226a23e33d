"""Binary max-pools become OR populations; others are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from netx_export.errors import NotBinaryError  # noqa: E402
from netx_export.float_graph import OrNode  # noqa: E402
from netx_export.passes.pool_as_or import PoolAsOr  # noqa: E402
from netx_export.tracer import trace  # noqa: E402
from tests.unit.netx_export.networks import Conv, Function, Neuron, Norm, Pool, Up, events, wake  # noqa: E402
from tests.unit.netx_export.passes import up_to  # noqa: E402
from tests.unit.netx_export.same_function import assert_same  # noqa: E402

X = events((4, 2, 2, 8, 8))


def test_pools_of_pools_of_concatenations() -> None:
    def forward(m: Any, x: Any) -> Any:
        a, b = m.spike1(m.conv1(x)), m.spike2(m.conv2(x))
        joined = torch.cat([a, m.up(b), x], dim=2)
        return m.out(m.pool2(m.pool1(joined)))

    module = wake(
        Function(
            forward,
            conv1=Conv(2, 3, 3, padding=1),
            spike1=Neuron(),
            conv2=Conv(2, 2, 3, stride=2, padding=1),
            spike2=Neuron(),
            up=Up(scale_factor=2),
            pool1=Pool(3, 2, 1),
            pool2=Pool((2, 1), 1, dilation=(2, 1)),
            out=Conv(7, 2, 1),
        )
    )
    before, after = up_to("pool as OR", module, X)
    run = assert_same(before, after, X.numpy())
    pools = [node for node in after.nodes if isinstance(node, OrNode)]
    assert [node.id for node in pools] == ["pool1.0", "pool1.1", "pool1.2", "pool2.0", "pool2.1", "pool2.2"]
    assert [node.upsample for node in pools] == [1, 2, 1, 1, 1, 1]
    assert run.spikes["spike2"].any()
    _, dissolved = up_to("balance delays", module, X)
    assert_same(before, dissolved, X.numpy())


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [Conv(2, 3, 1), Norm(3), Pool(2), Neuron()],
            "Max-pool '2' works on real values: real-valued currents of '0' travelled on the wire.*only the maximum of 0/1 spikes.*"
            "move the pool behind neuron '3', or use a convolution with stride 2",
        ),
        ([Conv(2, 3, 1), Pool(2)], "Max-pool '1' works on real values.*move the pool behind a spiking neuron"),
    ],
)
def test_a_pool_on_real_values_is_refused(modules: list[nn.Module], message: str) -> None:
    with pytest.raises(NotBinaryError, match=message):
        up_to("pool as OR", wake(nn.Sequential(*modules)), X)


def test_a_pool_on_sums_of_spikes_is_refused() -> None:
    def forward(m: Any, x: Any) -> Any:
        return m.pool(m.spike(m.conv(x)) + x)

    module = wake(Function(forward, conv=Conv(2, 2, 1), spike=Neuron(), pool=Pool(2)))
    with pytest.raises(
        NotBinaryError, match=r"'pool' works on real values: sums of spikes or graded values of '.*' travelled"
    ):
        up_to("pool as OR", module, X)


def test_a_pool_on_graded_input_is_refused() -> None:
    graph = trace(nn.Sequential(Pool(2), Conv(2, 2, 1)), np.full((1, 1, 2, 4, 4), 9), input_bits=8)
    with pytest.raises(NotBinaryError, match="sums of spikes or graded values of 'input'"):
        PoolAsOr().requires(graph)
