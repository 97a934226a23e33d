"""Layers whose neurons have constants of their own, as SLAYER writes them with `shared_param=False`.

A population has one set of constants, so such a layer becomes one population per run of equal neighbours, and every
projection into it one per run.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from netx_export.errors import NetxError
from netx_export.graph import Conv, Dense, Kernel, Projection, Shape
from netx_export.netx import layer_fields as fields
from netx_export.netx.findings import Findings
from netx_export.netx.tree import Group

CONSTANTS = ("iDecay", "vDecay", "sinDecay", "cosDecay", "vThMant")
RUN_LIMIT = 256
"""Populations that one layer may be split into."""

Run = tuple[int, int]
"""(first, behind the last) channel."""


def runs_of(layer: Group, shape: Shape, findings: Findings) -> tuple[Run, ...]:
    """Runs of channels that share their constants: one for most layers."""
    neuron = layer.groups.get("neuron")
    several = (
        {}
        if neuron is None
        else {
            name: neuron.whole_numbers(name).reshape(-1)
            for name in CONSTANTS
            if name in neuron.arrays and neuron.whole_numbers(name).size == shape[0]
        }
    )
    if neuron is None or shape[0] == 1 or not several:
        return ((0, shape[0]),)
    changes = np.zeros(shape[0] - 1, bool)
    for values in several.values():
        changes |= values[1:] != values[:-1]
    edges = [0, *(int(edge) + 1 for edge in np.flatnonzero(changes)), shape[0]]
    if len(edges) - 1 > RUN_LIMIT:
        raise NetxError(
            f"{layer.where}: its channels have {len(edges) - 1} different sets of constants, the limit is {RUN_LIMIT} "
            "populations; train the layer with shared_param=True."
        )
    if len(edges) > 2:
        findings.add(
            fields.label(layer),
            "note",
            f"its channels have {len(edges) - 1} different sets of neuron constants (shared_param=False), so it becomes "
            f"{len(edges) - 1} populations.",
        )
    return tuple(itertools.pairwise(edges))


def layer_of_run(layer: Group, run: Run, shape: Shape, *, flat: bool) -> Group:
    """The neuron and the bias of one run, as if it were a layer."""
    start, stop = run
    part = Group(where=layer.where, groups=dict(layer.groups), arrays=dict(layer.arrays))
    if "neuron" in layer.groups:
        neuron = layer.groups["neuron"]
        chosen = dict(neuron.arrays)
        for name in CONSTANTS:
            if name in chosen and neuron.whole_numbers(name).size == shape[0]:
                chosen[name] = neuron.whole_numbers(name).reshape(-1)[start : start + 1]
        part.groups["neuron"] = Group(where=neuron.where, arrays=chosen, groups=neuron.groups)
    if "bias" in layer.arrays:
        bias = fields.bias(layer, shape, flat=flat)[start:stop]
        # Back into the order of the file.
        part.arrays["bias"] = bias if bias.ndim == 1 else bias.reshape(-1) if flat else bias.transpose(2, 1, 0)
    return part


def split(
    projections: tuple[Projection, ...], name: str, shape: Shape, runs: tuple[Run, ...], where: str
) -> list[Projection]:
    """Projections into `name`, and from it to itself, as projections between its runs."""
    made: list[Projection] = []
    pixels = math.prod(shape[1:])
    for projection in projections:
        sources = runs if projection.src == name else (None,)
        for index, run in enumerate(runs):
            for back, source in enumerate(sources):
                rows = slice(run[0] * pixels, run[1] * pixels)
                columns = slice(None) if source is None else slice(source[0] * pixels, source[1] * pixels)
                made.append(
                    dataclasses.replace(
                        projection,
                        src=projection.src if source is None else run_name(name, back),
                        dst=run_name(name, index),
                        synapse=_part(projection, run, rows, columns, where),
                        delays=projection.delays
                        if projection.delays is None or projection.delays.ndim == 3
                        else projection.delays[rows, columns],
                    )
                )
    return made


def run_name(name: str, index: int) -> str:
    """The id of one run's population."""
    return f"{name}.{index}"


def _part(projection: Projection, run: Run, rows: slice, columns: slice, where: str) -> Dense | Conv:
    match projection.synapse:
        case Dense(kernel=kernel):
            return Dense(kernel=Kernel(mantissa=kernel.mantissa[rows, columns], exponent=kernel.exponent))
        case Conv(groups=1) as conv:
            part = conv.kernel.mantissa[run[0] : run[1]]
            return dataclasses.replace(conv, kernel=Kernel(mantissa=part, exponent=conv.kernel.exponent))
        case _:
            raise NetxError(
                f"{where}: neuron constants that differ by channel, on a grouped, transposed or pooling layer; train it "
                "with shared_param=True."
            )
