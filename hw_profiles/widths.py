"""Numbers that the chip's words cannot hold: weights, delays, thresholds, biases."""

from __future__ import annotations

from hw_profiles.profile import HardwareProfile
from hw_profiles.slices import FitProblem
from netx_export.graph import Graph, Lif, Wire, fixedpoint


def width_problems(graph: Graph, profile: HardwareProfile) -> list[FitProblem]:
    """Numbers that the chip's words cannot hold: weights, delays, thresholds, biases."""
    problems: list[FitProblem] = []

    def check(layer: str, resource: str, used: int, limit: int, remedy: str, source: str) -> None:
        if used > limit:
            problems.append(
                FitProblem(layer=layer, resource=resource, used=used, limit=limit, remedy=remedy, source=source)
            )

    weight_bits, delay = profile.limit("weight_bits"), profile.limit("delay")
    for projection in graph.projections:
        source = graph.by_id[projection.dst].source
        if weight_bits is not None and not isinstance(projection.synapse, Wire):
            mantissa = projection.synapse.kernel.mantissa
            needed = _signed_bits(int(mantissa.min()), int(mantissa.max()))
            check(projection.label, "weight_bits", needed, weight_bits, f"quantise to {weight_bits} bits.", source)
        if delay is not None:
            remedy = "export with relay populations (--relays), shorten the skip, or use fewer steps per window."
            check(projection.label, "delay", projection.longest_delay, delay, remedy, source)
    vth_bits, bias_bits = profile.limit("vth_bits"), profile.limit("bias_bits")
    for population in graph.populations:
        neuron = population.neuron
        if isinstance(neuron, Lif):
            # A threshold that is never reached is the chip's largest one.
            if vth_bits is not None and neuron.vth_mant != fixedpoint.VTH_NEVER:
                remedy = "scale weights and threshold down together."
                check(population.id, "vth_bits", neuron.vth_mant.bit_length(), vth_bits, remedy, population.source)
            if bias_bits is not None:
                needed = _signed_bits(int(neuron.bias_mant.min()), int(neuron.bias_mant.max()))
                check(population.id, "bias_bits", needed, bias_bits, "use a larger bias_exp.", population.source)
    return problems


def _signed_bits(low: int, high: int) -> int:
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1
