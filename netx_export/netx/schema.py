"""Names, versions and the codec table of `.net` files: one entry per neuron kind and per synapse kind.

A test holds the table to the fields of the graph's classes, so that a new field cannot be forgotten here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from netx_export.errors import NetxError
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Or,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
)
from netx_export.netx.tree import Group, narrow

EXTENSION = "basalt"
"""Name of the extension group at the root of the file."""

VERSION = 2
"""Version of the extension. It rises with every change that an older reader would misread; see docs/netx_format.md."""

Form = Literal["netx", "extended"]
"""`netx`: `/layer` holds the whole network for stock loaders; `extended`: `/layer` holds a `concat` that stops them."""

FORMS: tuple[Form, ...] = ("netx", "extended")

Codec = Literal["integer", "real", "word", "pair", "integers", "kernel"]
"""How a field lies on disk: an attribute (integer, real, text, two integers), a dataset, or the number of a kernel."""

TEXT_LIMIT = 4096
"""Longest text attribute, in characters: HDF5 keeps attributes in headers of 64 KiB."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of the graph and the codec of each of its fields."""

    build: type[Any]
    fields: Mapping[str, Codec]


NEURONS: Mapping[str, Kind] = {
    "Input": Kind(Input, {"message_bits": "integer"}),
    "Lif": Kind(
        Lif,
        {
            "vth_mant": "integer",
            "du": "integer",
            "dv": "integer",
            "bias_mant": "integers",
            "bias_exp": "integer",
            "unit": "real",
            "reset_interval": "integer",
            "reset_offset": "integer",
        },
    ),
    "Or": Kind(Or, {}),
    "Readout": Kind(Readout, {"bias": "integers", "unit": "real"}),
    "Delta": Kind(Delta, {"vth": "integer", "spike_exp": "integer", "state_exp": "integer"}),
    "SigmaDelta": Kind(
        SigmaDelta,
        {
            "vth": "integer",
            "bias": "integers",
            "spike_exp": "integer",
            "state_exp": "integer",
            "activation": "word",
        },
    ),
    "Sigma": Kind(Sigma, {}),
    "Rf": Kind(Rf, {"sin": "integer", "cos": "integer", "vth_mant": "integer", "state_exp": "integer"}),
    "RfIz": Kind(RfIz, {"sin": "integer", "cos": "integer", "vth_mant": "integer", "state_exp": "integer"}),
}

SYNAPSES: Mapping[str, Kind] = {
    "Conv": Kind(
        Conv,
        {
            "kernel": "kernel",
            "stride": "pair",
            "padding": "pair",
            "dilation": "pair",
            "groups": "integer",
            "upsample": "integer",
        },
    ),
    "ConvTranspose": Kind(
        ConvTranspose,
        {
            "kernel": "kernel",
            "stride": "pair",
            "padding": "pair",
            "output_padding": "pair",
            "dilation": "pair",
            "groups": "integer",
        },
    ),
    "Dense": Kind(Dense, {"kernel": "kernel"}),
    "Sparse": Kind(Sparse, {"kernel": "kernel", "rows": "integers", "columns": "integers"}),
    "OneToOne": Kind(OneToOne, {"kernel": "kernel"}),
    "Wire": Kind(Wire, {}),
}


class KernelTable:
    """Kernels by number: each object is stored once and comes back as one object."""

    def __init__(self, kernels: tuple[Kernel, ...] = ()) -> None:
        self.kernels = list(kernels)
        self._numbers = {id(kernel): number for number, kernel in enumerate(kernels)}
        self.used: set[int] = set()

    def number(self, kernel: Kernel) -> int:
        """The number of `kernel`, given on first sight."""
        if id(kernel) not in self._numbers:
            self._numbers[id(kernel)] = len(self.kernels)
            self.kernels.append(kernel)
        return self._numbers[id(kernel)]

    def kernel(self, number: int, where: str) -> Kernel:
        """The kernel with `number`; NetxError when there is none."""
        if not 0 <= number < len(self.kernels):
            raise NetxError(f"{where}: kernel {number} does not exist, the file holds {len(self.kernels)}.")
        self.used.add(number)
        return self.kernels[number]


def kind_name(table: Mapping[str, Kind], value: object, where: str) -> str:
    """The name of the kind of `value` in `table`; NetxError for a class that the format does not know."""
    for name, kind in table.items():
        if type(value) is kind.build:
            return name
    raise NetxError(
        f"{where}: version {VERSION} of the format has no entry for {type(value).__name__}, it knows {sorted(table)}; "
        "rewrite this part of the network with those."
    )


def encode(table: Mapping[str, Kind], value: object, group: Group, kernels: KernelTable) -> None:
    """Write `value` into `group`: its kind and its fields."""
    name = kind_name(table, value, group.where)
    group.attributes["kind"] = name
    for field, codec in table[name].fields.items():
        content = getattr(value, field)
        match codec:
            case "integer":
                group.attributes[field] = int(content)
            case "real":
                group.attributes[field] = float(content)
            case "word":
                group.attributes[field] = str(content)
            case "pair":
                group.attributes[field] = [int(entry) for entry in content]
            case "integers":
                group.arrays[field] = np.ascontiguousarray(content, np.dtype("<i4"))
            case "kernel":
                group.attributes[field] = kernels.number(content)


def decode(table: Mapping[str, Kind], group: Group, kernels: KernelTable) -> Any:
    """The object written into `group` by `encode`; NetxError for an unknown kind or a malformed field."""
    kind = kind_of(table, group)
    fields: dict[str, Any] = {}
    for field, codec in kind.fields.items():
        match codec:
            case "integer":
                fields[field] = group.integer(field)
            case "real":
                fields[field] = group.real(field)
            case "word":
                fields[field] = group.text(field)
            case "pair":
                fields[field] = group.integers(field, 2)
            case "integers":
                fields[field] = narrow(group, field, np.int32)
            case "kernel":
                fields[field] = kernels.kernel(group.integer(field), group.where)
    return kind.build(**fields)


def kind_of(table: Mapping[str, Kind], group: Group) -> Kind:
    """The entry of `table` that `group` names; NetxError when there is none."""
    name = group.text("kind")
    if name not in table:
        raise NetxError(
            f"{group.where}: kind {name[:40]!r} is unknown to version {VERSION} of the format, it knows "
            f"{sorted(table)}; a newer Basalt may read it."
        )
    return table[name]


def field_names(table: Mapping[str, Kind], group: Group) -> tuple[set[str], set[str]]:
    """Names of the attributes and of the datasets that the kind in `group` uses."""
    fields = kind_of(table, group).fields
    arrays = {field for field, codec in fields.items() if codec == "integers"}
    return {"kind", *fields} - arrays, arrays
