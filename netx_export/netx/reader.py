"""Reading `.net` files: our own, and sequential NetX files from others."""

from __future__ import annotations

import os

from netx_export.errors import NetxError
from netx_export.graph import Graph
from netx_export.netx import extension, layers_in, layers_out, schema, tree


def read(path: str | os.PathLike[str], *, skip_layers: int = 0, num_layers: int | None = None) -> Graph:
    """The network in the file at `path`.

    A file with the extension group comes back as the graph that was written, with the same digest and the same shared
    kernels. Any other file is read as sequential NetX, timing `as_given`; for such files `skip_layers` and
    `num_layers` mean what they mean in lava-dl's `hdf5.Network`: leave out the first layers, read only the first ones.
    Raises NetxError for whatever is damaged, hostile, unknown or beyond what a graph can express.
    """
    root = tree.load(path)
    if schema.EXTENSION not in root.groups:
        return layers_in.read_layers(root, skip_layers=skip_layers, num_layers=num_layers)
    if skip_layers or num_layers is not None:
        raise NetxError(
            f"{root.where}: skip_layers and num_layers are for NetX files from elsewhere; this one was written whole, "
            "read it whole."
        )
    graph, form = extension.decode(root.groups[schema.EXTENSION])
    where = root.where
    found = layers_out.obstacle(graph)
    if form == "netx" and found is not None:
        raise NetxError(f"{where}: the file claims the form 'netx', but {found}; write it again.")
    expected = layers_out.plain(graph, where) if form == "netx" else layers_out.barrier(graph, where)
    same_steps = root.group("simulation").checksum() == layers_out.simulation(graph, where).checksum()
    if not same_steps or root.group("layer").checksum() != expected.checksum():
        raise NetxError(
            f"{where}: /layer and /{schema.EXTENSION} describe different networks, so stock loaders would run another "
            "one than this; the file was changed by hand or damaged. Write it again."
        )
    return graph
