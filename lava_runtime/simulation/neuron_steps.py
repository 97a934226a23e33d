"""The neurons of one population, advanced one time step after the other, on flat frames (W,H,C).

Equations: netx_export/graph/neurons.py. Every class has the states `u` and `v` that a Trace records.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lava_runtime.simulation import frame_neurons
from netx_export.errors import RunError
from netx_export.graph import (
    Delta,
    Input,
    Lif,
    Or,
    Population,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    fixedpoint,
)

Int32Array = npt.NDArray[np.int32]
FrameArray = npt.NDArray[np.integer[Any]]


class NeuronStep(Protocol):
    """One population: `sent` holds the messages of the last step."""

    u: Int32Array
    v: Int32Array
    sent: FrameArray

    def update(self, current: Int32Array, quadrature: Int32Array) -> None:
        """Advance by one step on the incoming `current`; resonators read their imaginary part from `quadrature`."""
        ...

    def reset(self) -> None:
        """All states to zero."""
        ...


class _States:
    """The two states."""

    def __init__(self, size: int) -> None:
        self.u: Int32Array = np.zeros(size, np.int32)
        self.v: Int32Array = np.zeros(size, np.int32)

    def reset(self) -> None:
        """All states to zero."""
        self.u.fill(0)
        self.v.fill(0)


class LifStep(_States):
    """Lif."""

    def __init__(self, population: Population, neuron: Lif) -> None:
        super().__init__(population.size)
        bias = fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp)
        self._bias = frame_values(bias, population)
        self._u_multiplier = fixedpoint.current_multiplier(neuron.du)
        self._v_multiplier = fixedpoint.voltage_multiplier(neuron.dv)
        self._threshold = neuron.vth_mant << fixedpoint.ACTIVATION_SHIFT
        self.sent: FrameArray = np.zeros(population.size, np.uint8)

    def update(self, current: Int32Array, quadrature: Int32Array) -> None:
        """Advance by one step."""
        frame_neurons.lif_frame(
            current, self.u, self.v, self._bias, self._u_multiplier, self._v_multiplier, self._threshold, self.sent
        )


class OrStep(_States):
    """Or; it has no states."""

    def __init__(self, population: Population) -> None:
        super().__init__(0)
        self.sent: FrameArray = np.zeros(population.size, np.uint8)

    def update(self, current: Int32Array, quadrature: Int32Array) -> None:
        """Advance by one step."""
        np.greater(current, 0, out=self.sent, casting="unsafe")


class ReadoutStep(_States):
    """Readout; it has no states."""

    def __init__(self, population: Population, neuron: Readout) -> None:
        super().__init__(0)
        self._bias = frame_values(neuron.bias, population)
        self.sent: FrameArray = np.zeros(population.size, np.int32)

    def update(self, current: Int32Array, quadrature: Int32Array) -> None:
        """Advance by one step."""
        np.add(current, self._bias, out=self.sent)


class SigmaStep(_States):
    """Sigma."""

    def __init__(self, population: Population) -> None:
        super().__init__(population.size)
        self.sent: FrameArray = np.zeros(population.size, np.int32)

    def update(self, current: Int32Array, quadrature: Int32Array) -> None:
        """Advance by one step."""
        self.u += current
        self.sent[:] = self.u


class DeltaStep(_States):
    """Delta."""

    def __init__(self, population: Population, neuron: Delta) -> None:
        super().__init__(population.size)
        self._shift = neuron.spike_exp + neuron.state_exp
        self._state_exp = neuron.state_exp
        self._threshold = neuron.vth << self._shift
        self._x: Int32Array = np.zeros(population.size, np.int32)
        self.sent: FrameArray = np.zeros(population.size, np.int32)

    def update(self, current: Int32Array, quadrature: Int32Array) -> None:
        """Advance by one step."""
        np.left_shift(current, self._shift, out=self._x)
        frame_neurons.delta_frame(self._x, self.u, self.v, self._threshold, self._state_exp, self.sent)


class SigmaDeltaStep(_States):
    """SigmaDelta."""

    def __init__(self, population: Population, neuron: SigmaDelta) -> None:
        super().__init__(population.size)
        shift = neuron.spike_exp + neuron.state_exp
        self._state_exp = neuron.state_exp
        self._threshold = neuron.vth << shift
        self._bias = frame_values(neuron.bias << shift, population)
        self._relu = neuron.activation == "relu"
        self._x: Int32Array = np.zeros(population.size, np.int32)
        self._act: Int32Array = np.zeros(population.size, np.int32)
        self.sent: FrameArray = np.zeros(population.size, np.int32)

    def update(self, current: Int32Array, quadrature: Int32Array) -> None:
        """Advance by one step."""
        self.u += current
        frame_neurons.activation_frame(self.u, self._bias, self._relu, self._x)
        frame_neurons.delta_frame(self._x, self._act, self.v, self._threshold, self._state_exp, self.sent)

    def reset(self) -> None:
        """All states to zero."""
        super().reset()
        self._act.fill(0)


class ResonatorStep(_States):
    """Rf or RfIz."""

    def __init__(self, population: Population, neuron: Rf | RfIz) -> None:
        super().__init__(population.size)
        self._rotation = (neuron.sin, neuron.cos, fixedpoint.DECAY_BITS, neuron.state_exp)
        self._threshold = neuron.vth_mant << neuron.state_exp
        self._izhikevich = isinstance(neuron, RfIz)
        self.sent: FrameArray = np.zeros(population.size, np.uint8)

    def update(self, current: Int32Array, quadrature: Int32Array) -> None:
        """Advance by one step."""
        frame_neurons.resonator_frame(
            current, quadrature, self.u, self.v, *self._rotation, self._threshold, self._izhikevich, self.sent
        )


def frame_values(values: npt.NDArray[np.int32], population: Population) -> Int32Array:
    """A bias (1,), (C,) or (C,H,W) as one value per neuron of the flat frame, or as a single one where all are equal."""
    if values.size and bool((values == values.flat[0]).all()):
        return values.reshape(-1)[:1].copy()
    wide = values[:, None, None] if values.ndim == 1 else values
    whole = np.broadcast_to(wide, population.shape).transpose(2, 1, 0).reshape(-1)
    return np.array(whole, np.int32)


def neuron_step(population: Population) -> NeuronStep:
    """The neurons of `population`, which must not be an Input."""
    match population.neuron:
        case Lif() as neuron:
            return LifStep(population, neuron)
        case Or():
            return OrStep(population)
        case Readout() as neuron:
            return ReadoutStep(population, neuron)
        case Sigma():
            return SigmaStep(population)
        case Delta() as neuron:
            return DeltaStep(population, neuron)
        case SigmaDelta() as neuron:
            return SigmaDeltaStep(population, neuron)
        case Rf() | RfIz() as neuron:
            return ResonatorStep(population, neuron)
        case Input():
            raise RunError(
                f"Population {population.id!r} is an input; the host plays it, it has no neurons to advance."
            )
