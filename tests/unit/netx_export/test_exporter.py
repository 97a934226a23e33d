"""From a torch module to integers that fire like it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import netx_export  # noqa: E402
from netx_export.errors import ExportError, NotBinaryError  # noqa: E402
from netx_export.exporter import export, export_with_stages  # noqa: E402
from netx_export.float_run import float_run  # noqa: E402
from netx_export.graph import Graph, Lif, Or, Readout  # noqa: E402
from tests.unit.netx_export.integer_run import integer_run  # noqa: E402
from tests.unit.netx_export.networks import (  # noqa: E402
    Conv,
    Function,
    Integrator,
    Neuron,
    Pool,
    events,
    skip_network,
    wake,
)
from tests.unit.netx_export.test_check_binary import identity, real_skip  # noqa: E402

X = events((6, 2, 2, 12, 12))


def test_the_skip_network_becomes_an_aligned_graph() -> None:
    graph = netx_export.export(skip_network(), X, meta={"command": "export"}, check=True)
    assert isinstance(graph, Graph)
    assert (graph.timing, graph.steps, dict(graph.meta)) == ("aligned", 6, {"command": "export"})
    assert [(p.id, type(p.neuron)) for p in graph.populations[1:]] == [
        ("spike0", Lif), ("pool", Or), ("spike1", Lif), ("spike2", Lif), ("spike3", Lif), ("heat", Readout), ("size", Readout),
    ]  # fmt: skip
    assert {p.label: p.delay for p in graph.projections}["pool -> spike2"] == 1
    assert [p.source for p in graph.populations] == ["", "spike0", "pool", "spike1", "spike2", "spike3", "heat", "size"]


def test_the_integers_fire_like_the_float_network() -> None:
    found = export_with_stages(skip_network(), X)
    expected = float_run(found.folded, X.numpy())
    sent = integer_run(found.graph, X.numpy())
    for name, spikes in expected.spikes.items():
        rate = float(spikes.mean())
        assert 0.01 < rate < 0.9, name
        # One neuron at the border of its threshold may fire a step earlier or later; the layers behind it feel that.
        assert float((sent[name] == spikes).mean()) > 0.93, name
        assert abs(float(sent[name].mean()) - rate) < 0.03, name
    for name, values in expected.outputs.items():
        neuron = found.graph.by_id[name].neuron
        assert isinstance(neuron, Readout)
        mean, real = (sent[name] * neuron.unit).mean(axis=0), values.mean(axis=0)
        assert float(np.corrcoef(mean.ravel(), real.ravel())[0, 1]) > 0.95, name


def test_stages_are_named_after_their_passes() -> None:
    found = export_with_stages(skip_network(), X)
    assert list(found.stages) == [
        "trace", "fold batch norm", "merge convolutions", "pool as OR", "unroll residuals", "check binary", "dissolve linear",
        "check identities", "balance delays", "quantise",
    ]  # fmt: skip
    assert found.stages["trace"] is found.traced
    assert found.stages["balance delays"] is found.folded
    assert found.stages["quantise"] is found.graph


def test_export_is_deterministic() -> None:
    assert export(skip_network(), X).digest == export(skip_network(), X).digest


def test_integers_without_leak_are_exact() -> None:
    def forward(m: Any, x: Any) -> Any:
        s = m.spike1(m.conv1(x))
        return m.spike2(s + m.conv2(s))

    module = Function(
        forward,
        conv1=Conv(2, 3, 3, padding=1),
        spike1=Integrator(),
        conv2=Conv(3, 3, 3, padding=1),
        spike2=Integrator(threshold=2.0),
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for conv in (module.conv1, module.conv2):
        conv.weight.data = torch.randint(-32, 64, conv.weight.shape, generator=generator) / 64.0
        conv.bias.data = torch.randint(-8, 8, conv.bias.shape, generator=generator) / 64.0
    found = export_with_stages(module, X, check=True)
    sent, expected = integer_run(found.graph, X.numpy()), float_run(found.traced, X.numpy())
    for name, spikes in expected.spikes.items():
        assert spikes.any()
        np.testing.assert_array_equal(sent[name], spikes, err_msg=name)


def test_linear_and_stepwise_modules_export() -> None:
    linear = wake(nn.Sequential(nn.Linear(6, 5), Neuron(), nn.Linear(5, 3)))
    graph = export(linear, events((4, 2, 6)), check=True)
    assert [p.shape for p in graph.populations] == [(6, 1, 1), (5, 1, 1), (3, 1, 1)]
    stepwise = wake(nn.Sequential(nn.Conv2d(2, 3, 3), Neuron(), nn.Flatten(), nn.Linear(300, 2)))
    assert export(stepwise, X[0]).steps == 1
    assert export(stepwise, X[0], steps=7).steps == 7


def test_graded_input_exports() -> None:
    frames = torch.randint(-100, 100, (3, 1, 2, 6, 6)).float()
    graph = export(wake(nn.Sequential(Conv(2, 3, 3), Neuron())), frames, input_bits=8, rounding="mse", check=True)
    assert graph.inputs[0].neuron.message_bits == 8  # type: ignore[union-attr]


def test_residual_currents_and_deep_skips() -> None:
    def forward(m: Any, x: Any) -> Any:
        y = x
        for index in range(65):
            y = getattr(m, f"s{index}")(getattr(m, f"c{index}")(y))
        return m.out(torch.cat([x, y], dim=2))

    parts: dict[str, Any] = {f"c{i}": Conv(1, 1, 1) for i in range(65)} | {f"s{i}": Neuron() for i in range(65)}
    module = Function(forward, **parts, out=Conv(2, 1, 1))
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data.fill_(4.0)
    x = events((2, 1, 1, 2, 2))
    with pytest.raises(
        ExportError,
        match=r"Projection input -> output \(module 'out'\) skips 66 layers and needs a delay of 65 time steps, the limit is 62",
    ):
        export(module, x)
    graph = export(module, x, relays=True, check=True)
    assert [p.id for p in graph.populations[:4]] == ["input", "input.relay1", "input.relay2", "input.relay3"]
    assert max(p.delay for p in graph.projections) == 62


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (real_skip(), "'conv3' reads a real-valued skip"),
        (identity(1 / 3), "additive identity of unequal scale"),
        (nn.Sequential(Conv(2, 2, 1), Pool(2), Neuron()), "Max-pool '1' works on real values"),
    ],
)
def test_refusals_come_through(module: nn.Module, message: str) -> None:
    with pytest.raises(NotBinaryError, match=message):
        export(module, events((2, 1, 2, 8, 8)))


def test_the_check_stops_an_export_that_would_lie() -> None:
    class Crooked(Neuron):
        def neuron_spec(self) -> Any:
            spec = super().neuron_spec()
            return type(spec)(leak=spec.leak, gain=spec.gain, threshold=0.5)

    module = wake(nn.Sequential(Conv(2, 3, 3), Crooked()))
    export(module, X)
    with pytest.raises(
        ExportError, match=r"Pass 'trace' changed the function: population '1', step 0, sample 0.*0.0 in the torch"
    ):
        export(module, X, check=True)


def test_exporter_and_passes_import_without_torch() -> None:
    code = "import sys, netx_export.exporter, netx_export.verify; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
