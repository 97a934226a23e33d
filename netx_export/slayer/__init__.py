"""SLAYER in: networks of lava-dl blocks become Graphs, with the timing they were trained with."""

from __future__ import annotations

from netx_export.slayer.blocks import block_kind

__all__ = ["block_kind"]
