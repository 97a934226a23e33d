"""One Lava process that runs a whole network inside one process of the operating system, with ports to others.

A Lava process costs a third of a millisecond a step whatever it computes; a network as one process pays that once.
"""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from lava_runtime.simulation.network_stepper import NetworkStepper
from lava_runtime.simulation.warm_up import compile_kernels
from netx_export.errors import RunError
from netx_export.graph import Graph, is_spiking


class NetworkProcess(AbstractProcess):
    """`network`, a Graph, as one Lava process: `NetworkProcess(netx_export.read("network.net"))`.

    It has an InPort for each input and an OutPort for each output, frames (W,H,C) as Lava's convolutions have them:
    `inputs[id]`, `outputs[id]`, and as lava-dl calls them `inp` and `out` where there is one. In every time step it receives, advances the
    network by one hardware step and sends, as Lava's neurons do, so the integers are those of the network as Lava
    processes: time_step n is hardware step n - 1. With timing `aligned`, samples of `steps` steps (default: the graph's)
    follow one another without a gap. Readouts send their values, bias included. Runs under any run configuration of
    Lava's CPU simulator. Raises RunError for what is no Graph.
    """

    def __new__(cls, network: Graph, **_: Any) -> NetworkProcess:
        """An instance of the class that has the ports of `network`: Lava wants ports on classes."""
        if not isinstance(network, Graph):
            raise RunError(
                f"A {type(network).__name__} was given to NetworkProcess; give a Graph, as netx_export.read returns it."
            )
        graded = tuple(tuple(not is_spiking(p.neuron) for p in ends) for ends in (network.inputs, network.outputs))
        made: NetworkProcess = object.__new__(_classes(*graded))
        return made

    def __init__(self, network: Graph, *, steps: int | None = None, name: str | None = None) -> None:
        super().__init__(stepper=NetworkStepper(network, steps=steps), name=name)
        compile_kernels()
        self.network = network
        for port, population in zip(_names("inp", len(network.inputs)), network.inputs, strict=True):
            setattr(self, port, InPort(shape=population.shape[::-1]))
        for port, population in zip(_names("out", len(network.outputs)), network.outputs, strict=True):
            setattr(self, port, OutPort(shape=population.shape[::-1]))

    @property
    def inputs(self) -> dict[str, Any]:
        """InPort by input population."""
        ids = [p.id for p in self.network.inputs]
        return {name: getattr(self, port) for port, name in zip(_names("inp", len(ids)), ids, strict=True)}

    @property
    def outputs(self) -> dict[str, Any]:
        """OutPort by output population."""
        ids = [p.id for p in self.network.outputs]
        return {name: getattr(self, port) for port, name in zip(_names("out", len(ids)), ids, strict=True)}


def _names(stem: str, count: int) -> list[str]:
    """Port names: `stem` alone, or numbered where there are several."""
    return [stem] if count == 1 else [f"{stem}_{index}" for index in range(count)]


class PyNetworkModel(PyLoihiProcessModel):
    """NetworkProcess on the CPU; the state is in its stepper."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._stepper: NetworkStepper = proc_params["stepper"]
        graph = self._stepper.graph
        self._ins = list(zip(_names("inp", len(graph.inputs)), (p.id for p in graph.inputs), strict=True))
        self._outs = list(zip(_names("out", len(graph.outputs)), (p.id for p in graph.outputs), strict=True))

    def run_spk(self) -> None:
        """Receive, advance by one hardware step, send."""
        sent = self._stepper.step({name: getattr(self, port).recv() for port, name in self._ins})
        for port, name in self._outs:
            getattr(self, port).send(sent[name])


@cache
def _classes(graded_inputs: tuple[bool, ...], graded_outputs: tuple[bool, ...]) -> type:
    """The process class with these ports; its model goes into this module, where Lava looks for it."""
    ports = {
        port: LavaPyType(kind, np.int32 if graded else np.uint8)
        for stem, kind, ends in (
            ("inp", PyInPort.VEC_DENSE, graded_inputs),
            ("out", PyOutPort.VEC_DENSE, graded_outputs),
        )
        for port, graded in zip(_names(stem, len(ends)), ends, strict=True)
    }
    kinds = "".join("g" if graded else "s" for graded in graded_inputs)
    kinds += "_" + "".join("g" if graded else "s" for graded in graded_outputs)
    process = type(f"NetworkProcess_{kinds}", (NetworkProcess,), {"__module__": __name__})
    model = type(f"PyNetworkModel_{kinds}", (PyNetworkModel,), {"__module__": __name__, **ports})
    model = tag("fixed_pt", "bit_accurate_loihi")(
        requires(CPU)(implements(proc=process, protocol=LoihiProtocol)(model))
    )
    globals()[model.__name__] = model
    return process
