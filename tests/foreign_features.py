"""What a network of foreign kinds exercises: the features and arithmetic edges that its equality tests must cover."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netx_export.graph import (
    GRADED,
    RESONATORS,
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
)
from tests.reference.record import is_integrator

_GRADED_INTO = ("conv", "transposed", "dense", "sparse", "one to one")

FOREIGN_FEATURES = (
    "delta",
    "sigma-delta relu",
    "sigma-delta unit",
    "sigma",
    "rf",
    "rf_iz",
    "lif",
    "or",
    "readout",
    "sigma-delta bias per neuron",
    "spike_exp",
    "state_exp",
    "state_exp of a resonator",
    "rotation by more than 90 degrees",
    "rotation backwards",
    "both ports",
    "one port",
    "complex dense",
    "conv",
    "transposed",
    "transposed in groups",
    "output padding",
    "dense",
    "sparse",
    "one to one",
    "wire",
    "wire into a resonator",
    "wire of a slice",
    "onto itself",
    "sigma-delta onto itself",
    "resonator onto itself",
    "feedback",
    "delay of a projection",
    "delays per axon",
    "delays per axon of a convolution",
    "delays per synapse of a dense",
    "delays per synapse of a sparse",
    "delay 62",
    "delays with a negative exponent",
    "negative exponent",
    "du -1",
    "dv 4096",
    "integrator",
    "reset interval",
    *(f"messages into {kind}" for kind in _GRADED_INTO),
    "messages into lif",
    "messages into a resonator",
    "graded input",
    "2 inputs",
    "several samples",
    "several projections into one population",
    "channel slice",
    "aligned",
    "as_given",
)

FOREIGN_EVENTS = (
    "changes held back",
    "changes overflow 32 bits",
    "sigma overflows 32 bits",
    "messages lose bits",
    "relu clips",
    "resonator saturates",
    "resonator input overflows",
    "crossings below threshold",
    "negative sums floor",
    "resets within a sample",
    "u wraps",
    "u beyond 24 bits",
    "conv wraps",
    "v saturates high",
    "v saturates low",
    "int32 overflows",
)


def _kind(p: Projection) -> str:
    names = {Conv: "conv", ConvTranspose: "transposed", Dense: "dense", Sparse: "sparse", OneToOne: "one to one"}
    return names.get(type(p.synapse), "wire")


def _of_population(population: Population) -> set[str]:
    neuron = population.neuron
    found: set[str] = set()
    match neuron:
        case Input():
            found = {"graded input"} if neuron.message_bits else set()
        case Or():
            found = {"or"}
        case Readout():
            found = {"readout"}
        case Sigma():
            found = {"sigma"}
        case Lif():
            found = {"lif", f"du {neuron.du}", f"dv {neuron.dv}"}
            found |= {"integrator"} if is_integrator(population) else set()
            found |= {"reset interval"} if neuron.reset_interval else set()
        case Rf() | RfIz():
            found = {"rf" if isinstance(neuron, Rf) else "rf_iz"}
            found |= {"state_exp of a resonator"} if neuron.state_exp != 6 else set()
            found |= {"rotation by more than 90 degrees"} if neuron.cos < 0 else set()
            found |= {"rotation backwards"} if neuron.sin < 0 else set()
        case Delta() | SigmaDelta():
            found = {"spike_exp"} if neuron.spike_exp else set()
            found |= {"state_exp"} if neuron.state_exp else set()
            if isinstance(neuron, Delta):
                found.add("delta")
            else:
                found.add(f"sigma-delta {neuron.activation}")
                found |= {"sigma-delta bias per neuron"} if neuron.bias.ndim == 3 else set()
    return found


def _of_projection(graph: Graph, p: Projection) -> set[str]:
    kind, source, target = _kind(p), graph.by_id[p.src], graph.by_id[p.dst]
    sliced = p.src_channels is not None and p.src_channels[1] - p.src_channels[0] < source.shape[0]
    resonator = isinstance(target.neuron, RESONATORS)
    floors = not isinstance(p.synapse, Wire) and p.synapse.kernel.exponent < 0
    axons = p.delays is not None and p.delays.ndim == 3
    graded = isinstance(source.neuron, GRADED)
    own, back = p.src == p.dst, graph.is_recurrent(p)
    present = {
        kind: True,
        "channel slice": sliced,
        "wire of a slice": sliced and kind == "wire",
        "wire into a resonator": resonator and kind == "wire",
        "onto itself": own,
        "sigma-delta onto itself": own and isinstance(source.neuron, SigmaDelta | Delta),
        "resonator onto itself": own and resonator,
        "feedback": back and not own,
        "delay of a projection": p.delay > 0 and graph.timing == "as_given",
        "delays per axon": axons,
        "delays per axon of a convolution": axons and kind in ("conv", "transposed"),
        f"delays per synapse of a {kind}": p.delays is not None and not axons,
        "delay 62": p.delays is not None and int(p.delays.max()) == 62,
        "delays with a negative exponent": p.delays is not None and floors,
        "negative exponent": floors,
        f"messages into {kind}": graded,
        "messages into lif": graded and isinstance(target.neuron, Lif),
        "messages into a resonator": graded and resonator,
    }
    if isinstance(p.synapse, ConvTranspose):
        present["transposed in groups"] = p.synapse.groups > 1
        present["output padding"] = max(p.synapse.output_padding) > 0
    return {name for name, there in present.items() if there}


def _ports(graph: Graph, population: Population) -> set[str]:
    incoming = graph.incoming[population.id]
    found = {"both ports" if len({p.port for p in incoming}) == 2 else "one port"}
    dense = {
        port: {p.src for p in incoming if p.port == port and isinstance(p.synapse, Dense)} for port in ("re", "im")
    }
    return found | ({"complex dense"} if dense["re"] & dense["im"] else set())


def foreign_features(graph: Graph, inputs: dict[str, npt.NDArray[np.int32]]) -> set[str]:
    """Which of the features that tests must cover this network has."""
    found: set[str] = {graph.timing, f"{len(graph.inputs)} inputs"}
    if next(iter(inputs.values())).shape[1] > 1:
        found.add("several samples")
    ends = [p.dst for p in graph.projections]
    if len(set(ends)) < len(ends):
        found.add("several projections into one population")
    for population in graph.populations:
        found |= _of_population(population)
        if isinstance(population.neuron, RESONATORS):
            found |= _ports(graph, population)
    for projection in graph.projections:
        found |= _of_projection(graph, projection)
    return found
