"""Networks of lava-dl blocks: what is exported gives the spikes that SLAYER's quantised arithmetic gives, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lava_runtime
import netx_export
from netx_export.errors import ExportError, QuantisationError
from netx_export.graph import Graph, Input, SigmaDelta
from tests.conformance.lava_dl_files import TALLIES, Tally

torch = pytest.importorskip("torch")
slayer = pytest.importorskip("lava.lib.dl.slayer", reason="needs lava-dl (Python 3.10)")

from netx_export.slayer.states import reset_states  # noqa: E402  (needs torch, which this file may lack)

cuba, sigma_delta, rf, rf_iz = slayer.block.cuba, slayer.block.sigma_delta, slayer.block.rf, slayer.block.rf_iz
LIF = {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.1}
NORM = {**LIF, "norm": slayer.neuron.norm.MeanOnlyBatchNorm}
SDNN = {"threshold": 0.25, "activation": torch.relu}
RESONATOR = {"threshold": 0.5, "period": 9.0, "decay": 0.05}
FRAME = (2, 6, 8)
TALLY = TALLIES["networks of SLAYER blocks, exported, in fast"] = Tally()


class Blocks(torch.nn.Module):
    """lava-dl's usual network."""

    def __init__(self, *blocks: Any) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)

    def forward(self, x: Any) -> tuple[Any, Any]:
        counts = []
        for block in self.blocks:
            x = block(x)
            counts.append(torch.mean(x).item())
        return x, torch.tensor(counts)


class Branches(torch.nn.Module):
    """Concatenated and added skips, a slice, an upsampled map and three heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = cuba.Conv(LIF, 2, 6, 3, padding=1, weight_scale=3)
        self.down = cuba.Conv(NORM, 6, 6, 3, padding=1, stride=2, weight_scale=3, delay=True)
        self.deep = cuba.Conv(LIF, 6, 6, 3, padding=1, weight_scale=3)
        self.side = cuba.Conv(LIF, 6, 6, 2, stride=2, weight_scale=3)
        self.wide = cuba.Conv(LIF, 6, 3, 1, weight_scale=4)
        self.up = cuba.ConvT(LIF, 6, 6, 2, stride=2, weight_scale=3)
        self.first = cuba.Conv(LIF, 12, 4, 1, weight_scale=3)
        self.second = cuba.Conv(LIF, 3, 2, 3, padding=1, weight_scale=4)
        self.third = cuba.Dense(LIF, 6 * 3 * 4 + 3 * 6 * 8, 5, weight_scale=4)

    def forward(self, x: Any) -> dict[str, Any]:
        stem = self.stem(x)
        down = self.down(stem)
        deep = self.deep(down + self.side(stem))
        wide = torch.cat([self.up(deep), stem], 1)
        again = torch.nn.functional.interpolate(down, scale_factor=(2.0, 2.0, 1.0))
        flat = torch.cat([deep.flatten(1, 3), self.wide(again).reshape(x.shape[0], -1, x.shape[-1])], dim=1)
        return {
            "first": self.first(wide),
            "second": self.second(stem[:, 1:4]),
            "third": self.third(flat),
            "stem_spikes": stem,
        }


def spikes(seed: int, *shape: int, rate: float = 0.4) -> Any:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def settle(module: Any, example: Any) -> Any:
    """Run once, give norms and delays numbers that matter, and go to evaluation mode."""
    with torch.no_grad():
        module(example)
        generator = torch.Generator().manual_seed(7)
        for part in module.modules():
            if type(part).__name__ == "Delay" and part.init:
                part.delay.data = 6 * torch.rand(part.delay.shape, generator=generator)
            if type(part).__name__ == "MeanOnlyBatchNorm" and part.num_features:
                part.running_mean = 0.2 * torch.randn(part.num_features, generator=generator)
    reset_states(module)
    return module.eval()


def outputs_of(graph: Graph, recording: Any) -> dict[str, Any]:
    """Rows (B,T,N) of every output, B recordings that each start from rest."""
    frames = np.moveaxis(recording.numpy(), -1, 0)
    frames = frames.reshape(*frames.shape[:2], *graph.inputs[0].shape)
    trace = lava_runtime.run(graph, frames.astype(np.int32), backend="fast")
    batch = frames.shape[1]
    return {name: rows.reshape(batch, -1, *rows.shape[1:]) for name, rows in trace.outputs.items()}


def slayer_rows(returned: Any, scale: int = 1) -> Any:
    """SLAYER's (B,...,T) as integers (B,T,...)."""
    return np.moveaxis(np.rint(returned.detach().numpy() * scale).astype(np.int64), -1, 1)


