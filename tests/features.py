"""What a random network exercises: the features and arithmetic edges that the equality tests must cover."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, Dense, Graph, Input, Lif, OneToOne, Or, Readout, Wire

FEATURES = (
    "skip",
    "several projections into one population",
    "shared kernel",
    "channel slice",
    "upsample",
    "groups",
    "depthwise",
    "stride",
    "dilation",
    "padding",
    "oblong kernel",
    "dense",
    "one to one",
    "or",
    "readout",
    "bias per neuron",
    "bias at the edge of its width",
    "weight exponent 7",
    "du 0",
    "du 4095",
    "dv 0",
    "dv 4095",
    "graded input",
    "2 inputs",
    "several samples",
    "one step",
    "as_given",
    "delay as given",
)

EVENTS = (
    "u wraps",
    "u beyond 24 bits",
    "conv wraps",
    "conv wraps by spikes",
    "v saturates high",
    "v saturates low",
    "int32 overflows",
)


def features(graph: Graph, inputs: dict[str, npt.NDArray[np.int32]]) -> set[str]:
    """Which of the features that tests must cover this network has."""
    found: set[str] = {graph.timing, f"{len(graph.inputs)} inputs"}
    steps, samples = next(iter(inputs.values())).shape[:2]
    if samples > 1:
        found.add("several samples")
    if steps == 1:
        found.add("one step")
    ends = [p.dst for p in graph.projections]
    if len(set(ends)) < len(ends):
        found.add("several projections into one population")
    kernels = [id(p.synapse.kernel) for p in graph.projections if not isinstance(p.synapse, Wire)]
    if len(set(kernels)) < len(kernels):
        found.add("shared kernel")
    for p in graph.projections:
        synapse = p.synapse
        if p.delay:
            found.add("delay as given" if graph.timing == "as_given" else "skip")
        if p.src_channels is not None and p.src_channels[1] - p.src_channels[0] < graph.by_id[p.src].shape[0]:
            found.add("channel slice")
        if synapse.kernel.exponent == 7:
            found.add("weight exponent 7")
        match synapse:
            case Dense():
                found.add("dense")
            case OneToOne():
                found.add("one to one")
            case Conv():
                found |= {
                    name
                    for name, present in (
                        ("upsample", synapse.upsample > 1),
                        ("groups", synapse.groups > 1),
                        ("depthwise", synapse.groups > 1 and synapse.kernel.mantissa.shape[1] == 1),
                        ("stride", max(synapse.stride) > 1),
                        ("dilation", max(synapse.dilation) > 1),
                        ("padding", max(synapse.padding) > 0),
                        ("oblong kernel", synapse.kernel.mantissa.shape[2] != synapse.kernel.mantissa.shape[3]),
                    )
                    if present
                }
    for population in graph.populations:
        match population.neuron:
            case Input() as neuron:
                if neuron.message_bits:
                    found.add("graded input")
            case Or():
                found.add("or")
            case Readout():
                found.add("readout")
            case Lif() as neuron:
                if neuron.bias_mant.ndim == 3:
                    found.add("bias per neuron")
                if neuron.bias_mant.min() == -4096 or neuron.bias_mant.max() == 4095:
                    found.add("bias at the edge of its width")
                found |= {f"du {neuron.du}"} & {"du 0", "du 4095"} | {f"dv {neuron.dv}"} & {"dv 0", "dv 4095"}
    return found
