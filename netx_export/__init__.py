"""From a torch module to a `.net` file: tracing, passes, validation, reading and writing.

graph = netx_export.export(module, example)
netx_export.write(graph, "network.net")
graph = netx_export.read("network.net")
print("\\n".join(netx_export.inspect("network.net").rows()))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netx_export.exporter import export
    from netx_export.netx.inspection import inspect
    from netx_export.netx.reader import read
    from netx_export.netx.writer import write

__all__ = ["export", "inspect", "read", "write"]

_HOMES = {
    "export": "netx_export.exporter",
    "inspect": "netx_export.netx.inspection",
    "read": "netx_export.netx.reader",
    "write": "netx_export.netx.writer",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: reading a file needs no torch, and the graph types need no HDF5.
    if name not in _HOMES:
        raise AttributeError(f"module 'netx_export' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
