"""Sums of currents reach the layers behind them as several projections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from netx_export.projection_graph import FloatConv, FloatOneToOne  # noqa: E402
from tests.unit.netx_export.networks import Conv, Function, Neuron, Norm, Up, events, wake  # noqa: E402
from tests.unit.netx_export.passes import up_to  # noqa: E402
from tests.unit.netx_export.same_function import assert_same  # noqa: E402

X = events((5, 2, 2, 8, 8))


def test_membrane_shortcuts_unroll_into_projections_from_every_block() -> None:
    def forward(m: Any, x: Any) -> Any:
        current = m.norm0(m.conv0(x))
        for index in (1, 2, 3):
            block = getattr(m, f"conv{index}")(getattr(m, f"spike{index}")(current))
            current = current + getattr(m, f"norm{index}")(block)
        return m.spike4(current)

    parts: dict[str, Any] = {f"conv{i}": Conv(2 if i == 0 else 4, 4, 3, padding=1, bias=False) for i in range(4)}
    parts |= {f"norm{i}": Norm(4) for i in range(4)} | {f"spike{i}": Neuron() for i in range(1, 5)}
    module = wake(Function(forward, **parts), gain=1.5)
    before, after = up_to("unroll residuals", module, X)
    assert_same(before, after, X.numpy())
    _, dissolved = up_to("balance delays", module, X)
    run = assert_same(before, dissolved, X.numpy())
    assert all(spikes.any() for spikes in run.spikes.values())
    assert [(p.src, p.delay) for p in dissolved.incoming["spike4"]] == [
        ("input", 3),
        ("spike1", 2),
        ("spike2", 1),
        ("spike3", 0),
    ]
    # conv0's kernel is one array, however many populations it feeds.
    first = [p.synapse.weight for p in dissolved.projections if p.src == "input"]
    assert len(first) == 4
    assert all(weight is first[0] for weight in first)


def test_a_downsampling_shortcut_on_currents_merges() -> None:
    def forward(m: Any, x: Any) -> Any:
        current = m.conv0(x) + m.conv1(m.spike1(m.conv0(x)))
        short = m.short(current)
        return m.spike2(short + m.conv2(m.spike3(current)))

    module = wake(
        Function(
            forward,
            conv0=Conv(2, 4, 3, padding=1),
            conv1=Conv(4, 4, 3, padding=1),
            conv2=Conv(4, 6, 3, stride=2, padding=1),
            short=Conv(4, 6, 1, stride=2),
            spike1=Neuron(),
            spike2=Neuron(),
            spike3=Neuron(),
        )
    )
    before, after = up_to("unroll residuals", module, X)
    assert_same(before, after, X.numpy())
    _, dissolved = up_to("balance delays", module, X)
    assert_same(before, dissolved, X.numpy())
    into = [p.synapse for p in dissolved.incoming["spike2"]]
    assert [synapse.stride for synapse in into if isinstance(synapse, FloatConv)] == [(2, 2)] * 3


def test_upsampled_scaled_and_concatenated_currents_unroll() -> None:
    def forward(m: Any, x: Any) -> Any:
        s = m.spike1(m.conv1(x))
        summed = m.conv2(s) + 0.5 * m.conv3(x) + m.up2(m.conv5(m.spike5(m.conv4(x))))
        lifted = m.up(2 * (summed + s))
        joined = torch.cat([lifted, m.up(x)], dim=2)
        return m.mix(joined), m.spike2(joined)

    module = wake(
        Function(
            forward,
            conv1=Conv(2, 3, 3, padding=1),
            spike1=Neuron(),
            conv2=Conv(3, 3, 3, padding=1),
            conv3=Conv(2, 3, 1),
            conv4=Conv(2, 3, 3, stride=2, padding=1),
            spike5=Neuron(),
            conv5=Conv(3, 3, 3, padding=1),
            up=Up(scale_factor=2),
            up2=Up(scale_factor=2),
            mix=Conv(5, 2, 1),
            spike2=Neuron(),
        )
    )
    before, after = up_to("unroll residuals", module, X)
    assert_same(before, after, X.numpy())
    _, dissolved = up_to("balance delays", module, X)
    run = assert_same(before, dissolved, X.numpy())
    assert run.spikes["spike2"].any()


def test_an_additive_identity_of_spikes_is_one_to_one() -> None:
    def forward(m: Any, x: Any) -> Any:
        s = m.spike1(m.conv1(x))
        return m.spike2(s + m.conv2(s)), m.spike3(m.up(s) + m.conv3(m.up(s)))

    module = wake(
        Function(
            forward,
            conv1=Conv(2, 3, 3, padding=1),
            conv2=Conv(3, 3, 3, padding=1),
            conv3=Conv(3, 3, 3, padding=1),
            up=Up(scale_factor=2),
            spike1=Neuron(),
            spike2=Neuron(),
            spike3=Neuron(),
        )
    )
    before, dissolved = up_to("dissolve linear", module, X)
    assert_same(before, dissolved, X.numpy())
    identity = next(p for p in dissolved.incoming["spike2"] if p.exact)
    assert isinstance(identity.synapse, FloatOneToOne)
    np.testing.assert_array_equal(identity.synapse.weight, np.ones(3))
    repeated = next(p for p in dissolved.incoming["spike3"] if p.exact)
    assert isinstance(repeated.synapse, FloatConv)
    assert (repeated.synapse.upsample, repeated.synapse.groups) == (2, 3)
