"""Random projections of the kinds that only files from elsewhere hold: sparse, transposed, delayed, right-shifted."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.graph import (
    GRADED,
    Conv,
    ConvTranspose,
    Dense,
    Input,
    Kernel,
    Population,
    Shape,
    Sparse,
    SynapseSpec,
    Wire,
    accumulator_bound,
)
from tests.random_synapses import SynapseMaker

CONV_ROOM = 1 << 30
"""Lava's own Conv leaves exact integers at 2**31."""


@dataclass(kw_only=True)
class ForeignSynapseMaker(SynapseMaker):
    """SynapseMaker with more kinds. `loudest` is the largest magnitude each graded population has sent so far."""

    synapses_max: int = 4000
    neurons_max: int = 72
    loudest: dict[str, int] = field(default_factory=dict)
    may_floor: bool = False

    def message_max(self, source: Population) -> int:
        if isinstance(source.neuron, GRADED):
            # Recurrence may make them louder than they were.
            return 1 if self.emphasis == "huge messages" else 2 * self.loudest.get(source.id, 1 << 12)
        return super().message_max(source)

    def exponent(self, limit: int = 7) -> int:
        if self.may_floor and self.chance(0.7 if self.emphasis == "negative exponent" else 0.12):
            return -int(self.rng.integers(1, 9))
        return super().exponent(limit)

    def connect(
        self, kind: str, source: Population, read: Shape, target: Shape | None, *, positive: bool, relaxed: int
    ) -> tuple[SynapseSpec, Shape] | None:
        """A synapse of `kind` that reads `read`, and the shape it fills; None where nothing fits."""
        self.may_floor = kind in ("dense", "sparse") and not positive
        if kind == "wire":
            if not isinstance(source.neuron, Input) or target not in (None, read) or positive:
                return None
            return Wire(), read
        makers = {
            "conv": self.conv,
            "dense": self.dense,
            "one to one": self.one_to_one,
            "sparse": self.sparse,
            "transposed": self.transposed,
        }
        made = makers[kind](source, read, target, positive=positive, relaxed=relaxed)
        if made is None or not 4 <= prod(made[1]) <= self.neurons_max:
            return None
        graded = isinstance(source.neuron, GRADED)
        if graded and isinstance(made[0], Conv) and made[0].upsample > 1:
            return None  # the graph refuses what could wrap, and a message may be 32 bits wide
        if graded and isinstance(made[0], Dense | Sparse) and self.emphasis != "huge messages":
            return self._tamed(made[0], self.message_max(source)), made[1]
        return made

    def _tamed(self, synapse: Dense | Sparse, message_max: int) -> Dense | Sparse:
        """`synapse` with an exponent that keeps currents of graded messages near 2**18."""
        unscaled = Kernel(mantissa=synapse.kernel.mantissa)
        loudest = accumulator_bound(_with(synapse, unscaled), message_max)
        exponent = min(synapse.kernel.exponent, max(-8, 18 - loudest.bit_length()))
        return _with(synapse, Kernel(mantissa=synapse.kernel.mantissa, exponent=exponent))

    def sparse(
        self, source: Population, read: Shape, target: Shape | None, *, positive: bool, relaxed: int
    ) -> tuple[SynapseSpec, Shape] | None:
        """Single synapses between any two shapes."""
        shape = target if target is not None else (int(self.rng.integers(4, 20)), 1, int(self.pick((1, 1, 2))))
        places = prod(shape) * prod(read)
        at = np.flatnonzero(self.rng.random(places) < self.rng.uniform(0.05, 0.6))
        if not 4 <= at.size <= self.synapses_max:
            return None
        mantissa = self.mantissa((at.size,), positive=positive, relaxed=relaxed)
        synapse = Sparse(
            kernel=Kernel(mantissa=mantissa, exponent=self.exponent()),
            rows=at // prod(read),
            columns=at % prod(read),
        )
        if accumulator_bound(synapse, self.message_max(source)) >= 1 << 29:
            return None
        return synapse, shape

    def transposed(
        self, source: Population, read: Shape, target: Shape | None, *, positive: bool, relaxed: int
    ) -> tuple[SynapseSpec, Shape] | None:
        """A transposed convolution, with groups, dilation and output padding."""
        rng = self.rng
        c_out = target[0] if target is not None else int(rng.integers(1, 5))
        common = [g for g in range(1, gcd(read[0], c_out) + 1) if read[0] % g == 0 and c_out % g == 0]
        groups = int(self.pick(common))
        taps = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        axes = [self._spread(read[1 + k], taps[k], target[1 + k] if target is not None else None) for k in range(2)]
        if axes[0] is None or axes[1] is None:
            return None
        mantissa = self.mantissa((read[0], c_out // groups, *taps), positive=positive, relaxed=relaxed)
        vertical, horizontal = axes
        geometry: dict[str, Any] = {
            name: (vertical[k], horizontal[k])
            for k, name in enumerate(("stride", "padding", "output_padding", "dilation"))
        }
        synapse = ConvTranspose(kernel=Kernel(mantissa=mantissa), groups=groups, **geometry)
        room = CONV_ROOM // max(1, accumulator_bound(synapse, self.message_max(source)))
        if room == 0:
            return None
        kernel = Kernel(mantissa=mantissa, exponent=min(self.exponent(), room.bit_length() - 1))
        shape = synapse.output_shape(read)
        if min(shape) < 1 or mantissa.size * read[1] * read[2] > self.synapses_max:
            return None
        return ConvTranspose(kernel=kernel, groups=groups, **geometry), shape

    def _spread(self, extent: int, taps: int, wanted: int | None) -> tuple[int, int, int, int] | None:
        """(stride, padding, output padding, dilation) that turn `extent` into `wanted`, or anything."""
        found = []
        for stride in (1, 2, 3):
            for dilation in (1, 2):
                for padding in range(3):
                    for extra in range(max(stride, dilation)):
                        size = (extent - 1) * stride - 2 * padding + dilation * (taps - 1) + 1 + extra
                        if size == wanted or (wanted is None and 2 <= size <= 7):
                            found.append((stride, padding, extra, dilation))
        return self.pick(found) if found else None

    def delays(
        self, synapse: SynapseSpec, read: Shape, source: Population, relaxed: int
    ) -> tuple[int, npt.NDArray[Any] | None]:
        """(delay of the whole projection, delays per axon or per synapse or None)."""
        if isinstance(synapse, Wire):
            return 0, None
        styles = {"axonal delays": "axons", "synaptic delays": "synapses"}
        style = styles.get(self.emphasis, "none") if self.chance(0.7) else "none"
        if style == "none":
            style = str(self.pick(("none",) * 7 + ("whole", "axons", "synapses")))
        whole = int(self.rng.integers(0, 4)) if style == "whole" or self.chance(0.1) else 0
        longest = max(2, 6 - relaxed)
        if style == "synapses" and isinstance(synapse, Dense | Sparse):
            delays = self.rng.integers(0, longest, synapse.kernel.mantissa.shape)
        elif style in ("axons", "synapses") and self._cannot_wrap(synapse, source):
            delays = self.rng.integers(0, longest, read)
        else:
            return whole, None
        if self.chance(0.2):
            # Longer than a sample: these synapses never deliver.
            delays.flat[int(self.rng.integers(delays.size))] = 62
        return whole, delays

    def _cannot_wrap(self, synapse: SynapseSpec, source: Population) -> bool:
        """Which spikes share a wrapping 24-bit sum when axons of a convolution differ in delay, Lava does not say."""
        if isinstance(synapse, Dense | Sparse):
            return True
        if isinstance(source.neuron, GRADED) and source.id not in self.loudest:
            return False  # onto itself: nobody knows yet how loud it will be
        return self.emphasis != "huge messages" and accumulator_bound(synapse, self.message_max(source)) < 1 << 23


def _with(synapse: Dense | Sparse, kernel: Kernel) -> Dense | Sparse:
    if isinstance(synapse, Dense):
        return Dense(kernel=kernel)
    return Sparse(kernel=kernel, rows=synapse.rows, columns=synapse.columns)
