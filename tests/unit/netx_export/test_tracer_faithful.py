"""What a module computes and what is traced must be the same network, or the export is refused."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from netx_export.errors import ExportError, GraphError, QuantisationError  # noqa: E402
from netx_export.exporter import export  # noqa: E402
from netx_export.float_graph import NeuronNode, OutputNode, ScaleNode  # noqa: E402
from netx_export.graph import FloatLif  # noqa: E402
from netx_export.tracer import record, trace  # noqa: E402
from tests.unit.netx_export.networks import Conv, Function, Neuron, events, wake  # noqa: E402
from tests.unit.netx_export.same_function import assert_same  # noqa: E402

X = events((4, 2, 2, 8, 8))


def network(forward: Any) -> nn.Module:
    return wake(
        Function(forward, conv=Conv(2, 3, 1), conv2=Conv(3, 3, 3, padding=1), spike=Neuron(), spike2=Neuron()).eval()
    )


def add_and_forget(m: Any, x: Any) -> Any:
    s = m.spike(m.conv(x))
    y = m.conv2(s)
    y.add_(s)
    return m.spike2(y)


def two_names(m: Any, x: Any) -> Any:
    y = m.conv(x)
    skip = y
    y += m.conv(x)
    return m.spike(skip)


def through_a_view(m: Any, x: Any) -> Any:
    y = m.conv(x)
    y.flatten(0, 1).mul_(3.0)
    return m.spike(y)


def returned(m: Any, x: Any) -> Any:
    y = m.conv(x)
    y -= m.conv(x)
    return {"y": y, "sent": m.spike2(m.conv2(m.spike(m.conv(x)))), "old": [y, y * 2][0]}


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (add_and_forget, r"Operation 'add_' in .* changes its operand in place, and 'conv2', which shares that memory, is read "
         r"again by 'spike2'.*Assign the result of an operation that is not in place \(y = y \+ x\)"),
        (two_names, "Operation 'iadd' .* changes its operand in place, and 'conv'.* is read again by 'spike'"),
        (through_a_view, "Operation 'mul_' .* changes its operand in place, and 'conv'.* is read again by 'spike'"),
        (lambda m, x: (F.relu(y := m.conv(x), inplace=True), m.spike(y))[1], "Operation 'relu' .* in place, and 'conv'"),
        (lambda m, x: m.spike(torch.div(m.conv(x), 0.5, rounding_mode="floor")), r"'div' in .* \(div\) has no spiking form"),
        (lambda m, x: m.spike(F.dropout(m.conv(x))), "'dropout' .* drops values of real-valued currents of 'conv' in evaluation "
         "mode too; pass training=self.training"),
        (lambda m, x: m.spike(m.conv(x).to(torch.int32).float()), "turns real-valued currents of 'conv' into torch.int32.*stay in "
         "floating point"),
        (lambda m, x: m.spike(m.conv(x) * torch.ones(3, 1, 1)), r"by a constant of shape \(3, 1, 1\).*1x1 depthwise convolution"),
        (lambda m, x: m.spike(F.conv2d(x.flatten(0, 1), m.conv.weight)), "Nearest spiking form: the same as a module, nn.Conv2d"),
        (lambda m, x: m.spike(next(iter([]))), "could not be traced: StopIteration"),
    ],
)  # fmt: skip
def test_what_would_become_another_network_is_refused(forward: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export(network(forward), X)


def test_fractions_of_a_pixel_are_refused() -> None:
    module = nn.Sequential(nn.Upsample(scale_factor=2.4, mode="nearest"), nn.Conv2d(2, 1, 1))
    with pytest.raises(ExportError, match=r"makes \(2, 4, 4\) of \(2, 2, 2\); the exporter repeats whole pixels"):
        export(module, events((1, 2, 2, 2)))


@pytest.mark.parametrize(
    "forward",
    [
        returned,
        lambda m, x: m.spike(torch.sub(other=m.conv2(m.spike2(m.conv(x))), input=m.conv(x))),
        lambda m, x: m.spike(torch.mul(m.conv(x), other=2.0)),
        lambda m, x: m.spike(x=F.dropout(m.conv(x), training=m.training)),
        lambda m, x: m.spike(m.conv(x) * torch.tensor(2.0)),
        lambda m, x: m.spike(m.conv(x) * m.conv.bias.abs().sum()),
    ],
)
def test_what_is_traced_is_what_runs(forward: Any) -> None:
    module = network(forward)
    before = set(vars(module))
    assert_same(record(module, X), trace(module, X), X.numpy())
    assert set(vars(module)) == before


def test_parameters_are_constants_of_the_network() -> None:
    module = network(lambda m, x: m.spike(m.conv(x) * m.factor))
    module.factor = nn.Parameter(torch.tensor(1.5))
    assert [node.factor for node in trace(module, X).nodes if isinstance(node, ScaleNode)] == [1.5]


def test_the_example_is_not_written_to() -> None:
    def forward(m: Any, x: Any) -> Any:
        x *= 0
        return m.spike(m.conv(x))

    for example in (X.clone(), X.double()):
        before = example.clone()
        export(network(forward), example, check=True)
        assert torch.equal(example, before)


class Pair(NamedTuple):
    heat: Any
    size: Any


@dataclasses.dataclass
class Maps:
    heat: Any
    size: Any


@pytest.mark.parametrize("kind", [Pair, Maps])
def test_outputs_take_the_names_of_fields(kind: Any) -> None:
    module = network(lambda m, x: kind(m.conv(x), m.spike(m.conv(x))))
    graph = trace(module, X)
    assert [node.id for node in graph.nodes if isinstance(node, OutputNode)] == ["heat", "size"]
    assert_same(record(module, X), graph, X.numpy())


class Standardised(nn.Conv2d):
    def forward(self, x: Any) -> Any:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x.flatten(0, 1), weight, self.bias).unflatten(0, x.shape[:2])


def hooked(place: int | None, *, before: bool = False) -> nn.Module:
    module = nn.Sequential(Conv(2, 3, 1), Neuron())
    owner = module if place is None else module[place]
    if before:
        owner.register_forward_pre_hook(lambda m, inputs: (inputs[0] * 2,))
    else:
        owner.register_forward_hook(lambda m, inputs, sent: sent * 2)
    return module


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(Standardised(2, 3, 1), Neuron()), r"Module '0' \(Standardised\) derives from Conv2d and computes "
         "something else.*Compose it of torch.nn's layers"),
        (hooked(0), r"Module '0' \(Conv2d\) derives from Conv2d and computes something else: its own forward, or a hook"),
        (hooked(1), r"Neuron '1' \(Neuron\) has forward hooks, .*; remove them before exporting"),
        (hooked(1, before=True), r"Neuron '1' \(Neuron\) has forward hooks"),
        (hooked(None), r"The exported module \(Sequential\) has forward hooks"),
        (hooked(None, before=True), r"The exported module \(Sequential\) has forward hooks"),
    ],
)  # fmt: skip
def test_code_around_a_layer_is_not_lost(module: nn.Module, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export(wake(module), X)


def test_a_layer_that_cannot_be_compared_is_refused() -> None:
    class Once(nn.Conv2d):
        called = False

        def forward(self, x: Any) -> Any:
            if self.called:
                raise RuntimeError("only once")
            self.called = True
            return super().forward(x)

    with pytest.raises(
        ExportError, match=r"Module '0' \(Once\) could not be compared with Conv2d.*RuntimeError: only once"
    ):
        export(nn.Sequential(Once(2, 3, 1)), X[0])


def test_hooks_that_only_look_may_stay() -> None:
    seen: list[Any] = []
    module = hooked(None, before=True)
    module._forward_pre_hooks.clear()
    for part in (module, module[1]):
        part.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].shape))
    assert_same(record(wake(module), X), trace(module, X), X.numpy())
    assert len(seen) >= 2


@pytest.mark.filterwarnings("ignore:torch.nn.utils.weight_norm is deprecated")
def test_parametrised_layers_export() -> None:
    module = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 1)), nn.utils.weight_norm(nn.Conv2d(3, 2, 1))
    )
    with torch.inference_mode():
        graph = trace(module, X[0])
    expected = module(X[0]).detach().numpy()
    found = (
        np.einsum("oi,bihw->bohw", graph.nodes[1].weight[:, :, 0, 0], X[0].numpy()) + graph.nodes[1].bias[:, None, None]
    )
    found = np.einsum("oi,bihw->bohw", graph.nodes[2].weight[:, :, 0, 0], found) + graph.nodes[2].bias[:, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def spec(make: Any) -> nn.Module:
    class Own(Neuron):
        def neuron_spec(self) -> Any:
            return make(self)

    return wake(nn.Sequential(Conv(2, 3, 1), Own()))


def test_a_spec_may_hold_tensors_of_one_number() -> None:
    module = spec(lambda m: FloatLif(leak=torch.tensor(0.5), gain=np.float32(0.5), threshold=torch.ones(1)))  # type: ignore[arg-type]
    node = trace(module, X).by_id["1"]
    assert isinstance(node, NeuronNode)
    assert node.neuron == FloatLif(leak=0.5, gain=0.5, threshold=1.0)
    assert type(node.neuron.leak) is float


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: {}["leak"], r"Neuron '1' \(Own\) could not describe itself: KeyError: 'leak'. Its neuron_spec\(\) must"),
        (lambda m: FloatLif(leak=torch.ones(3)), r"Neuron '1' \(Own\): FloatLif leak is tensor.*give one number, the same for all neurons"),
        (lambda m: FloatLif(leak=0.5, gain=float("inf")), "FloatLif gain is inf; give a finite number"),
        (lambda m: FloatLif(leak=0.5, reset="subtract"), "FloatLif reset is 'subtract', only 'zero' exists"),
    ],
)  # fmt: skip
def test_specs_are_checked(make: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export(spec(make), X)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (None, "The example is a NoneType that is no array of numbers .*give a tensor or array"),
        ([[1], [1, 2]], "The example is a list that is no array of numbers"),
        (np.zeros((2, 1, 2, 4, 4), complex), "The example holds torch.complex128 numbers; give real ones"),
    ],
)
def test_examples_must_be_arrays_of_numbers(example: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export(nn.Sequential(Conv(2, 2, 1)), example)


def test_modules_and_options_are_checked() -> None:
    module = wake(nn.Sequential(Conv(2, 2, 1), Neuron()))
    with pytest.raises(ExportError, match=r"A function was given to export; give a torch.nn.Module"):
        export(lambda x: x, X)
    with pytest.raises(ExportError, match=r"input_bits is -1, the limit is 2..16, or 0 for 0/1 events"):
        export(module, X, input_bits=-1)
    with pytest.raises(GraphError, match=r"Graph steps is 2.5; a sample has at least one time step, and whole ones"):
        export(module, X, steps=2.5)  # type: ignore[arg-type]
    with pytest.raises(QuantisationError, match="rounding is 'nearest'; choose one of 'maximum', 'mse'"):
        export(module, X, rounding="nearest")  # type: ignore[arg-type]
