"""What a network is: populations, projections, neurons, synapses, and their integer arithmetic."""

from __future__ import annotations

from netx_export.graph.graph import Graph, Population, Projection, Timing
from netx_export.graph.neurons import (
    FloatLif,
    FloatNeuronSpec,
    Input,
    Lif,
    NeuronSpec,
    Or,
    Readout,
    is_spiking,
)
from netx_export.graph.schedule import Schedule, schedule
from netx_export.graph.synapses import Conv, Dense, Kernel, OneToOne, Pair, Shape, SynapseSpec, accumulator_bound

__all__ = [
    "Conv",
    "Dense",
    "FloatLif",
    "FloatNeuronSpec",
    "Graph",
    "Input",
    "Kernel",
    "Lif",
    "NeuronSpec",
    "OneToOne",
    "Or",
    "Pair",
    "Population",
    "Projection",
    "Readout",
    "Schedule",
    "Shape",
    "SynapseSpec",
    "Timing",
    "accumulator_bound",
    "is_spiking",
    "schedule",
]