def check(module: Any, example: Any, *, biased: bool = False, names: dict[str, str] | None = None) -> dict[str, int]:
    """Compare every output with SLAYER's; returns spikes per output. A silent output proves nothing and fails."""
    module = settle(module, example)
    graph = netx_export.export(module, example)
    assert graph.timing == "as_given"
    reset_states(module)
    with torch.no_grad():
        silent = torch.zeros_like(example[..., :1])
        returned = module(torch.cat([silent, example], -1) if biased else example)
    returned = returned if isinstance(returned, dict) else {"output": returned[0]}
    found = outputs_of(graph, example)
    counts = {}
    TALLY.file(example.shape[0] * example.shape[-1])
    for name, value in returned.items():
        ours = found[(names or {}).get(name, name)]
        theirs = slayer_rows(value)[:, 1:] if biased else slayer_rows(value)
        TALLY.same(ours.reshape(theirs.shape), theirs, name)
        counts[name] = int(np.count_nonzero(theirs))
        assert 0 < counts[name] < theirs.size
    return counts


# -- exact -------------------------------------------------------------------------------------------------------


def test_convolutions_pools_and_dense_blocks_of_a_blocks_list() -> None:
    net = Blocks(
        cuba.Conv(LIF, 2, 6, 3, padding=1, stride=2, weight_scale=3),
        cuba.Pool(LIF, 2, weight_scale=2),  # of 3x4, which lava-dl pads to 4x4
        cuba.Conv(NORM, 6, 8, 3, groups=2, padding=1, weight_scale=4),
        cuba.Flatten(),
        cuba.Dense(LIF, 8 * 2 * 2, 10, weight_scale=5),
    )
    torch.manual_seed(3)
    check(net, spikes(0, 3, *FRAME, 24), biased=True, names={"output": "blocks.4"})


def test_transposed_convolutions_unpooling_and_delays() -> None:
    torch.manual_seed(1)
    net = Blocks(
        cuba.Conv(LIF, 2, 4, 3, padding=1, stride=2, weight_scale=4, delay=True),
        cuba.ConvT(LIF, 4, 6, 3, stride=2, padding=1, groups=2, weight_scale=4),
        cuba.Unpool(LIF, 2, weight_scale=2),
        cuba.Flatten(),
        cuba.Dense(LIF, 6 * 10 * 14, 6, weight_scale=6, delay=True),
        cuba.Dense(LIF, 6, 5, weight_scale=6),
    )
    check(net, spikes(1, 2, *FRAME, 30), names={"output": "blocks.5"})


