"""What identifies a network: a hash of everything that decides what it computes.

The form of what the first released files could hold must not change: traces name networks by this hash.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netx_export.graph.neurons import Delta, Input, Lif, NeuronSpec, Or, Readout, Rf, RfIz, Sigma, SigmaDelta
from netx_export.graph.synapses import Conv, ConvTranspose, Sparse, SynapseSpec, Wire

if TYPE_CHECKING:
    from netx_export.graph.graph import Graph, Projection


def graph_digest(graph: Graph) -> str:
    """SHA-256 over timing, populations and projections; names of kernels and `meta` do not count."""
    graded = " graded" if graph.messages == "graded" else ""
    digest = hashlib.sha256(f"{graph.timing} {graph.steps}{graded}".encode())
    for population in graph.populations:
        digest.update(f"\0population {population.id} {population.shape} ".encode())
        _add_neuron(digest, population.neuron)
    for projection in graph.projections:
        _add_projection(digest, projection)
    return digest.hexdigest()


def _add_array(digest: Any, array: npt.NDArray[Any]) -> None:
    digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())


def _add_neuron(digest: Any, neuron: NeuronSpec) -> None:
    match neuron:
        case Input():
            digest.update(f"Input {neuron.message_bits}".encode())
        case Lif():
            digest.update(f"Lif {neuron.vth_mant} {neuron.du} {neuron.dv} {neuron.bias_exp}".encode())
            if neuron.reset_interval:
                digest.update(f" reset {neuron.reset_interval} {neuron.reset_offset} ".encode())
            _add_array(digest, neuron.bias_mant)
        case Or():
            digest.update(b"Or")
        case Readout():
            digest.update(f"Readout {neuron.unit!r}".encode())
            _add_array(digest, neuron.bias)
        case Delta():
            digest.update(f"Delta {neuron.vth} {neuron.spike_exp} {neuron.state_exp}".encode())
        case SigmaDelta():
            digest.update(f"SigmaDelta {neuron.vth} {neuron.spike_exp} {neuron.state_exp} {neuron.activation}".encode())
            _add_array(digest, neuron.bias)
        case Sigma():
            digest.update(b"Sigma")
        case Rf() | RfIz():
            numbers = f"{neuron.sin} {neuron.cos} {neuron.vth_mant} {neuron.state_exp}"
            digest.update(f"{type(neuron).__name__} {numbers}".encode())


def _add_projection(digest: Any, projection: Projection) -> None:
    synapse = projection.synapse
    digest.update(
        f"\0projection {projection.src}\0{projection.dst}\0{projection.delay} {projection.src_channels} "
        f"{type(synapse).__name__} ".encode()
    )
    if not isinstance(synapse, Wire):
        digest.update(f"{synapse.kernel.exponent} {synapse.kernel.mantissa.shape}".encode())
    digest.update(_geometry(synapse).encode())
    if isinstance(synapse, Sparse):
        digest.update(synapse.rows.tobytes() + synapse.columns.tobytes())
    if not isinstance(synapse, Wire):
        digest.update(synapse.kernel.mantissa.tobytes())
    if projection.port in ("re", "im"):
        digest.update(f" port {projection.port}".encode())
    if projection.delays is not None:
        digest.update(b" delays ")
        _add_array(digest, projection.delays)


def _geometry(synapse: SynapseSpec) -> str:
    match synapse:
        case Conv():
            return f" {synapse.stride} {synapse.padding} {synapse.dilation} {synapse.groups} {synapse.upsample}"
        case ConvTranspose():
            return f" {synapse.stride} {synapse.padding} {synapse.output_padding} {synapse.dilation} {synapse.groups}"
        case _:
            return ""
