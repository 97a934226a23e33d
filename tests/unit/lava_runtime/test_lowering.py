"""Graphs as Lava processes, described: exact without Lava, and made of what Lava has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lava_runtime import Probes, run
from lava_runtime.lowering.blocks import (
    Connection,
    ConvBlock,
    CurrentBlock,
    DelayBlock,
    DenseBlock,
    FanInBlock,
    LifBlock,
    Lowered,
    SigmaBlock,
    SourceBlock,
    SparseBlock,
)
from lava_runtime.lowering.lower import check_messages, lower_compact, lower_portable
from lava_runtime.lowering.taps import AxisTaps, axis_taps, conv_reads, frame_conv_of, transposed_reads
from lava_runtime.simulation.messages import MessageList
from lava_runtime.simulation.synapse_sums import ConvSum
from netx_export.errors import RunError
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    Sigma,
    Wire,
)
from tests.unit.lava_runtime.block_steps import step_blocks
from tests.unit.lava_runtime.foreign_networks import delayed
from tests.unit.lava_runtime.lava_networks import graded, kernel, many_features, spikes

LOWERINGS = (lower_portable, lower_compact)


def _frames(inputs: np.ndarray) -> np.ndarray:
    return inputs.transpose(1, 0, 4, 3, 2).reshape(-1, *inputs.shape[:1:-1])


def _check_against_fast(graph: Graph, inputs: np.ndarray, lowered: Lowered) -> int:
    trace = run(graph, inputs, probes=Probes(rasters="all"))
    calendar = trace.schedule
    emitted = step_blocks(lowered, {graph.inputs[0].id: _frames(inputs)}, steps=calendar.hardware_steps)
    for population in graph.populations:
        window = calendar.window(population.id)
        rows = emitted[population.id]
        if isinstance(population.neuron, Readout):
            bias = population.neuron.bias
            expected = trace.outputs[population.id][window] - (bias[:, None, None] if bias.ndim == 1 else bias)
        else:
            expected = trace.rasters[population.id][window]
        np.testing.assert_array_equal(rows[window], expected, err_msg=population.id)
        if isinstance(population.neuron, Lif | Or):
            assert int(rows[: window.start].sum()) == trace.warm_up[population.id]
            assert int(rows[window.stop :].sum()) == trace.drain[population.id]
    return trace.total_spikes(graph)


@pytest.mark.parametrize("lower", LOWERINGS)
@pytest.mark.parametrize("seed", range(3))
def test_lowered_blocks_compute_the_graph(lower, seed: int) -> None:
    graph = many_features(seed)
    assert _check_against_fast(graph, spikes(graph, seed=seed), lower(graph, steps=4)) > 300


@pytest.mark.parametrize("lower", LOWERINGS)
def test_lowered_blocks_compute_graded_messages(lower) -> None:
    graph, inputs = graded()
    assert _check_against_fast(graph, inputs, lower(graph, steps=3)) > 10


@pytest.mark.parametrize("lower", LOWERINGS)
def test_delays_as_given_need_no_reset(lower) -> None:
    aligned = many_features()
    graph = replace(
        aligned,
        timing="as_given",
        projections=tuple(
            replace(p, delay=delay)
            for p, delay in zip(aligned.projections, (3, 0, 2, 1, 0, 65, 0, 7, 1, 4), strict=True)
        ),
    )
    lowered = lower(graph, steps=80)
    assert all(block.reset is None for block in lowered.blocks.values() if isinstance(block, LifBlock))
    assert _check_against_fast(graph, spikes(graph, steps=80, samples=1), lowered) > 300


def _kinds(lowered: Lowered) -> dict[type, int]:
    kinds: dict[type, int] = {}
    for block in lowered.blocks.values():
        kinds[type(block)] = kinds.get(type(block), 0) + 1
    return kinds


def test_portable_uses_lavas_processes_alone() -> None:
    kinds = _kinds(lower_portable(many_features(), steps=4))
    assert kinds[SparseBlock] == 4, "upsampling by two is one Sparse for each of four sub-pixel positions"
    assert not {FanInBlock, CurrentBlock} & set(kinds)
    assert kinds[SigmaBlock] == 1
    assert kinds[SourceBlock] == 2, "a delayed input is a second source"


def test_compact_puts_several_projections_into_one_process() -> None:
    lowered = lower_compact(many_features(), steps=4)
    kinds = _kinds(lowered)
    assert kinds == {SourceBlock: 1, LifBlock: 5, CurrentBlock: 1, ConvBlock: 2, FanInBlock: 4}
    fan_in = lowered.blocks["fan-in r"]
    assert isinstance(fan_in, FanInBlock)
    assert (len(fan_in.sources), len(fan_in.branches)) == (3, 4), "one port for each source, whatever reads it"


def test_populations_reset_where_their_samples_start() -> None:
    graph = many_features()
    for lower in LOWERINGS:
        blocks = lower(graph, steps=4).blocks
        for population in graph.populations:
            if isinstance(population.neuron, Lif):
                block = blocks[f"neurons {population.id}"]
                assert isinstance(block, LifBlock)
                assert block.reset == (4, graph.depth[population.id] + 1)


def test_a_delay_line_is_shared_and_takes_its_own_steps_out() -> None:
    one = OneToOne(kernel=Kernel(mantissa=np.ones(1, np.int16)))
    populations = [
        Population(id="in", shape=(1, 1, 1), neuron=Input()),
        Population(id="a", shape=(1, 1, 1), neuron=Or()),
    ]
    populations += [Population(id=f"t{delay}", shape=(1, 1, 1), neuron=Or()) for delay in (1, 4, 70)]
    projections = [Projection(src="in", dst="a", synapse=one)]
    projections += [Projection(src="a", dst=f"t{delay}", synapse=one, delay=delay) for delay in (1, 4, 70)]
    graph = Graph(populations=tuple(populations), projections=tuple(projections), timing="as_given")
    lowered = lower_portable(graph, steps=90)
    delays = sorted(block.delay for block in lowered.blocks.values() if isinstance(block, DelayBlock))
    assert delays == [0, 2, 2, 62], "1, then 3 more, then 3 and 63 more; each relay costs one step itself"
    pulse = np.zeros((90, 1, 1, 1, 1), np.int32)
    pulse[0] = 1
    emitted = step_blocks(lowered, {"in": _frames(pulse)}, steps=90)
    assert [int(np.argmax(emitted[f"t{delay}"])) for delay in (1, 4, 70)] == [3, 6, 72]


def test_a_channel_slice_pads_the_kernel_with_zeros() -> None:
    graph = many_features()
    blocks = lower_portable(graph, steps=4).blocks
    block = blocks["synapse 7"]
    assert isinstance(block, ConvBlock)
    assert block.weight.shape == (3, 3, 3, 4)
    assert not block.weight[..., [0, 3]].any()
    assert block.weight[..., 1:3].any()


def _one_projection(synapse, source, target, neuron=None, bits: int = 0) -> Graph:
    return Graph(
        populations=(
            Population(id="in", shape=source, neuron=Input(message_bits=bits)),
            Population(id="out", shape=target, neuron=neuron or Lif(vth_mant=50)),
        ),
        projections=(Projection(src="in", dst="out", synapse=synapse),),
        steps=2,
    )


def test_more_groups_than_lavas_conv_can_count() -> None:
    rng = np.random.default_rng(0)
    graph = _one_projection(OneToOne(kernel=kernel(rng, 200)), (200, 1, 2), (200, 1, 2))
    assert [type(b) for b in lower_portable(graph, steps=2).blocks.values()] == [SourceBlock, LifBlock, SparseBlock]
    for lower in LOWERINGS:
        assert _check_against_fast(graph, spikes(graph, steps=2), lower(graph, steps=2)) > 0


def test_lowest_bit_of_a_dense_weight_survives() -> None:
    mantissa = np.array([[1, -1, 127, -128]], np.int16)
    graph = _one_projection(Dense(kernel=Kernel(mantissa=mantissa)), (4, 1, 1), (1, 1, 1))
    block = lower_portable(graph, steps=2).blocks["synapse 0"]
    assert isinstance(block, DenseBlock)
    np.testing.assert_array_equal(block.mantissa, mantissa)


def test_a_graded_sum_beyond_32_bits_is_refused_by_portable() -> None:
    heavy = Kernel(mantissa=np.full((1, 16, 1, 1), 127, np.int16), exponent=7)
    graph = _one_projection(Conv(kernel=heavy), (16, 1, 1), (1, 1, 1), bits=16)
    with pytest.raises(
        RunError,
        match=r"Projection in -> out: a sum of graded messages of up to 32768 can reach \d+, the limit of Lava's Conv is",
    ):
        lower_portable(graph, steps=2)
    lower_compact(graph, steps=2)


def test_a_kernel_that_must_wrap_and_is_too_wide_is_refused_by_portable() -> None:
    heavy = Kernel(mantissa=np.full((1, 8, 1, 130), 127, np.int16), exponent=7)
    graph = _one_projection(Conv(kernel=heavy), (8, 1, 140), (1, 1, 11))
    with pytest.raises(RunError, match=r"Projection in -> out: kernel size is 130, the limit of Lava's Conv is 127;"):
        lower_portable(graph, steps=2)


def test_what_takes_the_place_of_a_convolution_does_not_wrap() -> None:
    rng = np.random.default_rng(1)
    transposed = ConvTranspose(kernel=kernel(rng, 2, 1, 2, 2, exponent=4), stride=(2, 2))
    graph = _one_projection(transposed, (2, 3, 3), (1, 6, 6), bits=14)
    with pytest.raises(
        RunError, match=r"up to 8192 can reach \d+, the limit of Lava's Sparse, which this convolution must be made of"
    ):
        lower_portable(graph, steps=2)
    lower_compact(graph, steps=2)


def test_doubled_weights_need_one_bit_more() -> None:
    dense = Dense(kernel=Kernel(mantissa=np.full((1, 8), 127, np.int16)))
    graph = _one_projection(dense, (8, 1, 1), (1, 1, 1), bits=21)
    lower_portable(graph, steps=2)
    graph = _one_projection(dense, (8, 1, 1), (1, 1, 1), bits=22)
    with pytest.raises(
        RunError, match=r"of up to 2097152 can reach 4261412864, the limit of Lava's Dense, which doubles"
    ):
        lower_portable(graph, steps=2)


def _encoder(synapse, shape=(3, 1, 1), **options) -> Graph:
    """An input, a Delta, and `synapse` into a Sigma."""
    return Graph(
        populations=(
            Population(id="in", shape=(2, 2, 2), neuron=Input(message_bits=8)),
            Population(id="d", shape=(2, 2, 2), neuron=Delta(vth=2)),
            Population(id="out", shape=shape, neuron=Sigma()),
        ),
        projections=(
            Projection(src="in", dst="d", synapse=Wire()),
            Projection(src="d", dst="out", synapse=synapse, **options),
        ),
        timing="as_given",
        messages="graded",
    )


def test_sums_of_sigma_delta_messages_are_checked_when_the_messages_are_known() -> None:
    rng = np.random.default_rng(2)
    graph = _encoder(ConvTranspose(kernel=kernel(rng, 2, 3, 2, 2), stride=(2, 2)), (3, 4, 4))
    lower_portable(graph, steps=4)
    check_messages(graph, {"d": 900})
    with pytest.raises(RunError, match=r"Projection d -> out: a sum of graded messages of up to 90000 can reach \d+"):
        check_messages(graph, {"d": 90000})


def test_graded_messages_wait_in_synapses() -> None:
    rng = np.random.default_rng(3)
    dense = Dense(kernel=kernel(rng, 3, 8))
    (block,) = [
        b for b in lower_portable(_encoder(dense, delay=5), steps=4).blocks.values() if isinstance(b, DenseBlock)
    ]
    assert block.delays is not None
    assert block.delays.tolist() == [[5] * 8] * 3
    delays = rng.integers(0, 40, (3, 8)).astype(np.int32)
    with pytest.raises(
        RunError, match=r"graded messages wait 7\d steps, the limit of a synapse is 62, and relay neurons"
    ):
        lower_portable(_encoder(dense, delay=39, delays=delays), steps=4)


def test_an_aligned_population_that_lava_cannot_reset_is_refused_by_portable() -> None:
    graph = Graph(
        populations=(
            Population(id="in", shape=(2, 1, 1), neuron=Input()),
            Population(id="rf", shape=(2, 1, 1), neuron=Rf(sin=100, cos=4000, vth_mant=3)),
        ),
        projections=(
            Projection(src="in", dst="rf", synapse=Dense(kernel=kernel(np.random.default_rng(0), 2, 2)), port="re"),
        ),
    )
    with pytest.raises(
        RunError, match=r"Population 'rf' is a Rf; timing 'aligned' resets it with every sample, which no"
    ):
        lower_portable(graph, steps=2)


def test_wires_connect_and_slices_are_sources_of_their_own() -> None:
    for lower in LOWERINGS:
        lowered = lower(delayed(), steps=25)
        assert lowered.blocks["neurons in 1:3"].channels == (1, 3)
        assert Connection(src="neurons in 1:3", dst="neurons first") in lowered.connections


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "upsample"), [(1, 1, 1, 1), (2, 0, 1, 1), (1, 2, 2, 2), (3, 1, 1, 3)]
)
def test_axis_taps_are_the_definition(stride: int, padding: int, dilation: int, upsample: int) -> None:
    size, taps = 5, 3
    options = {"size": size, "kernel": taps, "stride": stride, "padding": padding, "dilation": dilation}
    table = axis_taps(conv_reads(**options, upsample=upsample), taps)
    for output in range(table.outputs):
        expected: dict[int, set[int]] = {}
        for tap in range(taps):
            position = output * stride - padding + tap * dilation
            if 0 <= position < size * upsample:
                expected.setdefault(position // upsample, set()).add(tap)
        assert _runs(table, output) == expected


@pytest.mark.parametrize(("stride", "padding", "dilation", "extra"), [(1, 0, 1, 0), (2, 1, 1, 1), (3, 2, 2, 1)])
def test_transposed_taps_are_the_definition(stride: int, padding: int, dilation: int, extra: int) -> None:
    size, taps = 5, 4
    options = {"size": size, "kernel": taps, "stride": stride, "padding": padding, "dilation": dilation}
    table = axis_taps(transposed_reads(**options, output_padding=extra), taps)
    found = [_runs(table, output) for output in range(table.outputs)]
    expected: list[dict[int, set[int]]] = [{} for _ in range(table.outputs)]
    for source in range(size):
        for tap in range(taps):
            output = source * stride - padding + tap * dilation
            if 0 <= output < table.outputs:
                expected[output].setdefault(source, set()).add(tap)
    assert found == expected


def _runs(table: AxisTaps, output: int) -> dict[int, set[int]]:
    return {
        int(table.source[run]) + n: set(np.flatnonzero(table.members[table.taps[run] + n]))
        for run in range(table.start[output], table.start[output + 1])
        for n in range(table.length[run])
    }


def test_inner_outputs_read_one_run() -> None:
    table = axis_taps(conv_reads(size=9, kernel=3, stride=1, padding=1, dilation=1), 3)
    assert table.length.tolist() == [2, 3, 3, 3, 3, 3, 3, 3, 2]


def test_the_sum_is_the_convolution_it_describes() -> None:
    rng = np.random.default_rng(5)
    conv = Conv(kernel=kernel(rng, 6, 2, 3, 2, exponent=3), stride=(2, 1), padding=(1, 2), groups=3, upsample=2)
    source = (6, 4, 5)
    frame = rng.integers(-3, 4, source[::-1]).astype(np.int32)
    tables = frame_conv_of(conv, source, wraps=False)
    messages = MessageList(frame.size, graded=True)
    messages.fill(frame.reshape(-1))
    total = np.zeros(int(np.prod(tables.output_shape)), np.int32)
    ConvSum(tables).add(messages, total)
    up = frame.transpose(2, 1, 0).repeat(2, axis=1).repeat(2, axis=2)
    shape = conv.output_shape(source)
    expected = np.zeros(shape, np.int64)
    weight = conv.kernel.mantissa.astype(np.int64) << 3
    for o, y, x in np.ndindex(*shape):
        for i, ky, kx in np.ndindex(2, 3, 2):
            row, column = y * 2 - 1 + ky, x - 2 + kx
            if 0 <= row < up.shape[1] and 0 <= column < up.shape[2]:
                expected[o, y, x] += weight[o, i, ky, kx] * up[o // 2 * 2 + i, row, column]
    np.testing.assert_array_equal(total.reshape(tables.output_shape), expected.transpose(2, 1, 0))
