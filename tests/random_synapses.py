"""Random projections that fit between two shapes: kernels, strides, paddings, dilations, groups, upsampling."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, Dense, Input, Kernel, OneToOne, Population, Projection, Shape, SynapseSpec

SYNAPSES_MAX = 12_000
NEURONS_MAX = 160


@dataclass(kw_only=True)
class SynapseMaker:
    """Draws synapses with an emphasis; `projections` are those of the network so far, whose kernels may be shared.

    `positive` asks for weights >= 0 (into an OR), `relaxed` counts the attempts that gave no lively population yet.
    """

    rng: np.random.Generator
    emphasis: str
    projections: list[Projection] = field(default_factory=list)
    synapses_max: int = SYNAPSES_MAX
    neurons_max: int = NEURONS_MAX

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def mantissa(self, shape: tuple[int, ...], *, positive: bool, relaxed: int) -> npt.NDArray[Any]:
        rng = self.rng
        if positive:
            kernel = rng.integers(0, self.pick((2, 128)), shape)
            kernel[rng.random(shape) < 0.12 * relaxed] = 0
            return kernel
        style = (
            "wide"
            if self.emphasis in ("u wrap", "v high", "v low", "int32 overflow", "conv wrap by spikes")
            else self.pick(("narrow", "wide"))
        )
        if style == "narrow":
            return rng.integers(-20, 25, shape)
        kernel = rng.integers(-128, 128, shape)
        kernel.flat[int(rng.integers(kernel.size))] = self.pick((-128, 127))
        if self.emphasis == "v low":
            kernel -= rng.integers(0, 100, shape)
        elif self.emphasis == "v high":
            kernel += rng.integers(0, 60, shape)
        elif self.emphasis == "conv wrap by spikes" and prod(shape[1:]) > 600:
            # Hundreds of spikes through large positive weights add up beyond 2**23 in the first channel.
            kernel[0] = rng.integers(112, 128, shape[1:])
        elif self.emphasis == "int32 overflow":
            # An overflow scatters u so far that v saturates on one side or the other: spare half of the targets.
            kernel[rng.random(shape[0]) < 0.5] = 0
        return np.clip(kernel, -128, 127)

    def exponent(self, limit: int = 7) -> int:
        if self.emphasis in ("u wrap", "v high", "v low", "conv wrap", "conv wrap by spikes", "int32 overflow"):
            return limit
        return int(self.rng.integers(0, limit + 1))

    def axis(self, extent: int, taps: int, wanted: int | None) -> tuple[int, int, int] | None:
        """(stride, padding, dilation) that turn `extent` into `wanted` (or anything) with a kernel of `taps`."""
        strides = (2, 3) if self.emphasis == "stride" and wanted is None and self.chance(0.7) else (1, 1, 1, 2)
        dilations = (2, 3) if self.emphasis == "dilation" and self.chance(0.7) else (1, 1, 2)
        found = []
        for stride in sorted(set(strides) | ({1, 2, 3} if wanted is not None else set())):
            for dilation in sorted(set(dilations)):
                for padding in range(4):
                    span = dilation * (taps - 1) + 1
                    if extent + 2 * padding < span:
                        continue
                    size = (extent + 2 * padding - span) // stride + 1
                    if size == wanted or (wanted is None and 2 <= size <= 8):
                        found.append((stride, padding, dilation))
        return self.pick(found) if found else None

    def conv(
        self, source: Population, read: Shape, target: Shape | None, *, positive: bool, relaxed: int
    ) -> tuple[SynapseSpec, Shape] | None:
        rng = self.rng
        up = (
            int(self.pick((2, 2, 3)))
            if self.emphasis == "upsample" and self.chance(0.7)
            else int(self.pick((1,) * 7 + (2,)))
        )
        if up > 1 and source.neuron == Input(message_bits=16):
            up = 1
        if target is not None and (target[1] > read[1] or target[2] > read[2]) and self.chance(0.7):
            up = max(up, 2)
        c_out = target[0] if target is not None else int(rng.integers(1, 7))
        if self.emphasis == "shared kernel" and target is None:
            c_out = 2
        common = [g for g in range(1, gcd(read[0], c_out) + 1) if read[0] % g == 0 and c_out % g == 0]
        groups = 1
        if self.emphasis == "depthwise" and target is None and self.chance(0.8):
            groups, c_out = read[0], read[0] * int(self.pick((1, 1, 2)))
        elif self.emphasis == "groups" or self.chance(0.2):
            groups = int(common[-1] if self.chance(0.7) else self.pick(common))
        height, width = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        if self.emphasis == "conv wrap by spikes" and isinstance(source.neuron, Input):
            height, width, up, groups = 6, 6, 1, 1
            c_out = target[0] if target is not None else 4
        kernel: Kernel | None = None
        if self.emphasis == "shared kernel" or self.chance(0.3):
            fitting = [
                p.synapse.kernel
                for p in self.projections
                if isinstance(p.synapse, Conv)
                and p.synapse.kernel.mantissa.shape[0] == c_out
                and read[0] % p.synapse.kernel.mantissa.shape[1] == 0
                and c_out % (read[0] // p.synapse.kernel.mantissa.shape[1]) == 0
                and (not positive or int(p.synapse.kernel.mantissa.min()) >= 0)
            ]
            if fitting:
                kernel = self.pick(fitting)
                groups = read[0] // kernel.mantissa.shape[1]
                height, width = kernel.mantissa.shape[2:]
        vertical = self.axis(read[1] * up, height, target[1] if target is not None else None)
        horizontal = self.axis(read[2] * up, width, target[2] if target is not None else None)
        if vertical is None or horizontal is None:
            return None
        if kernel is None:
            mantissa = self.mantissa((c_out, read[0] // groups, height, width), positive=positive, relaxed=relaxed)
            worst = int(np.abs(mantissa).sum(axis=(1, 2, 3)).max()) * self.message_max(source)
            # The graph refuses an upsampling convolution that could wrap; Lava's own Conv leaves exact integers at 2**31.
            limit = 22 if up > 1 else 30
            exponent = limit - worst.bit_length()
            if exponent < 0:
                return None
            kernel = Kernel(mantissa=mantissa, exponent=min(self.exponent(), exponent))
        elif up > 1 or self.message_max(source) > 1:
            return None
        synapse = Conv(
            kernel=kernel,
            stride=(vertical[0], horizontal[0]),
            padding=(vertical[1], horizontal[1]),
            dilation=(vertical[2], horizontal[2]),
            groups=groups,
            upsample=up,
        )
        shape = synapse.output_shape(read)
        cost = prod(shape) * prod(kernel.mantissa.shape[1:])
        room = self.synapses_max * (4 if self.emphasis == "conv wrap by spikes" else 1)
        if prod(shape) > self.neurons_max or cost > room or prod(shape) < 4:
            return None
        return synapse, shape

    def message_max(self, source: Population) -> int:
        bits = source.neuron.message_bits if isinstance(source.neuron, Input) else 0
        return 1 << max(bits - 1, 0)

    def dense(
        self, source: Population, read: Shape, target: Shape | None, *, positive: bool, relaxed: int
    ) -> tuple[SynapseSpec, Shape] | None:
        shape = target if target is not None else (int(self.rng.integers(8, 25)), 1, int(self.pick((1, 1, 2))))
        if prod(shape) * prod(read) > self.synapses_max:
            return None
        mantissa = self.mantissa((prod(shape), prod(read)), positive=positive, relaxed=relaxed)
        # Lava's 8-bit mixed weights are even, so a Dense there holds twice the mantissa: keep that within 32 bits.
        if int(np.abs(mantissa).sum(axis=1).max()) * self.message_max(source) >= 1 << 29:
            return None
        return Dense(kernel=Kernel(mantissa=mantissa, exponent=self.exponent())), shape

    def one_to_one(
        self, source: Population, read: Shape, target: Shape | None, *, positive: bool, relaxed: int
    ) -> tuple[SynapseSpec, Shape] | None:
        if target is not None and target != read:
            return None
        mantissa = self.mantissa((read[0],), positive=positive, relaxed=0)
        if positive and not mantissa.any():
            mantissa[:] = 1
        return OneToOne(kernel=Kernel(mantissa=mantissa, exponent=self.exponent())), read
