"""What the tracer follows, and how it refuses what it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from netx_export.errors import ExportError  # noqa: E402
from netx_export.float_graph import (  # noqa: E402
    AddNode,
    ConvNode,
    FlattenNode,
    MaxPoolNode,
    NeuronNode,
    OutputNode,
    ScaleNode,
    UpsampleNode,
)
from netx_export.graph import FloatLif  # noqa: E402
from netx_export.tracer import record, register_neuron, trace  # noqa: E402
from tests.unit.netx_export.networks import (  # noqa: E402
    Average,
    Conv,
    Function,
    Neuron,
    Norm,
    Pool,
    Up,
    events,
    skip_network,
    wake,
)
from tests.unit.netx_export.same_function import assert_same  # noqa: E402

X = events((3, 2, 2, 8, 8))


def kinds(graph: Any) -> list[str]:
    return [type(node).__name__.removesuffix("Node") for node in graph.nodes]


def test_skip_network_is_traced_and_runs_as_in_torch() -> None:
    module = skip_network()
    x = events((4, 2, 2, 12, 12))
    graph = trace(module, x)
    assert [n.id for n in graph.nodes if isinstance(n, NeuronNode)] == ["spike0", "spike1", "spike2", "spike3"]
    assert [n.id for n in graph.nodes if isinstance(n, MaxPoolNode)] == ["pool"]
    assert [n.id for n in graph.nodes if isinstance(n, OutputNode)] == ["heat", "size"]
    expected = record(module, x)
    assert_same(expected, graph, x.numpy())
    assert all(spikes.any() for spikes in expected.spikes.values())


def test_stepwise_modules_take_b_c_h_w_and_their_neurons_are_not_run() -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x

        def neuron_spec(self) -> FloatLif:
            return FloatLif(leak=0.5)

    module = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), Stateful(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)
    )
    graph = trace(module, X[0])
    assert kinds(graph) == ["Input", "Conv", "BatchNorm", "Neuron", "MaxPool", "Flatten", "Linear", "Output"]
    assert module[2].calls == 0
    assert [node.shape for node in graph.nodes] == [
        (2, 8, 8), (3, 6, 6), (3, 6, 6), (3, 6, 6), (3, 3, 3), (27, 1, 1), (4, 1, 1), (4, 1, 1),
    ]  # fmt: skip
    assert graph.by_id["2"].source == "2"


def test_linear_networks_use_n_1_1() -> None:
    module = wake(nn.Sequential(nn.Linear(6, 5), Neuron(), nn.Linear(5, 3), Neuron()))
    x = events((4, 2, 6))
    graph = trace(module, x)
    assert graph.by_id["input"].shape == (6, 1, 1)
    assert graph.by_id["1"].shape == (5, 1, 1)
    assert_same(record(module, x), graph, x.numpy()[..., None, None])


def test_code_may_fold_time_itself_and_ask_for_shapes() -> None:
    def forward(m: Any, x: Any) -> Any:
        if x.dim() != 5 or len(x.shape) != 5:
            raise ValueError("give five axes")
        T, B = x.shape[:2]
        y = m.conv(x.reshape(T * B, *x.shape[2:]))
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        y = m.spike(y.view(T, B, *y.shape[1:]))
        return m.out(F.max_pool2d(y.flatten(0, 1), 2)).unflatten(0, (T, x.size(1)))

    module = wake(Function(forward, conv=nn.Conv2d(2, 3, 3, padding="same"), spike=Neuron(), out=nn.Conv2d(3, 1, 1)))
    graph = trace(module, X)
    assert kinds(graph) == ["Input", "Conv", "Upsample", "Neuron", "MaxPool", "Conv", "Output"]
    assert graph.by_id["max_pool2d"].shape == (3, 8, 8)
    assert_same(record(module, X), graph, X.numpy())


def test_arithmetic_is_traced() -> None:
    def forward(m: Any, x: Any) -> Any:
        a = m.spike(m.conv(x))
        b = torch.add(a, m.conv2(a), alpha=0.5)
        b = b - 2 * a
        b += a / 4
        return m.out(b), [m.drop(b)]

    module = wake(
        Function(forward, conv=Conv(2, 3, 1), spike=Neuron(), conv2=Conv(3, 3, 1), out=Neuron(), drop=nn.Dropout())
    )
    graph = trace(module, X)
    assert [n.factor for n in graph.nodes if isinstance(n, ScaleNode)] == [0.5, 2.0, -1.0, 0.25]
    assert sum(isinstance(n, AddNode) for n in graph.nodes) == 3
    assert [n.id for n in graph.nodes if isinstance(n, OutputNode)] == ["output0", "output10"]
    assert_same(record(module, X), graph, X.numpy())


def test_training_mode_and_statistics_survive() -> None:
    module = skip_network()
    module.train()
    module.norm1.eval()
    before = module.norm0.running_mean.clone()
    trace(module, events((2, 1, 2, 8, 8)))
    assert module.training
    assert module.norm0.training
    assert not module.norm1.training
    assert torch.equal(before, module.norm0.running_mean)


def test_neurons_can_be_registered_by_class() -> None:
    class Foreign(nn.Module):
        def forward(self, x: Any) -> Any:
            return (x > 1).float()

    register_neuron(Foreign, lambda module: FloatLif(leak=0.25, threshold=2.0))
    graph = trace(nn.Sequential(Conv(2, 2, 1), Foreign()), X)
    node = graph.by_id["1"]
    assert isinstance(node, NeuronNode)
    assert node.neuron.leak == 0.25
    with pytest.raises(ExportError, match="'Foreign' is already registered; register each class once"):
        register_neuron(Foreign, lambda module: FloatLif(leak=0.25))


def test_pools_have_no_state_and_may_be_used_twice() -> None:
    def forward(m: Any, x: Any) -> Any:
        return m.spike2(m.conv2(m.pool(m.pool(m.spike(m.conv(x))))))

    module = wake(
        Function(forward, conv=Conv(2, 2, 1), spike=Neuron(), pool=Pool(2), conv2=Conv(2, 2, 1), spike2=Neuron())
    )
    graph = trace(module, X)
    assert [n.id for n in graph.nodes if isinstance(n, MaxPoolNode)] == ["pool", "pool@2"]


def test_unused_layers_leave_no_node() -> None:
    def forward(m: Any, x: Any) -> Any:
        m.side(x)
        return m.conv(x)

    graph = trace(Function(forward, conv=Conv(2, 1, 1), side=Conv(2, 1, 1)), X)
    assert [n.source for n in graph.nodes if isinstance(n, ConvNode)] == ["conv"]
    assert not any(isinstance(n, UpsampleNode | FlattenNode) for n in graph.nodes)


def with_layer(layer: Any) -> nn.Module:
    return nn.Sequential(Conv(2, 4, 1), Neuron(), layer, Conv(4, 2, 1), Neuron())


def sliced(m: Any, x: Any) -> Any:
    return m.out(m.spike(m.conv(x))[:, :, :1])


def product(m: Any, x: Any) -> Any:
    y = m.conv(x)
    return m.spike(y * m.gate(x))


def chunked(m: Any, x: Any) -> Any:
    a, _b = torch.chunk(m.spike(m.conv(x)), 2, dim=2)
    return m.gate(a)


PARTS = {"conv": Conv(2, 4, 1), "gate": Conv(2, 4, 1), "spike": Neuron(), "out": Conv(1, 1, 1)}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("module", "message"),
    [
        (with_layer(Average(2)), r"Module '2' \(AvgPool2d\) has no spiking form. What travelled on the wire: 0/1 spikes of '1'. "
         r"Nearest spiking form: a convolution with stride 2, or nn.MaxPool2d on the spikes"),
        (nn.Sequential(Conv(2, 4, 1), nn.ReLU(), Neuron()), r"Module '1' \(ReLU\) has no spiking form. What travelled on the "
         r"wire: real-valued currents of '0'. Nearest spiking form: a spiking neuron \(PLIF\)"),
        (with_layer(Up(scale_factor=2, mode="bilinear")), "Upsampling '2' is 'bilinear': of 0/1 spikes of '1' it would make "
         "fractions.*Use mode='nearest'"),
        (Function(product, **PARTS), "multiplies real-valued currents of 'conv', 'gate'; a product of activations has no spiking "
         "form. Nearest: add the two as currents"),
        (Function(sliced, **PARTS), r"\(getitem\) has no spiking form.*a 1x1 convolution that reads the channels"),
        (Function(chunked, **PARTS), r"makes a tuple, not a tensor.*1x1 convolution instead of splitting"),
        (Function(lambda m, x: m.conv(x).mean(0), **PARTS), "'mean' in the forward of the exported module.*return every time step"),
        (Function(lambda m, x: m.conv(x) + 1.0, **PARTS), "adds a constant to real-valued currents of 'conv'.*into the bias"),
        (Function(lambda m, x: torch.cat([x, x], dim=3), **PARTS), r"joins .* not along the channels; use dim=-3"),
        (Function(lambda m, x: m.conv(x) + m.conv(x)[:1], **PARTS), "getitem"),
        (Function(lambda m, x: m.conv(x) if x.sum() > 0 else x, **PARTS), "could not be traced.*Control flow may depend on shapes"),
        (Function(lambda m, x: m.out(x), **PARTS), r"could not be traced: RuntimeError.*last thing reached was module 'out'"),
        (Function(lambda m, x: {"spike": m.spike(x)}, **PARTS), "Output 'spike' has the name of another population; rename"),
        (Function(lambda m, x: torch.zeros(1), **PARTS), "Output 'output' of Function does not depend on the input"),
        (Function(lambda m, x: None, **PARTS), "The forward of Function returns no tensor"),
        (Function(lambda m, x: m.spike(m.spike(x)), **PARTS), "Neuron 'spike' is called twice.*a neuron of its own"),
        (nn.Sequential(Conv(2, 2, 3, padding=1, padding_mode="reflect")), "'0' pads with 'reflect'.*padding_mode='zeros'"),
        (nn.Sequential(Conv(2, 2, 2, padding="same")), "'0' pads 'same' with an even kernel.*use an odd kernel"),
        (with_layer(Pool(3, 2, ceil_mode=True)), "'2' uses ceil_mode=True; use padding"),
        (nn.Sequential(Norm(2, track_running_stats=False)), "'0' keeps no running statistics.*track_running_stats=True"),
        (nn.Sequential(nn.Linear(8, 2)), r"Linear '0' got \(3, 2, 2, 8, 8\).*flatten to \(T,B,N\)"),
        (nn.Sequential(nn.Flatten()), "time and batch .3, 2. of the example did not survive"),
        (nn.Sequential(Up(size=(12, 16))), "repeats whole pixels, by the same whole factor"),
        (Neuron(), "is itself a neuron; wrap it"),
    ],
)  # fmt: skip
def test_refusals_name_module_wire_and_remedy(module: nn.Module, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        trace(module, X)


def test_neurons_of_other_kinds_are_refused() -> None:
    class Strange(nn.Module):
        def neuron_spec(self) -> str:
            return "izhikevich"

    with pytest.raises(
        ExportError, match=r"Neuron '1' \(Strange\) describes itself as str; the exporter knows FloatLif"
    ):
        trace(nn.Sequential(Conv(2, 2, 1), Strange()), X)


def test_batch_norm_1d_over_time_is_refused() -> None:
    module = nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2), Neuron())
    with pytest.raises(
        ExportError, match=r"'1' got .4, 2, 2. and takes its second axis for the channels; fold T and B"
    ):
        trace(module, events((4, 2, 6)))


def test_second_inputs_are_refused_and_unused_defaults_are_not() -> None:
    class Two(nn.Module):
        def forward(self, x: Any, state: Any = None) -> Any:
            return x if state is None else x + state

    assert kinds(trace(nn.Sequential(Conv(2, 2, 1)), X)) == ["Input", "Conv", "Output"]

    class Needed(nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return x + y

    with pytest.raises(
        ExportError, match=r"takes a second input 'y'; export takes modules with one input|could not be traced"
    ):
        trace(Needed(), X)


@pytest.mark.parametrize(
    ("example", "bits", "message"),
    [
        (np.zeros((1, 2, 3, 4, 5, 6)), 0, r"give \(T,B,C,H,W\) or \(B,C,H,W\)"),
        (
            np.full((3, 2, 2, 8, 8), 0.5),
            0,
            "holds 0.5; a binary network takes 0/1 events only. Bin the input.*input_bits=N",
        ),
        (np.full((3, 2, 2, 8, 8), 0.5), 8, "holds fractions; input_bits=8 carries integers below 128"),
        (np.full((3, 2, 2, 8, 8), 200), 8, "reaches 200.0.*raise input_bits"),
        (np.zeros((3, 2, 2, 8, 8)), 40, "input_bits is 40, the limit is 2..16"),
    ],
)
def test_examples_must_fit(example: Any, bits: int, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        trace(nn.Sequential(Conv(2, 2, 1)), example, input_bits=bits)


def test_record_needs_a_module_that_works_in_float64() -> None:
    single = torch.ones(1, 2, 2)
    module = Function(lambda m, x: torch.mm(single[0], x[0, 0, 0, :2, :2]))
    with pytest.raises(
        ExportError,
        match=r"Function could not be run in float64 on a copy, which check=True needs: RuntimeError: .*the type of",
    ):
        record(module, X)


def test_record_needs_whole_samples() -> None:
    with pytest.raises(ExportError, match="check=True compares whole samples"):
        record(nn.Sequential(nn.Conv2d(2, 2, 1)), X[0])
