"""From real numbers to the integers of the chip: 8-bit weights, power-of-two units, bias and threshold in their widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import numpy.typing as npt

from netx_export.errors import QuantisationError
from netx_export.float_graph import FloatArray
from netx_export.graph import (
    Conv,
    Dense,
    FloatLif,
    Graph,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    SynapseSpec,
    fixedpoint,
)
from netx_export.passes.units import Candidate, Rounding, Scale, choose_unit, round_half_up
from netx_export.projection_graph import (
    FloatConv,
    FloatDense,
    FloatPopulation,
    FloatProjection,
    FloatReadout,
    FloatSynapse,
    ProjectionGraph,
)

NETX_BIAS_EXP = 6
"""The bias exponent that lava-dl's loader assumes: biases are whole units of the current."""


@dataclass(frozen=True, slots=True)
class Quantise:
    """Weights w = mantissa << exponent in a unit that all currents into a population share.

    For a Lif with gain k: mantissa = round(k*W / (unit << exponent)), half up; unit = 2**-s, or k*2**-s where an
    identity arrives, so that it stays exact. vth_mant = round(theta/unit); bias in steps of unit/64;
    dv = round(4096*(1 - leak)), at most 4095; du = 4095: a current lasts one step.
    Lava fires at v > vth, training at v >= theta. Where v is always a whole number of units (no leak, bias in whole
    units) vth_mant = ceil(theta/unit) - 1 makes both the same; elsewhere the difference is 1/64 of a unit and stays.

    `rounding` is "maximum" (the largest weight fits) or "mse" (smaller exponents are tried, outliers clip, where that
    lowers the squared error). `bias_exp` fixes the exponent of all Lif biases; by default it is 6, the only one that
    lava-dl's loader knows, for a plain chain of populations, and as fine as the width allows elsewhere.
    Raises QuantisationError naming the layer, the value, the limit and the remedy.
    """

    steps: int = 1
    rounding: Rounding = "maximum"
    bias_exp: int | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    name: str = "quantise"

    def requires(self, graph: ProjectionGraph) -> None:
        """Every number is finite, and the rounding one that exists."""
        if self.rounding not in get_args(Rounding):
            raise QuantisationError(
                f"rounding is {self.rounding!r}; choose one of {', '.join(map(repr, get_args(Rounding)))}."
            )
        for projection in graph.projections:
            _check_finite(projection.synapse.weight, "weight", projection.source or projection.label)
        for population in graph.populations:
            if population.bias is not None:
                _check_finite(population.bias, "bias", population.source or population.id)

    def call(self, graph: ProjectionGraph) -> Graph:
        """The integer graph."""
        bias_exp = self.bias_exp
        if bias_exp is None and is_chain(graph):
            bias_exp = NETX_BIAS_EXP
        kernels: dict[tuple[object, ...], Kernel] = {}
        populations: list[Population] = []
        synapses: dict[int, SynapseSpec] = {}
        for population in graph.populations:
            incoming = graph.incoming[population.id]
            scale = _scale_of(graph, population, incoming, self.rounding, bias_exp)
            for index, projection in enumerate(incoming):
                exponent = 0 if scale is None else scale.exponents[index]
                unit = 1.0 if scale is None else scale.unit / _gain(population)
                key = (id(projection.synapse.weight), unit, exponent)
                if key not in kernels:
                    kernels[key] = _kernel(projection.synapse.weight, unit, exponent)
                synapses[id(projection)] = _synapse(projection.synapse, kernels[key])
            populations.append(
                Population(
                    id=population.id,
                    shape=population.shape,
                    neuron=_neuron(population, scale, bias_exp),
                    source=population.source,
                )
            )
        projections = tuple(
            Projection(src=p.src, dst=p.dst, synapse=synapses[id(p)], delay=p.delay) for p in graph.projections
        )
        return Graph(populations=tuple(populations), projections=projections, steps=self.steps, meta=self.meta)

    def ensures(self, graph: Graph) -> None:
        """The graph's own checks hold at construction."""


def is_chain(graph: ProjectionGraph) -> bool:
    """True for a plain sequence of Lif populations behind one input: what NetX expresses without extensions."""
    for index, population in enumerate(graph.populations):
        incoming = graph.incoming[population.id]
        if index == 0:
            if not isinstance(population.neuron, Input):
                return False
            continue
        if len(incoming) != 1 or incoming[0].src != graph.populations[index - 1].id:
            return False
        if not isinstance(population.neuron, FloatLif | FloatReadout):
            return False
        if isinstance(incoming[0].synapse, FloatConv) and incoming[0].synapse.upsample > 1:
            return False
    return True


def _check_finite(array: FloatArray, what: str, layer: str) -> None:
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(int(index) for index in wrong[0])
        raise QuantisationError(
            f"Layer {layer!r}: {what} {place} is {array[place]!r}; {len(wrong)} of {array.size} are not finite and no "
            "integer stands for them. Load a checkpoint from before training diverged."
        )


def _gain(population: FloatPopulation) -> float:
    return population.neuron.gain if isinstance(population.neuron, FloatLif) else 1.0


