"""Reading `.net` files: our own, and NetX files from others."""

from __future__ import annotations

import os

from netx_export.errors import NetxError
from netx_export.graph import Graph, Shape
from netx_export.netx import extension, layers_in, layers_out, schema, tree
from netx_export.netx.findings import Finding


def read(
    path: str | os.PathLike[str],
    *,
    skip_layers: int = 0,
    num_layers: int | None = None,
    input_message_bits: int = 0,
    input_shape: Shape | None = None,
    reset_interval: int | None = None,
    reset_offset: int = 0,
    spike_exp: int = 6,
) -> Graph:
    """The network in the file at `path`.

    A file with the extension group comes back as the graph that was written, with the same digest and the same shared
    kernels. Any other file is read as NetX, timing `as_given`; `netx_export.inspect` tells where stock Lava would run
    something else. For such files the arguments mean what they mean in lava-dl's `hdf5.Network`: `skip_layers` leaves
    out the first layers and `num_layers` all but the first ones; `input_message_bits` > 0 lets the network's input be
    numbers; `input_shape` (C,H,W) is for files without an input layer; with `reset_interval` every layer of leaky
    neurons forgets u and v each so many steps, the first at step `reset_offset` + 1 and each later one a step later;
    `spike_exp` scales the messages of sigma-delta neurons.
    Raises NetxError for whatever is damaged, hostile, unknown or beyond what a graph can express.
    """
    options = layers_in.ReadOptions(
        skip_layers=skip_layers,
        num_layers=num_layers,
        input_message_bits=input_message_bits,
        input_shape=input_shape,
        reset_interval=reset_interval,
        reset_offset=reset_offset,
        spike_exp=spike_exp,
    )
    return graph_of(tree.load(path), options)[0]


def graph_of(
    root: tree.Group, options: layers_in.ReadOptions | None = None
) -> tuple[Graph, schema.Form | None, tuple[Finding, ...]]:
    """The network in a loaded file, the form of a file of ours, and the findings in a file from elsewhere."""
    chosen = options or layers_in.ReadOptions()
    if schema.EXTENSION not in root.groups:
        reading = layers_in.read_layers(root, chosen)
        return reading.graph, None, reading.findings
    if chosen != layers_in.ReadOptions():
        raise NetxError(
            f"{root.where}: skip_layers, num_layers and the other reading options are for NetX files from elsewhere; this "
            "one was written whole, read it whole."
        )
    graph, form = extension.decode(root.groups[schema.EXTENSION])
    where = root.where
    # What the stock loader makes of the numbers is no matter here: /basalt says what is meant.
    found = layers_out.obstacle(graph, as_loaded=False)
    if form == "netx" and found is not None:
        raise NetxError(f"{where}: the file claims the form 'netx', but {found}; write it again.")
    expected = layers_out.plain(graph, where) if form == "netx" else layers_out.barrier(graph, where)
    same_steps = root.group("simulation").checksum() == layers_out.simulation(graph, where).checksum()
    if not same_steps or root.group("layer").checksum() != expected.checksum():
        raise NetxError(
            f"{where}: /layer and /{schema.EXTENSION} describe different networks, so stock loaders would run another "
            "one than this; the file was changed by hand or damaged. Write it again."
        )
    return graph, form, ()
