"""Which unit the currents of a population are counted in, and the exponent of each projection into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from netx_export.errors import QuantisationError
from netx_export.float_graph import FloatArray
from netx_export.graph import fixedpoint

Rounding = Literal["maximum", "mse"]

_MSE_TRIES = 3
"""Steps of two by which least squared error may let outliers clip, the first of them none."""

_THRESHOLD_UNITS = 64.0
"""Units of the threshold where weights do not decide: 7 bits."""

_CURRENT_LIMIT = fixedpoint.STATE_LIMIT >> fixedpoint.ACTIVATION_SHIFT
"""Currents are shifted left by 6 into 24-bit states: they wrap at 2**17."""


def round_half_up(values: npt.NDArray[np.float64] | np.float64) -> npt.NDArray[np.int64]:
    """floor(x + 1/2), the rounding used everywhere, in training too."""
    return cast(npt.NDArray[np.int64], np.floor(np.asarray(values) + 0.5).astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """`unit`: the real value, gain included, of one unit of current. `exponents`: one per projection."""

    unit: float
    exponents: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One projection into the population. `conv` sums wrap at 24 bits, `message_max` is the largest message."""

    label: str
    weight: FloatArray
    exact: bool
    message_max: int = 1
    conv: bool = True

    @property
    def largest(self) -> float:
        """max |w|."""
        return float(np.abs(self.weight).max(initial=0.0))


def choose_unit(
    *,
    layer: str,
    gain: float,
    threshold: float | None,
    bias: FloatArray | None,
    candidates: Sequence[Candidate],
    rounding: Rounding,
    bias_exp: int | None,
) -> Scale:
    """The finest power-of-two unit in which everything fits.

    It starts where the projection with the smallest weights uses all 8 bits at exponent 0 (or, where the threshold would
    be less than one unit, at a 64th of the threshold), and doubles until every
    exponent is at most 7, no sum of currents can wrap, and bias and threshold fit their widths. The threshold must
    remain at least one unit (`threshold` None: a readout, which has none). With an exact projection the unit is
    gain*2**-s, so that an identity of weight 2**e is the integer 2**(s+e).
    Raises QuantisationError when no unit does.
    """
    base = gain if any(candidate.exact for candidate in candidates) else 1.0
    shift = _finest(candidates, gain / base, None if threshold is None else threshold / base, rounding)
    if threshold is not None and base * 2.0**-shift > threshold:
        # Weights beyond 127 thresholds need an exponent, and the threshold still needs digits of its own.
        shift = int(np.ceil(np.log2(_THRESHOLD_UNITS * base / threshold)))
    obstacle = ""
    while threshold is None or base * 2.0**-shift <= threshold:
        unit = base * 2.0**-shift
        exponents, obstacle = _fit(candidates, unit / gain, rounding)
        if exponents is not None:
            obstacle = _width_obstacle(candidates, unit, gain, threshold, bias, bias_exp)
            if not obstacle:
                _check_nothing_vanishes(layer, candidates, unit / gain, exponents)
                return Scale(unit=unit, exponents=exponents)
        elif obstacle and any(c.exact for c in candidates) and shift < -fixedpoint.WEIGHT_EXP_MAX:
            break
        shift -= 1
    raise _refusal(layer, gain, threshold, candidates, bias, obstacle)


def _finest(candidates: Sequence[Candidate], gain: float, threshold: float | None, rounding: Rounding) -> int:
    """The s of the finest unit 2**-s worth trying: the projection with the smallest weights just fits 8 bits.

    By least squared error the unit may be finer still: then the outliers of that projection clip.
    """
    # An identity must be a whole number of units: s is at least the number of binary digits of its fraction.
    fractions = [float(v).as_integer_ratio()[1].bit_length() - 1 for c in candidates if c.exact for v in c.weight.flat]
    trained = [c for c in candidates if c.largest > 0.0 and not c.exact]
    if trained:
        narrow = min(trained, key=lambda candidate: candidate.largest)
        largest = narrow.largest * gain
        shift = int(np.floor(np.log2((fixedpoint.WEIGHT_MAX + 0.5) / largest)))
        while round_half_up(np.float64(largest * 2.0**shift)) > fixedpoint.WEIGHT_MAX:
            shift -= 1
        if rounding == "mse":
            errors = [_squared_error(narrow.weight * gain * 2.0 ** (shift + e), 0) / 4.0**e for e in range(_MSE_TRIES)]
            shift += int(np.argmin(errors))
    else:
        # Identities alone, or no weights at all: 64 units per spike, or to the threshold.
        shift = 6 if threshold is None else int(np.floor(np.log2(_THRESHOLD_UNITS / threshold)))
    return max(shift, *fractions) if fractions else shift


def _fit(candidates: Sequence[Candidate], unit: float, rounding: Rounding) -> tuple[tuple[int, ...] | None, str]:
    """The exponent of every projection at this unit of weight, or what stands in the way."""
    exponents: list[int] = []
    for candidate in candidates:
        scaled = candidate.weight / unit
        fitting = [e for e in range(fixedpoint.WEIGHT_EXP_MAX + 1) if _holds(scaled, e)]
        if candidate.exact:
            fitting = [e for e in fitting if np.array_equal(round_half_up(scaled / 2.0**e) * 2.0**e, scaled)]
            if not fitting:
                return None, f"the identity of {candidate.label!r} is no whole number of units"
        if not fitting:
            return None, f"the weights of {candidate.label!r} reach {candidate.largest!r}"
        best = fitting[0]
        if rounding == "mse" and not candidate.exact:
            tries = range(max(0, best - _MSE_TRIES + 1), best + 1)
            best = min(reversed(tries), key=lambda e: (_squared_error(scaled, e), -e))
        exponents.append(best)
    return tuple(exponents), ""


