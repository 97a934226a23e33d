"""Lava processes that `lava.proc` does not have: sources, sinks that write results themselves, and fan-ins.

What a process needs beyond its ports travels in `proc_params`, which its model reads after the fork.
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from lava.magma.core.process.ports.ports import InPort, OutPort, RefPort
from lava.magma.core.process.process import AbstractProcess

from lava_runtime.lowering.blocks import FrameShape
from lava_runtime.lowering.branches import Branch
from lava_runtime.simulation.recorder import FrameArray, Ledger


class SpikeSource(AbstractProcess):
    """Sends `data` (N,W,H,C) uint8, one frame a step from step `delay` on, and silence after its end."""

    def __init__(self, *, data: FrameArray, delay: int, name: str) -> None:
        super().__init__(data=data, delay=delay, name=name)
        self.s_out = OutPort(shape=data.shape[1:])


class GradedSource(AbstractProcess):
    """Sends `data` (N,W,H,C) int32 as graded messages, else as SpikeSource."""

    def __init__(self, *, data: FrameArray, delay: int, name: str) -> None:
        super().__init__(data=data, delay=delay, name=name)
        self.s_out = OutPort(shape=data.shape[1:])


class FanIn(AbstractProcess):
    """Projections into one population: a[t+1] = sum over branches of synapse(s_in_port[t - delay]).

    `graded` says of each source whether it sends integers.
    """

    def __init__(
        self,
        *,
        shape: FrameShape,
        sources: tuple[FrameShape, ...],
        graded: tuple[bool, ...],
        branches: tuple[Branch, ...],
        name: str,
    ) -> None:
        super().__init__(shape=shape, sources=sources, graded=graded, branches=branches, name=name)
        for index, source in enumerate(sources):
            setattr(self, f"s_in_{index}", InPort(shape=source))
        self.a_out = OutPort(shape=shape)


class SpikeSink(AbstractProcess):
    """Counts the messages it receives and writes counters and raster into the run's folder."""

    def __init__(self, *, shape: FrameShape, ledger: Ledger, name: str) -> None:
        super().__init__(ledger=ledger, name=name)
        self.a_in = InPort(shape=shape)


class StateSink(AbstractProcess):
    """Reads two states of a neuron process after each step, through RefPorts, and writes them into the run's folder."""

    def __init__(self, *, shape: FrameShape, ledger: Ledger, name: str) -> None:
        super().__init__(ledger=ledger, name=name)
        self.u = RefPort(shape=shape)
        self.v = RefPort(shape=shape)


class CurrentSink(AbstractProcess):
    """Writes what it receives into the run's folder; of a running sum (`differences`) the change per step."""

    def __init__(self, *, shape: FrameShape, ledger: Ledger, differences: bool, name: str) -> None:
        super().__init__(ledger=ledger, differences=differences, name=name)
        self.a_in = InPort(shape=shape)
