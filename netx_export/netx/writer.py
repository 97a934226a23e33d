"""Writing a Graph as a `.net` file: atomic, and the same graph gives the same bytes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from netx_export.errors import NetxError
from netx_export.files import replace_file
from netx_export.graph import Graph
from netx_export.netx import extension, layers_out, schema
from netx_export.netx.tree import Group


def write(graph: Graph, path: str | os.PathLike[str], *, meta: Mapping[str, str] | None = None) -> None:
    """Write `graph` to `path`; `meta` is added to the graph's own provenance.

    A network that stock NetX can express is written so that lava-dl's loader runs it with the same spikes; any other
    is written so that the loader stops. Raises NetxError when the file cannot be written.
    """
    file = Path(path)
    if not isinstance(graph, Graph):
        raise NetxError(
            f"{file}: a {type(graph).__name__} cannot be written; give a Graph, as netx_export.export returns it."
        )
    if meta:
        graph = dataclasses.replace(graph, meta={**graph.meta, **meta})
    if not all(isinstance(name, str) and isinstance(text, str) for name, text in graph.meta.items()):
        raise NetxError(f"{file}: meta must map texts to texts; convert its values with json.dumps or str.")
    form: schema.Form = "netx" if layers_out.obstacle(graph) is None else "extended"
    trees = {
        "layer": layers_out.plain(graph, str(file)) if form == "netx" else layers_out.barrier(graph, str(file)),
        "simulation": layers_out.simulation(graph, str(file)),
        schema.EXTENSION: extension.encode(graph, form, str(file)),
    }
    try:
        # The oldest file structure is the one every HDF5 release reads.
        with replace_file(file) as temporary, h5py.File(temporary, "w", libver=("earliest", "v110")) as root:
            for name, tree in trees.items():
                _save(tree, root.create_group(name))
    except OSError as error:
        reason = error.strerror or str(error)
        raise NetxError(f"{file}: cannot be written ({reason}); check the folder, its permissions and space.") from None


def _save(tree: Group, group: Any) -> None:
    for name, value in tree.attributes.items():
        # Lists as 64-bit integers; texts as UTF-8 of variable length, which may be empty.
        group.attrs[name] = np.asarray(value, "<i8") if isinstance(value, int | list) else value
    for name, array in tree.arrays.items():
        if isinstance(array, tuple):
            # NetX keeps its words as bytes of fixed length; meta is JSON in ASCII.
            group.create_dataset(name, data=np.bytes_(array[0].encode("ascii")), track_times=False)
        else:
            group.create_dataset(name, data=array, track_times=False)
    for name, child in tree.groups.items():
        _save(child, group.create_group(name))
