"""Concat, upsampling, flattening and addition become projections with the same function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from netx_export.errors import ExportError, GraphError, RunError  # noqa: E402
from netx_export.float_run import float_run  # noqa: E402
from netx_export.graph import FloatLif, Input  # noqa: E402
from netx_export.passes.dissolve_linear import DissolveLinear  # noqa: E402
from netx_export.passes.fold_batch_norm import FoldBatchNorm  # noqa: E402
from netx_export.projection_graph import (  # noqa: E402
    FloatConv,
    FloatDense,
    FloatOneToOne,
    FloatPopulation,
    FloatProjection,
    FloatReadout,
    ProjectionGraph,
)
from netx_export.tracer import trace  # noqa: E402
from tests.unit.netx_export.networks import Conv, Function, Neuron, Norm, Pool, Up, events, skip_network, wake  # noqa: E402
from tests.unit.netx_export.passes import up_to  # noqa: E402
from tests.unit.netx_export.same_function import assert_same  # noqa: E402

X = events((4, 2, 2, 8, 8))


def test_a_concat_is_two_projections_with_split_kernels() -> None:
    x = events((4, 2, 2, 12, 12))
    before, after = up_to("dissolve linear", skip_network(), x)
    assert_same(before, after, x.numpy())
    deep, skip = after.incoming["spike2"]
    assert (deep.src, skip.src) == ("spike1", "pool")
    assert deep.synapse.weight.shape == (10, 8, 1, 1)
    assert skip.synapse.weight.shape == (10, 6, 1, 1)
    assert (deep.synapse.upsample, skip.synapse.upsample) == (2, 1)
    assert [p.id for p in after.populations] == [
        "input",
        "spike0",
        "pool",
        "spike1",
        "spike2",
        "spike3",
        "heat",
        "size",
    ]


def test_a_convolution_of_a_sum_of_spikes_is_two_projections_that_share_a_kernel() -> None:
    def forward(m: Any, x: Any) -> Any:
        a, b = m.spike1(m.conv1(x)), m.spike2(m.conv2(x))
        joined = torch.cat([a + b + 0.5 * a, x], dim=2)
        return m.spike3(m.conv3(joined)), m.spike4(m.conv4(a + b))

    module = wake(
        Function(
            forward,
            **{f"conv{i}": Conv(c, 3, 3, padding=1) for i, c in ((1, 2), (2, 2), (3, 5), (4, 3))},
            **{f"spike{i}": Neuron() for i in (1, 2, 3, 4)},
        )
    )
    before, after = up_to("dissolve linear", module, X)
    assert_same(before, after, X.numpy())
    first, second, half, rest = after.incoming["spike3"]
    assert first.synapse.weight is second.synapse.weight
    np.testing.assert_array_equal(half.synapse.weight * 2, first.synapse.weight)
    assert rest.src == "input"
    first, second = after.incoming["spike4"]
    assert first.synapse.weight is second.synapse.weight


def test_grouped_convolutions_over_a_concat() -> None:
    def forward(m: Any, x: Any) -> Any:
        a = m.spike1(m.conv1(x))
        return m.spike2(m.conv2(torch.cat([a, m.up(m.pool(a)), x], dim=2))), m.spike3(m.conv3(a))

    module = wake(
        Function(
            forward,
            conv1=Conv(2, 3, 3, padding=1),
            spike1=Neuron(),
            pool=Pool(2),
            up=Up(scale_factor=2),
            conv2=Conv(8, 4, 3, padding=1, groups=2),
            spike2=Neuron(),
            conv3=Conv(3, 6, 3, groups=3, dilation=2),
            spike3=Neuron(),
        )
    )
    before, after = up_to("dissolve linear", module, X)
    assert_same(before, after, X.numpy())
    assert [p.synapse.groups for p in after.incoming["spike2"]] == [1, 1, 1]
    assert [p.synapse.groups for p in after.incoming["spike3"]] == [3]


def test_flattened_maps_feed_linear_layers() -> None:
    def forward(m: Any, x: Any) -> Any:
        a = m.spike1(m.conv1(x))
        joined = torch.cat([m.up(m.pool(a)), x], dim=2).flatten(2)
        deep = m.spike2(m.linear1(torch.cat([joined, a.flatten(2)], dim=-1)))
        return m.linear2(deep + m.spike3(m.linear3(deep)))

    module = wake(
        Function(
            forward,
            conv1=Conv(2, 3, 3, padding=1),
            spike1=Neuron(),
            pool=Pool(2),
            up=Up(scale_factor=2),
            linear1=nn.Linear(8 * 64, 9),
            spike2=Neuron(),
            linear3=nn.Linear(9, 9),
            spike3=Neuron(0.9, threshold=0.2),
            linear2=nn.Linear(9, 2),
        )
    )
    before, after = up_to("dissolve linear", module, X)
    run = assert_same(before, after, X.numpy())
    assert run.spikes["spike2"].any()
    assert run.spikes["spike3"].any()
    shapes = [p.synapse.weight.shape for p in after.incoming["spike2"] if isinstance(p.synapse, FloatDense)]
    assert shapes == [(9, 3 * 16), (9, 2 * 64), (9, 3 * 64)]


def test_spikes_into_a_neuron_through_a_concat() -> None:
    def forward(m: Any, x: Any) -> Any:
        return m.spike(torch.cat([x, m.conv(x), m.up(m.pool(x))], dim=2))

    module = wake(Function(forward, conv=Conv(2, 3, 1), spike=Neuron(0.7), pool=Pool(2), up=Up(scale_factor=2)))
    before, after = up_to("dissolve linear", module, X)
    assert_same(before, after, X.numpy())
    both = Function(
        lambda m, x: m.spike(torch.cat([x, m.up(m.pool(x))], dim=2)),
        spike=Neuron(0.7),
        pool=Pool(2),
        up=Up(scale_factor=2),
    )
    before, after = up_to("dissolve linear", both, X)
    assert all(p.exact for p in after.incoming["spike"])


def test_spiking_outputs_need_no_readout_unless_read_elsewhere() -> None:
    def forward(m: Any, x: Any) -> Any:
        a = m.spike1(m.conv1(x))
        return {"early": a, "late": m.spike2(m.conv2(a)), "sum": a + x}

    module = wake(Function(forward, conv1=Conv(2, 2, 1), spike1=Neuron(), conv2=Conv(2, 2, 1), spike2=Neuron()))
    before, after = up_to("dissolve linear", module, X)
    assert_same(before, after, X.numpy())
    assert [p.id for p in after.populations] == ["input", "spike1", "spike2", "early", "sum"]
    assert isinstance(after.by_id["early"].neuron, FloatReadout)


def test_flattened_spikes_into_a_neuron_are_refused() -> None:
    module = Function(
        lambda m, x: m.spike2(m.spike1(m.conv(x)).flatten(2)), conv=Conv(2, 2, 1), spike1=Neuron(), spike2=Neuron()
    )
    with pytest.raises(
        ExportError, match=r"Flattened spikes of 'spike1' reach .* without a linear layer; flatten behind"
    ):
        up_to("dissolve linear", module, X)


def test_layers_on_currents_must_be_checked_before() -> None:
    module = nn.Sequential(Conv(2, 3, 3, padding=1), Norm(3), Conv(3, 2, 3, padding=1)).eval()
    folded = FoldBatchNorm().call(trace(module, X))
    with pytest.raises(ExportError, match="Layer '2' reads currents; run the check for binary wires first"):
        DissolveLinear().requires(folded)


def test_a_population_that_nothing_drives_is_refused() -> None:
    lonely = FloatPopulation(id="a", shape=(1, 1, 1), neuron=FloatLif(leak=0.5))
    with pytest.raises(ExportError, match="Nothing drives population 'a'"):
        DissolveLinear().ensures(ProjectionGraph(populations=(lonely,), projections=()))


def test_projection_graphs_check_themselves() -> None:
    a = FloatPopulation(id="a", shape=(1, 1, 1), neuron=Input())
    b = FloatPopulation(id="b", shape=(1, 1, 1), neuron=FloatReadout())
    backwards = FloatProjection(src="b", dst="a", synapse=FloatOneToOne(weight=np.ones(1)))
    with pytest.raises(GraphError, match="b -> a does not run from an earlier to a later population"):
        ProjectionGraph(populations=(a, b), projections=(backwards,))
    with pytest.raises(GraphError, match=r"share the ids \['a'\]"):
        ProjectionGraph(populations=(a, a), projections=())
    with pytest.raises(GraphError, match=r"'c': bias has shape \(3,\), give \(2,\) or \(2, 1, 1\)"):
        FloatPopulation(id="c", shape=(2, 1, 1), neuron=FloatReadout(), bias=np.zeros(3))
    forward = FloatProjection(src="a", dst="b", synapse=FloatConv(weight=np.ones((1, 1, 1, 1))))
    graph = ProjectionGraph(populations=(a, b), projections=(forward,))
    with pytest.raises(RunError, match=r"The inputs have shape \(1, 1\), the network takes \(T,B,1, 1, 1\)"):
        float_run(graph, np.ones((1, 1)))
