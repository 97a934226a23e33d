"""Files of earlier versions as the present one would have written them: one function per step, applied in order.

A step never guesses: a field that is new gets the value that keeps the old meaning.
"""

from __future__ import annotations

from collections.abc import Callable

from netx_export.errors import NetxError
from netx_export.netx import schema
from netx_export.netx.tree import Group


def to_present(root: Group, version: int) -> None:
    """Bring the tree of an extension group from `version` to the present one, in place."""
    for step in _STEPS[version - 1 :]:
        step(root)
    root.attributes["version"] = schema.VERSION


def _messages_and_resets(root: Group) -> None:
    """Version 2 knows graded messages, neurons that reset in intervals, and delays per axon or synapse."""
    _only_known(root, "messages")
    root.attributes["messages"] = "binary"
    for population in root.group("populations").groups.values():
        if population.attributes.get("kind") == "Lif":
            for name in ("reset_interval", "reset_offset"):
                _only_known(population, name)
                population.attributes[name] = 0
        elif population.attributes.get("kind") not in ("Input", "Or", "Readout"):
            _refuse_kind(population)
    for projection in root.group("projections").groups.values():
        if projection.attributes.get("kind") not in ("Conv", "Dense", "OneToOne"):
            _refuse_kind(projection)
        if "delays" in projection.arrays:
            raise NetxError(f"{projection.where}: unknown dataset 'delays' in version 1; write the file again.")


def _only_known(group: Group, name: str) -> None:
    if name in group.attributes:
        raise NetxError(f"{group.where}: unknown attribute {name!r} in version 1; write the file again.")


def _refuse_kind(group: Group) -> None:
    raise NetxError(f"{group.where}: kind {group.text('kind')[:40]!r} is unknown to version 1; write the file again.")


_STEPS: tuple[Callable[[Group], None], ...] = (_messages_and_resets,)
"""`_STEPS[v - 1]` turns version v into version v + 1."""