def test_skips_slices_sums_upsampling_and_heads_of_a_module_of_its_own() -> None:
    torch.manual_seed(2)
    example = spikes(2, 2, *FRAME, 24)
    net = settle(Branches(), example)
    graph = netx_export.export(net, example)
    summed = [p for p in graph.projections if p.dst == "deep"]
    assert len(summed) == 2
    assert summed[0].synapse is not summed[1].synapse
    assert summed[0].synapse.kernel is summed[1].synapse.kernel  # type: ignore[union-attr]
    reset_states(net)
    with torch.no_grad():
        returned = net(torch.cat([torch.zeros_like(example[..., :1]), example], -1))
    found = outputs_of(graph, example)
    assert set(found) == {"first", "second", "third", "stem_spikes"}
    for name in ("first", "second", "third"):
        theirs = slayer_rows(returned[name])[:, 1:]
        np.testing.assert_array_equal(found[name].reshape(theirs.shape), theirs, err_msg=name)
        assert theirs.any()
    # What others read too is handed to the host through a readout, one step later.
    stem = slayer_rows(returned["stem_spikes"])[:, 1:]
    np.testing.assert_array_equal(found["stem_spikes"].reshape(stem.shape)[:, 1:], stem[:, :-1])


@pytest.mark.parametrize("delay", [False, True])
def test_recurrent_blocks(delay: bool) -> None:
    torch.manual_seed(4)
    net = Blocks(cuba.Recurrent(LIF, 12, 20, weight_scale=4, delay=delay), cuba.Dense(LIF, 20, 6, weight_scale=4))
    check(net, spikes(4, 3, 12, 30), names={"output": "blocks.1"})


def test_an_input_block_without_neurons_changes_nothing() -> None:
    torch.manual_seed(5)
    net = Blocks(
        cuba.Input(None, delay_shift=False),
        cuba.Dense(NORM, 12, 20, weight_scale=4),
        cuba.Dense(NORM, 20, 6, weight_scale=4),
    )
    check(net, spikes(5, 2, 12, 20), biased=True, names={"output": "blocks.2"})


def test_an_input_block_with_neurons_takes_the_hosts_numbers() -> None:
    torch.manual_seed(6)
    net = Blocks(cuba.Input(LIF), cuba.Dense(NORM, 12, 20, weight_scale=4))
    units = torch.randint(-20, 40, (2, 12, 25), generator=torch.Generator().manual_seed(6)) * 2
    module = settle(net, units / 64)
    graph = netx_export.export(module, units / 64)
    assert isinstance(graph.inputs[0].neuron, Input)
    assert graph.inputs[0].neuron.message_bits == 10
    reset_states(module)
    theirs = slayer_rows(module(units / 64)[0])
    ours = outputs_of(graph, units)["blocks.1"].reshape(theirs.shape)
    np.testing.assert_array_equal(ours[:, :-1], theirs[:, 1:])
    assert theirs.any()


@pytest.mark.parametrize("bias", [0.0, 0.109375])
def test_sigma_delta_networks(bias: float) -> None:
    torch.manual_seed(8)
    net = Blocks(
        sigma_delta.Input({**SDNN, "threshold": 0.125}),
        sigma_delta.Conv(SDNN, 2, 4, 3, stride=2, padding=1, weight_scale=2),
        sigma_delta.Flatten(),
        sigma_delta.Dense(SDNN, 4 * 3 * 4, 8, weight_scale=2),
        sigma_delta.Output(SDNN, 8, 3, weight_scale=2),
    )
    units = torch.randint(-30, 60, (2, *FRAME, 16), generator=torch.Generator().manual_seed(8)) * 2
    module = settle(net, units / 64)
    module.blocks[1].neuron.set_bias(torch.full((4, 3, 4), bias))
    graph = netx_export.export(module, units / 64)
    assert graph.messages == "graded"
    theirs = slayer_rows(module(units / 64)[0], scale=1 << 18)
    ours = outputs_of(graph, units)["blocks.4"].reshape(theirs.shape)
    # SLAYER computes the chain in one step, hardware needs one step per layer behind the input block.
    np.testing.assert_array_equal(ours[:, 3:], theirs[:, :-3])
    assert theirs.any()


@pytest.mark.parametrize("family", [rf, rf_iz], ids=["rf", "rf_iz"])
def test_resonators(family: Any) -> None:
    torch.manual_seed(9)
    net = Blocks(family.Dense(RESONATOR, 12, 30, weight_scale=6), family.Dense(RESONATOR, 30, 8, weight_scale=6))
    check(net, spikes(9, 2, 12, 40), names={"output": "blocks.1"})


