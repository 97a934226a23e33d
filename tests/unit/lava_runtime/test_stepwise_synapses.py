"""Every synapse of the stepwise kernels against its definition, written out synapse by synapse."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from lava_runtime.backend import run
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    OneToOne,
    Population,
    Projection,
    Readout,
    Rf,
    Shape,
    Sparse,
    SynapseSpec,
    Wire,
)

STEPS, SAMPLES = 9, 2
RNG = np.random.default_rng(5)


def kernel(*shape: int, exponent: int = 0) -> Kernel:
    return Kernel(mantissa=RNG.integers(-128, 128, shape).astype(np.int16), exponent=exponent)


def sparse(source: Shape, target: Shape, count: int, exponent: int = 0) -> Sparse:
    pairs = np.sort(RNG.choice(int(np.prod(source)) * int(np.prod(target)), count, replace=False))
    rows, columns = np.divmod(pairs, int(np.prod(source)))
    return Sparse(kernel=kernel(count, exponent=exponent), rows=rows, columns=columns)


def single_synapses(synapse: SynapseSpec, source: Shape, target: Shape) -> Iterator[tuple[int, int, int, int]]:
    """(target neuron, source neuron, weight, place in the kernel), neurons in C,H,W order."""

    def number(shape: Shape, c: int, y: int, x: int) -> int:
        return (c * shape[1] + y) * shape[2] + x

    match synapse:
        case Sparse():
            for k, (row, col) in enumerate(zip(synapse.rows, synapse.columns, strict=True)):
                yield int(row), int(col), int(synapse.kernel.mantissa[k]), k
        case Dense():
            for row, col in np.ndindex(*synapse.kernel.mantissa.shape):
                weight = int(synapse.kernel.mantissa[row, col])
                yield row, col, weight, row * synapse.kernel.mantissa.shape[1] + col
        case OneToOne() | Wire():
            for c, y, x in np.ndindex(*source):
                weight = int(synapse.kernel.mantissa[c]) if isinstance(synapse, OneToOne) else 1
                yield number(source, c, y, x), number(source, c, y, x), weight, c
        case Conv():
            _, group_in, height, width = synapse.kernel.mantissa.shape
            group_out = target[0] // synapse.groups
            for (o, y, x), i, ky, kx in product(np.ndindex(*target), range(group_in), range(height), range(width)):
                row = y * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                col = x * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                if 0 <= row < source[1] * synapse.upsample and 0 <= col < source[2] * synapse.upsample:
                    c = o // group_out * group_in + i
                    at = number(source, c, row // synapse.upsample, col // synapse.upsample)
                    yield number(target, o, y, x), at, int(synapse.kernel.mantissa[o, i, ky, kx]), 0
        case ConvTranspose():
            _, group_out, height, width = synapse.kernel.mantissa.shape
            group_in = source[0] // synapse.groups
            for (i, p, q), o, ky, kx in product(np.ndindex(*source), range(group_out), range(height), range(width)):
                y = p * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                x = q * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                if 0 <= y < target[1] and 0 <= x < target[2]:
                    c = i // group_in * group_out + o
                    weight = int(synapse.kernel.mantissa[i, o, ky, kx])
                    yield number(target, c, y, x), number(source, i, p, q), weight, 0


def currents(projection: Projection, source: Shape, target: Shape, sent: Any) -> Any:
    """a_in (T,B,target neurons) from the messages (T,B,source neurons) that the projection reads."""
    synapse = projection.synapse
    steps = len(sent)
    delays = projection.delays
    classes: dict[int, Any] = {}
    for row, col, weight, place in single_synapses(synapse, source, target):
        delay = 0
        if delays is not None:
            delay = int(delays.reshape(-1)[col if delays.ndim == 3 else place])
        matrix = classes.setdefault(delay, np.zeros((int(np.prod(target)), int(np.prod(source))), np.int64))
        matrix[row, col] += weight
    exponent = 0 if isinstance(synapse, Wire) else synapse.kernel.exponent
    total = np.zeros((*sent.shape[:2], int(np.prod(target))), np.int64)
    for delay, matrix in classes.items():
        # Floor division: the exponent is applied to the sum of each delay, as in Lava's DelayDense.
        part = (sent @ matrix.T).astype(np.int32).astype(np.int64)
        part = part << exponent if exponent >= 0 else part >> -exponent
        lag = delay + (0 if isinstance(synapse, Wire) else 1 + projection.delay)
        total[lag:] += part[: max(steps - lag, 0)]
    total = total.astype(np.int32).astype(np.int64)
    if isinstance(synapse, Conv | ConvTranspose | OneToOne):
        total = (total + (1 << 23)) % (1 << 24) - (1 << 23)
    return total


def check(*projections: Projection, source: Shape, target: Shape, bits: int, density: float = 0.3) -> None:
    """A Readout behind `projections` from one input (and from a Delta that repeats it one step later) gives their sum."""
    high = 1 << max(bits - 1, 0)
    rng = np.random.default_rng(bits)
    given = rng.integers(-high if bits else 1, high if bits else 2, (STEPS, SAMPLES, *source))
    given *= rng.random(given.shape) < density
    graph = Graph(
        populations=(
            Population(id="in", shape=source, neuron=Input(message_bits=bits)),
            Population(id="out", shape=target, neuron=Readout(bias=np.arange(target[0]))),
        ),
        projections=projections,
        timing="as_given",
    )
    expected = np.zeros((STEPS, SAMPLES, int(np.prod(target))), np.int64)
    for projection in projections:
        read = projection.source_shape(graph.by_id["in"])
        start, stop = projection.src_channels or (0, source[0])
        sent = given[:, :, start:stop].reshape(STEPS, SAMPLES, -1).astype(np.int64)
        expected += currents(projection, read, target, sent)
    expected = expected.reshape(STEPS, SAMPLES, *target) + np.arange(target[0]).reshape(-1, 1, 1)
    for threads in (1, 3):
        trace = run(graph, given, backend="fast", threads=threads)
        np.testing.assert_array_equal(trace.aligned("out"), expected.astype(np.int32))
    assert np.unique(expected).size > 3


def to(synapse: SynapseSpec, **more: Any) -> Projection:
    return Projection(src="in", dst="out", synapse=synapse, **more)


@pytest.mark.parametrize("bits", [0, 7, 32])
@pytest.mark.parametrize(
    ("synapse", "source"),
    [
        (ConvTranspose(kernel=kernel(3, 4, 3, 2)), (3, 4, 5)),
        (ConvTranspose(kernel=kernel(3, 4, 3, 5), stride=(2, 3), padding=(1, 2), output_padding=(1, 0)), (3, 4, 5)),
        (ConvTranspose(kernel=kernel(4, 3, 2, 3), stride=(1, 2), dilation=(2, 2), groups=2, padding=(0, 1)), (4, 3, 4)),
        (ConvTranspose(kernel=kernel(3, 1, 2, 2), stride=(2, 2), groups=3), (3, 4, 5)),
        (ConvTranspose(kernel=kernel(2, 17, 3, 3, exponent=2), stride=(3, 3), padding=(2, 2)), (2, 3, 4)),
    ],
)
def test_transposed_convolution(synapse: ConvTranspose, source: Shape, bits: int) -> None:
    check(to(synapse, delay=1), source=source, target=synapse.output_shape(source), bits=bits)


# Wider messages could wrap, and what wraps in a convolution with delays nobody defines: graphs refuse it.
@pytest.mark.parametrize("bits", [0, 7, 10])
@pytest.mark.parametrize(
    ("synapse", "source"),
    [
        (Conv(kernel=kernel(5, 3, 3, 3), padding=(1, 1)), (3, 5, 6)),
        (Conv(kernel=kernel(17, 2, 5, 4, exponent=1), stride=(2, 3), padding=(2, 1)), (2, 7, 9)),
        (Conv(kernel=kernel(4, 2, 3, 2), stride=(1, 2), dilation=(2, 3), padding=(2, 2)), (2, 6, 8)),
        (Conv(kernel=kernel(6, 2, 3, 3), groups=2, padding=(1, 0)), (4, 5, 5)),
        (Conv(kernel=kernel(4, 1, 3, 3), groups=4, stride=(2, 1), padding=(1, 1)), (4, 5, 6)),
        (Conv(kernel=kernel(3, 2, 1, 2), stride=(1, 4)), (2, 3, 9)),
    ],
)
def test_convolution_with_delays_per_axon(synapse: Conv, source: Shape, bits: int) -> None:
    delays = RNG.integers(0, 4, source)
    check(to(synapse, delays=delays), source=source, target=synapse.output_shape(source), bits=bits)


@pytest.mark.parametrize("bits", [0, 7])
def test_upsampling_convolution_with_delays_per_axon(bits: int) -> None:
    synapse, source = Conv(kernel=kernel(4, 2, 3, 3), upsample=2, padding=(1, 1)), (2, 3, 4)
    check(to(synapse, delays=RNG.integers(0, 3, source)), source=source, target=(4, 6, 8), bits=bits)


@pytest.mark.parametrize("bits", [0, 7, 32])
@pytest.mark.parametrize("exponent", [0, 3, -4])
@pytest.mark.parametrize("target", [(11, 1, 1), (3, 4, 2)])
def test_sparse(bits: int, exponent: int, target: Shape) -> None:
    source = (3, 2, 4)
    synapse = sparse(source, target, 60, exponent)
    check(to(synapse), source=source, target=target, bits=bits)
    for delays in (RNG.integers(0, 5, source), RNG.integers(0, 5, 60)):
        check(to(synapse, delays=delays), source=source, target=target, bits=bits)


@pytest.mark.parametrize("bits", [0, 7, 20])
@pytest.mark.parametrize("exponent", [0, 3, -4])
@pytest.mark.parametrize("target", [(21, 1, 1), (3, 4, 2)])
def test_dense(bits: int, exponent: int, target: Shape) -> None:
    source = (3, 2, 4)
    synapse = Dense(kernel=kernel(int(np.prod(target)), 24, exponent=exponent))
    if exponent < 0:
        check(to(synapse), source=source, target=target, bits=bits)
    for delays in (RNG.integers(0, 5, source), RNG.integers(0, 5, synapse.kernel.mantissa.shape)):
        check(to(synapse, delay=1, delays=delays), source=source, target=target, bits=bits)


@pytest.mark.parametrize("bits", [0, 12, 32])
def test_several_projections_into_one_population_add_up(bits: int) -> None:
    source, target = (4, 5, 6), (3, 5, 6)
    check(
        to(Wire(), src_channels=(1, 4)),
        to(OneToOne(kernel=kernel(3, exponent=7)), src_channels=(0, 3)),
        to(Dense(kernel=kernel(90, 90, exponent=2)), src_channels=(0, 3), delays=RNG.integers(0, 3, (3, 5, 6))),
        to(Conv(kernel=kernel(3, 2, 3, 3), padding=(1, 1)), src_channels=(1, 3), delay=2),
        to(Conv(kernel=kernel(3, 4, 1, 1))),
        to(Dense(kernel=kernel(90, 120, exponent=-1))),
        to(Dense(kernel=kernel(90, 30)), src_channels=(3, 4)),
        to(sparse(source, target, 100)),
        source=source,
        target=target,
        bits=bits,
    )


def test_the_longest_delays_reach_over_the_whole_run() -> None:
    delays = np.full((3, 2), 62)
    delays[1] = 0
    synapse = Dense(kernel=kernel(3, 2))
    given = np.ones((70, 1, 2, 1, 1), np.int32)
    graph = Graph(
        populations=(
            Population(id="in", shape=(2, 1, 1), neuron=Input()),
            Population(id="out", shape=(3, 1, 1), neuron=Readout()),
        ),
        projections=(to(synapse, delays=delays, delay=5),),
        timing="as_given",
    )
    out = run(graph, given, backend="fast").output.reshape(70, 3)
    weights = synapse.kernel.mantissa.sum(axis=1)
    np.testing.assert_array_equal((out != 0).argmax(axis=0)[weights != 0], np.array([68, 6, 68])[weights != 0])
    np.testing.assert_array_equal(out[-1], weights)


def test_graded_messages_travel_between_populations_and_wrap_in_a_convolution() -> None:
    shape = (2, 3, 4)
    synapse = Conv(kernel=kernel(2, 2, 3, 3), padding=(1, 1))
    graph = Graph(
        populations=(
            Population(id="in", shape=shape, neuron=Input(message_bits=32)),
            Population(id="delta", shape=shape, neuron=Delta(vth=1000)),
            Population(id="out", shape=shape, neuron=Readout()),
        ),
        projections=(
            Projection(src="in", dst="delta", synapse=Wire()),
            Projection(src="delta", dst="out", synapse=synapse),
        ),
        timing="as_given",
        messages="graded",
    )
    rng = np.random.default_rng(1)
    given = rng.integers(-(1 << 31), 1 << 31, (STEPS, SAMPLES, *shape))
    changes = np.diff(given, axis=0, prepend=0).astype(np.int32).astype(np.int64).reshape(STEPS, SAMPLES, -1)
    expected = currents(graph.incoming["out"][0], shape, shape, changes)
    trace = run(graph, given, backend="fast")
    np.testing.assert_array_equal(trace.aligned("out").reshape(expected.shape), expected)
    assert int(np.abs(expected).max()) > 1 << 22


def test_ports_of_resonators_receive_their_own_projections() -> None:
    source, target = (3, 2, 2), (4, 1, 1)
    kernels = {port: kernel(4, 12) for port in ("re", "im")}
    graph = Graph(
        populations=(
            Population(id="in", shape=source, neuron=Input()),
            Population(id="rf", shape=target, neuron=Rf(sin=0, cos=0, vth_mant=1, state_exp=0)),
        ),
        projections=tuple(
            Projection(src="in", dst="rf", synapse=Dense(kernel=kernels[port]), port=port)
            for port in ("im", "re", "im")
        ),
        timing="as_given",
    )
    given = np.random.default_rng(3).integers(0, 2, (STEPS, SAMPLES, *source))
    from lava_runtime.backend import Probes

    trace = run(graph, given, backend="fast", probes=Probes(states="all"))
    sums = {port: given.reshape(STEPS, SAMPLES, -1) @ kernels[port].mantissa.astype(np.int64).T for port in kernels}
    np.testing.assert_array_equal(trace.to_samples("rf", trace.u["rf"])[1:, ..., 0, 0], sums["re"][:-1])
    np.testing.assert_array_equal(trace.to_samples("rf", trace.v["rf"])[1:, ..., 0, 0], 2 * sums["im"][:-1])
