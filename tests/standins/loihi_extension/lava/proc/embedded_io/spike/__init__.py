"""Stand-in for the extension's spike adapters: the published names, ports and arguments; on the CPU they pass on."""

from __future__ import annotations

from lava.proc.embedded_io.spike.process import NxToPyAdapter, PyToN3ConvAdapter, PyToNxAdapter

__all__ = ["NxToPyAdapter", "PyToN3ConvAdapter", "PyToNxAdapter"]