def _scale_of(
    graph: ProjectionGraph,
    population: FloatPopulation,
    incoming: Sequence[FloatProjection],
    rounding: Rounding,
    bias_exp: int | None,
) -> Scale | None:
    """The unit of a population and the exponent of each projection into it; None where weights are ones (Input, Or)."""
    if not isinstance(population.neuron, FloatLif | FloatReadout):
        return None
    gain = _gain(population)
    candidates = []
    for projection in incoming:
        source = graph.by_id[projection.src].neuron
        bits = source.message_bits if isinstance(source, Input) else 0
        candidates.append(
            Candidate(
                label=projection.source or projection.label,
                weight=projection.synapse.weight,
                exact=projection.exact,
                message_max=1 << (bits - 1) if bits else 1,
                conv=not isinstance(projection.synapse, FloatDense),
            )
        )
    return choose_unit(
        layer=population.source or population.id,
        gain=gain,
        threshold=population.neuron.threshold if isinstance(population.neuron, FloatLif) else None,
        bias=population.bias,
        candidates=candidates,
        rounding=rounding,
        bias_exp=bias_exp,
    )


def _kernel(weight: FloatArray, unit: float, exponent: int) -> Kernel:
    mantissa = round_half_up(weight / (unit * 2.0**exponent))
    clipped = np.clip(mantissa, fixedpoint.WEIGHT_MIN, fixedpoint.WEIGHT_MAX)
    return Kernel(mantissa=clipped.astype(np.int16), exponent=exponent)


def _synapse(synapse: FloatSynapse, kernel: Kernel) -> SynapseSpec:
    match synapse:
        case FloatConv():
            return Conv(
                kernel=kernel,
                stride=synapse.stride,
                padding=synapse.padding,
                dilation=synapse.dilation,
                groups=synapse.groups,
                upsample=synapse.upsample,
            )
        case FloatDense():
            return Dense(kernel=kernel)
        case _:
            return OneToOne(kernel=kernel)


def _neuron(population: FloatPopulation, scale: Scale | None, bias_exp: int | None) -> Input | Lif | Or | Readout:
    neuron = population.neuron
    if isinstance(neuron, Input | Or):
        return neuron
    if scale is None:
        raise QuantisationError(f"Layer {population.source!r} has no unit; nothing drives it.")
    bias = population.bias if population.bias is not None else np.zeros(population.shape[0])
    if isinstance(neuron, FloatReadout):
        return Readout(bias=_readout_bias(population, bias, scale.unit), unit=scale.unit)
    exponent, mantissa = quantised_bias(bias * neuron.gain / scale.unit, bias_exp)
    dv = quantised_leak(neuron.leak)
    whole_units = dv == 0 and not np.any((mantissa << exponent) % (1 << fixedpoint.ACTIVATION_SHIFT))
    threshold = neuron.threshold / scale.unit
    return Lif(
        vth_mant=int(np.ceil(threshold)) - 1 if whole_units else int(round_half_up(np.float64(threshold))),
        dv=dv,
        bias_mant=mantissa.astype(np.int32),
        bias_exp=exponent,
        unit=scale.unit / (1 << fixedpoint.ACTIVATION_SHIFT),
    )


def quantised_leak(leak: float) -> int:
    """dv = round(4096*(1 - leak)), half up, in 0..4095."""
    return int(np.clip(np.floor(fixedpoint.DECAY_ONE * (1.0 - leak) + 0.5), 0, fixedpoint.DECAY_ONE - 1))


def quantised_bias(bias: FloatArray, bias_exp: int | None) -> tuple[int, npt.NDArray[np.int64]]:
    """(exponent, mantissas) of a bias given in units of the current: mantissa << exponent counts 1/64 units.

    The exponent is `bias_exp`, or the smallest with which the mantissas fit 13 bits.
    """
    wanted = bias * (1 << fixedpoint.ACTIVATION_SHIFT)
    exponents = range(fixedpoint.BIAS_EXP_MAX + 1) if bias_exp is None else (bias_exp,)
    for exponent in exponents:
        mantissa = round_half_up(wanted / 2.0**exponent)
        if mantissa.min() >= fixedpoint.BIAS_MANT_MIN and mantissa.max() <= fixedpoint.BIAS_MANT_MAX:
            return exponent, mantissa
    raise QuantisationError(
        f"A bias of {float(np.abs(bias).max())} units does not fit {fixedpoint.BIAS_MANT_MAX} << {exponents[-1]}."
    )


def _readout_bias(population: FloatPopulation, bias: FloatArray, unit: float) -> npt.NDArray[np.int32]:
    limit = int(np.iinfo(np.int32).max)
    worst = float(np.abs(bias).max())
    # Compared before rounding: what exceeds 64 bits would come back as another number.
    if worst / unit > limit:
        raise QuantisationError(
            f"Readout {population.id!r} ({population.source!r}): a bias of {worst!r} does not fit 32 bits in units of {unit!r}; "
            "the weights are tiny beside it. Add such a constant after the run."
        )
    return round_half_up(bias / unit).astype(np.int32)
