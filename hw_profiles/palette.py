"""Colours that people with any colour vision can tell apart, and the text pieces that SVG pictures are made of."""

from __future__ import annotations

from functools import lru_cache
from html import escape

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap, to_hex

INK, MUTED, GRID = "#1f2933", "#5b6773", "#e3e7eb"
ACCENT, INPUT_COLOUR = "#0072b2", "#9aa5b1"

TERM_COLOURS = {
    "synaptic_operation": "#0072b2",
    "synaptic_operation_conv": "#0072b2",
    "synaptic_operation_dense": "#56b4e9",
    "synaptic_operation_sparse": "#004c78",
    "neuron_update": "#e69f00",
    "neuron_access": "#e69f00",
    "neuron_compute": "#b87e00",
    "neuron_spike": "#f0e442",
    "message_out": "#009e73",
    "message_in": "#66c5ab",
    "message_within_tile": "#999999",
    "hop_east_west": "#cc79a7",
    "hop_north_south": "#8f4a72",
    "chip_crossing": "#d55e00",
    "accumulate": "#0072b2",
    "multiply_accumulate": "#e69f00",
}
"""One colour for each priced operation (Okabe and Ito's set and shades of it)."""

PART_COLOURS = {"neurons": "#e69f00", "messages": "#0072b2", "link": "#cc79a7", "barrier": "#9aa5b1"}
"""What a step waits for."""

_LINKS = ("#efe6dc", "#e8a76a", "#d55e00", "#7a2e00")


@lru_cache(maxsize=1)
def load_palette() -> tuple[str, ...]:
    """64 colours for loads from none to most."""
    return tuple(to_hex(mpl.colormaps["cividis"](index / 63)) for index in range(64))


@lru_cache(maxsize=1)
def link_palette() -> tuple[str, ...]:
    """32 colours for messages on a link from none to most."""
    shades = LinearSegmentedColormap.from_list("links", _LINKS)
    return tuple(to_hex(shades(index / 31)) for index in range(32))


def shade(value: float, most: float, palette: tuple[str, ...]) -> str:
    """The colour of a load; it grows with the square root, so that quiet places stay apart from silent ones."""
    share = (value / most) ** 0.5 if most > 0 else 0.0
    return palette[min(round(share * (len(palette) - 1)), len(palette) - 1)]


def sequence_colours(names: list[str]) -> dict[str, str]:
    """A colour for each name, from the first to the last of a sequence."""
    colours = mpl.colormaps["viridis"]
    last = max(len(names) - 1, 1)
    return {name: to_hex(colours(0.04 + 0.88 * index / last)) for index, name in enumerate(names)}


def number(value: float) -> str:
    """A coordinate in as few characters as it needs."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def label(name: str, room: int) -> str:
    """The end of a long name, which tells layers apart; escaped."""
    return escape(name if len(name) <= room else "…" + name[1 - room :])


def svg(width: float, height: float, what: str, content: list[str], *, kind: str = "chart", extra: str = "") -> str:
    """An inline picture that scales with the page; `what` describes it to those who cannot see it."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {number(width)} {number(height)}" role="img" '
        f'aria-label="{escape(what)}"{extra}>{"".join(content)}</svg>'
    )


def nice_ticks(most: float, count: int = 4) -> list[float]:
    """Round numbers from zero to `most`."""
    if most <= 0:
        return [0.0]
    rough = most / count
    power = 10.0 ** len(str(int(rough))) / 10 if rough >= 1 else 1.0
    while power > rough:
        power /= 10
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(int(most / step + 1e-9) + 1)]
