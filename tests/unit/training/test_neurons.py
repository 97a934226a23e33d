"""The PLIF neuron against a plain loop, its gradients against autograd and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from netx_export.errors import ConfigError  # noqa: E402
from netx_export.graph.neurons import FloatLif  # noqa: E402
from training.neurons import Plif, atan_spike, plif_steps  # noqa: E402


def currents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 1.5 + 0.6


def test_spikes_match_a_loop_over_single_neurons() -> None:
    x = currents(6, 2, 3, 4, 5)
    neuron = Plif(initial_k=0.3)
    spikes = neuron(x).detach().numpy()
    k = np.float32(torch.sigmoid(neuron.w).item())
    flat = x.reshape(6, -1).numpy()
    wanted = np.zeros_like(flat)
    for i in range(flat.shape[1]):
        v = np.float32(0.0)
        for t in range(6):
            h = v + k * (flat[t, i] - v)
            wanted[t, i] = h >= 1.0
            v = np.float32(0.0) if h >= 1.0 else h
    assert wanted.sum() > 50
    np.testing.assert_array_equal(spikes.reshape(6, -1), wanted)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (5, 2, 3, 4, 5), (4, 1, 7, 33, 41)])
@pytest.mark.parametrize("last", [False, True])
def test_compiled_and_tensor_paths_agree_with_gradients(shape: tuple[int, ...], last: bool) -> None:
    x = currents(*shape, seed=1)
    if last:
        x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    upstream = currents(*shape, seed=2)
    results = []
    for compiled in (True, False):
        neuron = Plif(initial_k=0.4)
        given = x.clone(memory_format=torch.preserve_format).requires_grad_()
        spikes = neuron(given) if compiled else plif_steps(given, torch.sigmoid(neuron.w))
        spikes.backward(upstream)
        results.append((spikes.detach(), given.grad, neuron.w.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=0)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-4, atol=1e-4)


def test_surrogate_is_the_derivative_of_an_arctangent() -> None:
    h = torch.linspace(-3.0, 4.0, 57, dtype=torch.float64, requires_grad=True)
    atan_spike(h).sum().backward()
    # ATan(2): 1/pi * atan(pi * (h-1)) + 1/2, differentiated numerically.
    step = 1e-6
    points = h.detach().numpy()
    smooth = [np.arctan(math.pi * (points + side - 1.0)) / math.pi for side in (step, -step)]
    np.testing.assert_allclose(h.grad, (smooth[0] - smooth[1]) / (2 * step), rtol=1e-6)


def test_gradient_below_threshold_follows_the_leak() -> None:
    """Two steps without a spike: dH2/dX1 = k(1-k), dH2/dX2 = k, each times the surrogate at H2."""
    neuron = Plif(initial_k=0.25)
    x = torch.tensor([0.8, 1.2]).view(2, 1, 1, 1, 1).requires_grad_()
    neuron(x)[1].sum().backward()
    h2 = 0.75 * 0.2 + 0.25 * 1.2
    slope = 1.0 / (1.0 + (math.pi * (h2 - 1.0)) ** 2)
    assert x.grad is not None
    torch.testing.assert_close(x.grad.flatten(), torch.tensor([0.25 * 0.75 * slope, 0.25 * slope]))


def test_reset_passes_no_gradient_and_starts_at_zero() -> None:
    neuron = Plif()
    x = torch.tensor([4.0, 1.9, 2.1]).view(3, 1, 1, 1, 1).requires_grad_()
    spikes = neuron(x)
    assert spikes.flatten().tolist() == [1.0, 0.0, 1.0]
    spikes[2].sum().backward()
    assert x.grad is not None
    assert x.grad[0].item() == 0.0
    assert x.grad[1].item() != 0.0


def test_threads_change_no_spike_and_no_gradient_of_an_input() -> None:
    import numba

    before = numba.get_num_threads()
    x = currents(5, 2, 8, 40, 40)
    results = []
    try:
        for threads in sorted({1, before}):
            numba.set_num_threads(threads)
            neuron = Plif()
            given = x.clone().requires_grad_()
            spikes = neuron(given)
            (spikes * x).sum().backward()
            results.append((given.grad, spikes.detach(), neuron.w.grad))
    finally:
        numba.set_num_threads(before)
    for gradients in results[1:]:
        assert torch.equal(gradients[0], results[0][0])
        assert torch.equal(gradients[1], results[0][1])
        # A sum over all neurons: its order differs, its value does not.
        torch.testing.assert_close(gradients[2], results[0][2], rtol=1e-5, atol=0)


def test_neuron_spec_says_what_the_exporter_needs() -> None:
    spec = Plif(initial_k=0.3).neuron_spec()
    assert isinstance(spec, FloatLif)
    assert spec.gain == pytest.approx(0.3, abs=1e-6)
    assert spec.leak == pytest.approx(0.7, abs=1e-6)
    assert (spec.threshold, spec.reset) == (1.0, "zero")
    assert Plif().k == 0.5
    assert float(Plif().w) == 0.0


def test_errors_name_value_and_remedy() -> None:
    with pytest.raises(ConfigError, match=r"initial_k = 1\.0; it must lie between 0 and 1"):
        Plif(initial_k=1.0)
    with pytest.raises(ConfigError, match=r"shape \(2, 3\); give \(T,B,C,H,W\)"):
        Plif()(torch.zeros(2, 3))
