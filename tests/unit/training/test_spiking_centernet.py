"""Spiking CenterNet: shapes, spikes on every skip, sizes from the literature, and what a tracer sees."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import fx, nn  # noqa: E402

from netx_export.errors import ConfigError  # noqa: E402
from training.config import FULL, TINY, CenterNetConfig  # noqa: E402
from training.layers import BatchNorm2d, Conv2d, MaxPool2d, Upsample  # noqa: E402
from training.models.spiking_centernet import DecoderBlock, SpikingCenterNet  # noqa: E402
from training.neurons import Plif  # noqa: E402

SMALL = CenterNetConfig(
    stem_channels=4, stem_kernel=5, stages=(4, 6, 8), convolutions=1, head_channels=4, head_norm=True
)


def spikes(*shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(3)) < 0.15).float()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_tiny_has_its_size_and_shapes() -> None:
    torch.manual_seed(0)
    module = SpikingCenterNet(TINY.model)
    assert parameters(module) == 113_213
    outputs = module(spikes(5, 2, 4, 128, 160))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "heatmap": (5, 2, 2, 32, 40),
        "offset": (5, 2, 2, 32, 40),
        "size": (5, 2, 2, 32, 40),
    }


def test_full_has_the_parameters_of_the_paper() -> None:
    """12.97 M in Table I; 26 PLIF layers. Source: Spiking CenterNet, reconstruction SCN-R."""
    with torch.device("meta"):
        module = SpikingCenterNet(FULL.model)
    assert parameters(module) == 12_969_344
    assert sum(isinstance(layer, Plif) for layer in module.modules()) == 26
    assert module.encoder.stem.conv.weight.shape == (64, 4, 7, 7)
    widths = [block.expand.out_channels for block in module.decoder.children()]
    assert widths == [891, 594, 371]


def test_only_spikes_meet_in_the_decoder() -> None:
    torch.manual_seed(1)
    module = SpikingCenterNet(SMALL)
    seen: list[float] = []

    def check(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        for tensor in inputs:
            assert set(tensor.unique().tolist()) <= {0.0, 1.0}
            seen.append(float(tensor.mean()))

    for layer in module.modules():
        if isinstance(layer, DecoderBlock | Upsample | MaxPool2d):
            layer.register_forward_pre_hook(check)
    module(spikes(4, 1, 4, 64, 64))
    assert len(seen) == 7
    assert all(rate > 0.0 for rate in seen)


class LeafTracer(fx.Tracer):
    """Takes neurons and torch.nn's own classes as they are, as the exporter's tracer does."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Plif | nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d | nn.Upsample)


@pytest.mark.parametrize("config", [TINY.model, SMALL, FULL.model], ids=["tiny", "small", "full"])
def test_a_tracer_sees_layers_concatenations_and_nothing_else(config: CenterNetConfig) -> None:
    with torch.device("meta"):
        module = SpikingCenterNet(config)
    graph = LeafTracer().trace(module)
    functions = [node for node in graph.nodes if node.op == "call_function"]
    assert {node.target for node in functions} == {torch.cat}
    assert all(node.kwargs == {"dim": 2} for node in functions)
    assert {node.op for node in graph.nodes} == {"placeholder", "call_module", "call_function", "output"}
    kinds = {type(module.get_submodule(str(node.target))) for node in graph.nodes if node.op == "call_module"}
    assert kinds == {Plif, Conv2d, BatchNorm2d, MaxPool2d, Upsample}
    (result,) = (node.args[0] for node in graph.nodes if node.op == "output")
    assert list(result) == ["heatmap", "offset", "size"]


def test_module_names_are_fit_for_reports() -> None:
    names = {name for name, layer in SpikingCenterNet(TINY.model).named_modules() if isinstance(layer, Conv2d)}
    assert {"encoder.stem.conv", "encoder.stage1.conv1", "decoder.block1.depthwise", "heads.heatmap.out"} <= names


def test_layers_match_torch_with_time_folded_in() -> None:
    x = torch.randn(3, 2, 5, 8, 8, generator=torch.Generator().manual_seed(5))
    folded = x.flatten(0, 1)
    conv = Conv2d(5, 7, 3, padding=1)
    torch.testing.assert_close(conv(x).flatten(0, 1), nn.functional.conv2d(folded, conv.weight, conv.bias, padding=1))
    torch.testing.assert_close(MaxPool2d(2)(x).flatten(0, 1), nn.functional.max_pool2d(folded, 2))
    torch.testing.assert_close(Upsample(2)(x).flatten(0, 1), folded.repeat_interleave(2, 2).repeat_interleave(2, 3))
    with pytest.raises(ConfigError, match=r"input of shape \(6, 5, 8, 8\); give \(T,B,C,H,W\)"):
        conv(folded)


@pytest.mark.parametrize("channels", [1, 3, 16, 600])
def test_compiled_batch_norm_is_torchs(channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    ours, theirs = BatchNorm2d(channels), nn.BatchNorm2d(channels).double()
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2.0, generator=generator)
        ours.bias.normal_(generator=generator)
        for name, value in theirs.named_parameters():
            value.copy_(ours.get_parameter(name))
    x = torch.randn(3, 2, channels, 7, 9, generator=generator) * 3.0 + 1.0
    upstream = torch.randn(x.shape, generator=generator)
    single, double = x.clone().requires_grad_(), x.double().requires_grad_()
    y = ours(single)
    y.backward(upstream)
    wanted = theirs(double.flatten(0, 1)).view_as(double)
    wanted.backward(upstream.double())
    pairs = [
        (y, wanted),
        (single.grad, double.grad),
        (ours.weight.grad, theirs.weight.grad),
        (ours.bias.grad, theirs.bias.grad),
        (ours.running_mean, theirs.running_mean),
        (ours.running_var, theirs.running_var),
    ]
    for found, exact in pairs:
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)
    assert int(ours.num_batches_tracked) == 1


def test_input_and_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"shape \(5, 1, 4, 100, 160\); give \(T,B,4,H,W\).*multiples of 32"):
        SpikingCenterNet(TINY.model)(torch.zeros(5, 1, 4, 100, 160))
    with pytest.raises(ConfigError, match="model stem_kernel is 4; an odd kernel"):
        CenterNetConfig(stem_kernel=4)
    with pytest.raises(ConfigError, match=r"model stages is \(8,\); give at least two"):
        CenterNetConfig(stages=(8,))
    with pytest.raises(ConfigError, match=r"model expansion is 0.0, the limit is 0.01..16.0"):
        CenterNetConfig(expansion=0.0)
