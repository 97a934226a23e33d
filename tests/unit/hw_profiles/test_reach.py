"""Fan-out into a box equals the synapses counted one by one, for every kind of synapse and borders of all sorts."""

from __future__ import annotations

import numpy as np
import pytest

from hw_profiles.reach import Box, reach, whole_box
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Population,
    Projection,
    Shape,
    Sparse,
    SynapseSpec,
    Wire,
)
from tests.unit.hw_profiles.chip_networks import weights
from tests.unit.hw_profiles.synapse_lists import synapses_of

RNG = np.random.default_rng(3)
_PAIRS = np.sort(RNG.choice(24 * 30, 100, replace=False))
SPARSE = Sparse(kernel=weights(100), rows=_PAIRS // 30, columns=_PAIRS % 30)

CASES: dict[str, tuple[SynapseSpec, Shape, Shape, tuple[int, int] | None]] = {
    "conv": (Conv(kernel=weights(4, 3, 3, 3), padding=(1, 1)), (3, 5, 6), (4, 5, 6), None),
    "conv, stride, dilation, slice": (
        Conv(kernel=weights(4, 2, 2, 3), stride=(2, 3), padding=(1, 0), dilation=(2, 1)),
        (5, 7, 9),
        (4, 4, 3),
        (2, 4),
    ),
    "conv, groups, upsample": (
        Conv(kernel=weights(4, 1, 3, 3), padding=(1, 1), groups=2, upsample=2),
        (2, 3, 4),
        (4, 6, 8),
        None,
    ),
    "transposed": (
        ConvTranspose(kernel=weights(4, 3, 3, 2), stride=(2, 2), padding=(1, 0), output_padding=(1, 0), groups=2),
        (4, 3, 4),
        (6, 6, 8),
        None,
    ),
    "dense": (Dense(kernel=weights(24, 30)), (2, 3, 5), (4, 3, 2), None),
    "sparse": (SPARSE, (2, 3, 5), (4, 3, 2), None),
    "sparse, slice": (SPARSE, (4, 3, 5), (4, 3, 2), (1, 3)),
    "one to one": (OneToOne(kernel=weights(3)), (5, 4, 2), (3, 4, 2), (1, 4)),
}


def ends(source: Shape, target: Shape) -> tuple[Population, Population]:
    return (
        Population(id="a", shape=source, neuron=Input()),
        Population(id="b", shape=target, neuron=Lif(vth_mant=1)),
    )


@pytest.mark.parametrize("name", CASES)
def test_fan_out_is_the_number_of_synapses(name: str) -> None:
    synapse, read, made, section = CASES[name]
    source, target = ends(read, made)
    projection = Projection(src="a", dst="b", synapse=synapse, src_channels=section)
    written = list(synapses_of(projection, source, target))
    half: Box = tuple((extent // 2, extent) for extent in made)  # type: ignore[assignment]
    corner: Box = tuple((0, -(-extent // 2)) for extent in made)  # type: ignore[assignment]
    spikes = RNG.integers(0, 9, read)
    for box in (whole_box(made), half, corner):
        expected = np.zeros(read, int)
        for sender, reached in written:
            expected[sender] += all(a <= n < b for n, (a, b) in zip(reached, box, strict=True))
        found = reach(projection, source, target, box)
        assert np.array_equal(found.mask(whole_box(read)), expected > 0)
        assert found.synapses() == expected.sum()
        assert found.count_operations(spikes) == (expected * spikes).sum()
        bounds = found.bounds
        assert bounds is not None
        outside = expected.copy()
        outside[tuple(slice(*span) for span in bounds)] = 0
        assert not outside.any()
    fan_out = np.zeros(read, int)
    np.add.at(fan_out, tuple(np.array([sender for sender, _ in written]).T), 1)
    assert np.array_equal(projection.fan_out(source), fan_out)


def test_equal_sums_do_not_make_equal_neurons() -> None:
    source, target = ends((2, 1, 2), (1, 1, 1))
    one, other = (
        reach(
            Projection(src="a", dst="b", synapse=Sparse(kernel=weights(2), rows=np.zeros(2, int), columns=columns)),
            source,
            target,
            whole_box((1, 1, 1)),
        )
        for columns in (np.array([0, 3]), np.array([1, 2]))
    )
    assert np.array_equal(one.channels, other.channels)
    assert not one.same_neurons(other)
    assert one.same_neurons(one)


def test_a_wire_has_no_synapses() -> None:
    source, target = ends((2, 3, 4), (2, 3, 4))
    found = reach(Projection(src="a", dst="b", synapse=Wire()), source, target, whole_box((2, 3, 4)))
    assert found.bounds is None
    assert found.synapses() == 0


def test_kernels_need_no_values() -> None:
    """Zero weights count: nothing is culled."""
    source, target = ends((1, 2, 2), (1, 2, 2))
    projection = Projection(src="a", dst="b", synapse=Dense(kernel=Kernel(mantissa=np.zeros((4, 4), int))))
    assert reach(projection, source, target, whole_box((1, 2, 2))).synapses() == 16