class Readouts(torch.nn.Module):
    """Blocks read out through synapses alone, with a constant added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = cuba.Conv(NORM, 2, 6, 3, padding=1, stride=2, weight_scale=3)
        hook = self.stem.neuron.quantize_8bit
        self.heat = slayer.synapse.Conv(6, 2, 1, pre_hook_fx=hook)
        self.vote = slayer.synapse.Dense(6 * 3 * 4, 3, pre_hook_fx=hook)

    def forward(self, x: Any) -> dict[str, Any]:
        spikes = self.stem(x)
        flat = spikes.reshape(x.shape[0], -1, x.shape[-1])
        return {"heat": self.heat(spikes) - 2.1875, "vote": 0.5 + self.vote(flat)}


def test_synapses_alone_are_readouts() -> None:
    example = spikes(11, 2, *FRAME, 16)
    net = settle(Readouts(), example)
    graph = netx_export.export(net, example)
    returned = net(torch.cat([torch.zeros_like(example[..., :1]), example], -1))
    found = outputs_of(graph, example)
    for name, value in returned.items():
        theirs = slayer_rows(value, scale=64)[:, :-1]
        np.testing.assert_array_equal(found[name].reshape(theirs.shape), theirs, err_msg=name)
        assert len(np.unique(theirs)) > 3
    assert graph.by_id["heat"].neuron.unit == 1 / 64  # type: ignore[union-attr]


def test_a_neurons_constants_are_read_not_rounded() -> None:
    graph = netx_export.export(Blocks(cuba.Dense(LIF, 3, 2)), spikes(0, 1, 3, 4))
    neuron: Any = graph.by_id["blocks.0"].neuron
    assert (neuron.vth_mant, neuron.du, neuron.dv) == (64, 1023, 410)
    fine = sigma_delta.Dense({**SDNN, "threshold": 1 / 16}, 3, 2, delay_shift=True)
    spec = netx_export.export(Blocks(fine), spikes(0, 1, 3, 4)).by_id["blocks.0"].neuron
    assert isinstance(spec, SigmaDelta)
    assert spec.vth << (spec.spike_exp + spec.state_exp) == (1 << 18) // 16


# -- refused -----------------------------------------------------------------------------------------------------


def dense(**more: Any) -> Any:
    return cuba.Dense({**LIF, **more}, 3, 2)


def scaled_norm() -> Any:
    block = dense(norm=slayer.neuron.norm.WgtScaleBatchNorm)
    with torch.no_grad():
        block(spikes(0, 1, 3, 4))
    block.neuron.norm.running_var = torch.tensor([9.0])
    return block


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Blocks(cuba.Average(3)), "'blocks.0' is a cuba.Average: it averages spikes to real numbers; leave it out"),
    (lambda: Blocks(cuba.KWTA(LIF, 3, 3, 1)), "cuba.KWTA: its winners inhibit each other"),
    (
        lambda: Blocks(
            slayer.block.alif.Dense(
                {**LIF, "threshold_step": 0.5, "threshold_decay": 0.1, "refractory_decay": 0.1}, 3, 2
            )
        ),
        "alif.Dense: its adaptive threshold has no Lava process; train with cuba neurons",
    ),
    (lambda: Blocks(cuba.Affine(LIF, 3, 2)), "with dynamics: it returns voltages"),
    (lambda: Blocks(dense(graded_spike=True)), "graded_spike=True.*only 0/1 spikes travel"),
    (lambda: Blocks(dense(scale=128)), "neurons of scale 128, Lava's fixed-point neurons need 64"),
    (lambda: Blocks(dense(shared_param=False)), "a current_decay of its own for every channel.*shared_param=True"),
    (lambda: Blocks(dense(threshold=0.001)), "has the threshold 0.0"),
    (lambda: Blocks(scaled_norm()), r"WgtScaleBatchNorm that divides its current by 2\*\*2.*MeanOnlyBatchNorm"),
    (lambda: Blocks(cuba.Dense(LIF, 3, 2, pre_hook_fx=None)), "pre_hook_fx=None: its weights are not quantised"),
    (lambda: Blocks(cuba.Dense(LIF, 3, 2, count_log=True)), "count_log=True"),
    (lambda: Blocks(sigma_delta.Dense({**SDNN, "cum_error": True}, 3, 2)), "cum_error=True"),
    (lambda: Blocks(sigma_delta.Dense({**SDNN, "activation": torch.tanh}, 3, 2)), "the activation 'tanh'"),
    (
        lambda: Blocks(rf.Dense({**RESONATOR, "norm": slayer.neuron.norm.MeanOnlyBatchNorm}, 3, 2)),
        "a norm on resonate-and-fire neurons",
    ),
]


@pytest.mark.parametrize(("build", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_blocks_without_an_exact_form_are_refused_by_name(build: Callable[[], Any], message: str) -> None:
    module = build()
    with pytest.raises((ExportError, QuantisationError), match=message):
        netx_export.export(module, spikes(0, 2, 3, 4))


def test_pools_that_mix_channels_are_refused() -> None:
    with pytest.raises(ExportError, match="such windows mix the rows of neighbouring channels"):
        netx_export.export(Blocks(cuba.Pool(LIF, 2, stride=1)), spikes(0, 1, *FRAME, 3))
    with pytest.raises(ExportError, match="pools 4 rows or columns by 3: lava-dl pads them to 5"):
        netx_export.export(Blocks(cuba.Pool(LIF, (1, 3))), spikes(0, 1, 2, 6, 4, 3))


def heads(forward: Callable[[Any, Any], Any]) -> Any:
    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = cuba.Dense(LIF, 3, 3)
            self.two = cuba.Dense(LIF, 3, 3)
            self.plain = slayer.synapse.Dense(3, 2, pre_hook_fx=self.one.neuron.quantize_8bit)

        def forward(self, x: Any) -> Any:
            return forward(self, x)

    return Head()


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            lambda net, x: torch.mean(net.one(x), -1),
            "Output 'output' of Head: Operation 'mean' .* compute the rest on the host",
        ),
        (lambda net, x: net.two(2 * net.one(x)), "Operation 'mul'"),
        (lambda net, x: net.one(net.one(x)), "Block 'one' is called twice"),
        (lambda net, x: net.one(x) + net.two(x), "is a sum of spikes; return the terms"),
        (lambda net, x: net.one(torch.cat([x[:, :2], torch.zeros_like(x[:, :1])], 1)), "Operation 'zeros_like'"),
        (lambda net, x: net.one(x[..., 1:]), "slice channels only"),
        (lambda net, x: net.one(x) + 1.0, "adds 1.0 to spikes; put it into a norm"),
        (lambda net, x: net.one(x) - net.two(x), "subtracts spikes from one another"),
        (lambda net, x: net.plain(net.one(x)) + 0.1, "holds 0.1, which is no multiple of 1/64"),
        (lambda net, x: x, "returns no spikes of a block|is the network's input"),
    ],
)
def test_what_is_no_wiring_of_spikes_is_refused(forward: Any, message: str) -> None:
    with pytest.raises((ExportError, QuantisationError), match=message):
        netx_export.export(heads(forward), spikes(0, 2, 3, 4))


def test_examples_that_do_not_fit() -> None:
    with pytest.raises(ExportError, match=r"give \(B,C,H,W,T\), or \(B,C,T\)"):
        netx_export.export(Blocks(dense()), spikes(0, 3, 4))
    with pytest.raises(ExportError, match="a network without an input block takes 0/1 spikes"):
        netx_export.export(Blocks(dense()), spikes(0, 2, 3, 4) * 3)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    return