def _holds(scaled: FloatArray, exponent: int) -> bool:
    # Rounding keeps the order, so the extremes decide.
    lowest, highest = round_half_up(np.array([scaled.min(), scaled.max()]) / 2.0**exponent)
    return bool(lowest >= fixedpoint.WEIGHT_MIN and highest <= fixedpoint.WEIGHT_MAX)


def _squared_error(scaled: FloatArray, exponent: int) -> float:
    mantissa = np.clip(round_half_up(scaled / 2.0**exponent), fixedpoint.WEIGHT_MIN, fixedpoint.WEIGHT_MAX)
    return float(np.square(mantissa * 2.0**exponent - scaled).sum())


def _width_obstacle(
    candidates: Sequence[Candidate],
    unit: float,
    gain: float,
    threshold: float | None,
    bias: FloatArray | None,
    bias_exp: int | None,
) -> str:
    """What does not fit at this unit: the sum of all currents, the bias or the threshold; empty when all do."""
    reach = sum(_worst_sum(candidate) for candidate in candidates) * gain / unit
    if threshold is None:
        wide = fixedpoint.STATE_LIMIT
        return f"currents can reach {reach:.0f} units" if reach >= wide else ""
    if reach >= _CURRENT_LIMIT:
        return f"currents can reach {reach:.0f} units and wrap at {_CURRENT_LIMIT}"
    exponent = fixedpoint.BIAS_EXP_MAX if bias_exp is None else bias_exp
    limit = (fixedpoint.BIAS_MANT_MAX << exponent) / (1 << fixedpoint.ACTIVATION_SHIFT)
    worst = 0.0 if bias is None else float(np.abs(bias).max(initial=0.0)) * gain / unit
    if worst > limit:
        return f"the bias reaches {worst:.6g} units and {limit:.6g} fit"
    # One bit of the state stays free above the threshold, so that v saturates far from it.
    if threshold / unit > min(fixedpoint.VTH_MANT_MAX, _CURRENT_LIMIT // 2):
        return f"the threshold is {threshold / unit:.6g} units"
    return ""


def _worst_sum(candidate: Candidate) -> float:
    """Largest |current| that the projection can deliver to one neuron, rounding of the weights included."""
    magnitude = np.abs(candidate.weight)
    per_target = magnitude.reshape(magnitude.shape[0], -1).sum(axis=1)
    return float(per_target.max(initial=0.0)) * candidate.message_max * (1.0 + 1.0 / 64)


def _check_nothing_vanishes(layer: str, candidates: Sequence[Candidate], unit: float, exponents: Sequence[int]) -> None:
    for candidate, exponent in zip(candidates, exponents, strict=True):
        if candidate.largest and not np.any(round_half_up(candidate.weight / (unit * 2.0**exponent))):
            raise QuantisationError(
                f"Layer {candidate.label!r}: its largest weight {candidate.largest!r} does not fit: it rounds to zero beside "
                f"the other currents into {layer!r}, whose unit is {unit!r} (limit: half a unit). Bring the weights of "
                "both projections closer together (retrain with weight decay), or remove the layer."
            )


def _refusal(
    layer: str,
    gain: float,
    threshold: float | None,
    candidates: Sequence[Candidate],
    bias: FloatArray | None,
    obstacle: str,
) -> QuantisationError:
    exact = [candidate for candidate in candidates if candidate.exact]
    if "identity" in obstacle and exact:
        return QuantisationError(
            f"Layer {layer!r}: {obstacle}: an additive identity of unequal scale, {exact[0].largest!r} beside weights up to "
            f"{max(c.largest for c in candidates)!r} that share its unit. The limit is m << e with m in "
            f"{fixedpoint.WEIGHT_MIN}..{fixedpoint.WEIGHT_MAX} and e in 0..{fixedpoint.WEIGHT_EXP_MAX}. Rescale the other "
            "currents, or make the factor a trained weight (a 1x1 depthwise convolution on the skip)."
        )
    largest = max(candidates, key=lambda candidate: candidate.largest)
    most = fixedpoint.WEIGHT_MAX << fixedpoint.WEIGHT_EXP_MAX
    if "bias" in obstacle:
        worst = 0.0 if bias is None else float(np.abs(bias).max())
        return QuantisationError(
            f"Layer {layer!r}: a bias of {worst!r} (times gain {gain!r}) does not fit 13 bits << {fixedpoint.BIAS_EXP_MAX} while the "
            f"threshold {threshold!r} is at least one unit: {obstacle}. Train with weight decay on the batch norm, or raise "
            "the threshold of the layer."
        )
    return QuantisationError(
        f"Layer {largest.label!r}: a weight of {largest.largest!r} (times gain {gain!r}) does not fit: {obstacle}. The limit is "
        f"{fixedpoint.WEIGHT_MAX} << {fixedpoint.WEIGHT_EXP_MAX} = {most} units per weight with the threshold {threshold!r} of "
        f"{layer!r} at least one unit. Scale the layer's weights down (weight clipping or decay), or raise the threshold."
    )
