"""What a drawn figure shows: its words, its lines, and whether anything is cut off."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure


def words(figure: Figure) -> str:
    """Every text that the figure shows."""
    texts = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "_text"))]
    return " ".join(" ".join(texts).split())


def drawn_lines(axis) -> list:
    """The lines of data: not the one point of an axis break."""
    return [line for line in axis.lines if len(line.get_xdata()) > 1]


def assert_nothing_is_cut_off(figure: Figure) -> None:
    """Every marker and line point drawn lies within its panel."""
    for axis in figure.axes:
        parts = [line.get_xydata() for line in drawn_lines(axis) if line.get_linestyle() != ":"]
        parts += [c.get_offsets() for c in axis.collections if len(c.get_offsets()) > 1]
        for points in parts:
            across, up = sorted(axis.get_xlim()), sorted(axis.get_ylim())
            x, y = np.asarray(points, dtype=float).T
            assert across[0] <= x.min() <= x.max() <= across[1]
            assert up[0] <= y.min() <= y.max() <= up[1]
