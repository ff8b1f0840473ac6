"""The picture of an evaluation: predicted against true Dice, how many masks lie where, one panel a kind of error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Array = npt.NDArray[Any]

_SIDE, _LEFT, _TOP, _BELOW = 190, 30, 22, 22
_COLUMNS = 4
_LINE, _TEXT = (170, 170, 170), (40, 40, 40)
# Cells of the density a side, and its colours: from few masks to the most in one cell, light to dark for every reader.
_CELLS = 38
_FEW, _MANY = np.array([198.0, 219.0, 239.0]), np.array([8.0, 48.0, 107.0])


class Judged(Protocol):
    """A judged mask: what was done to it, its true Dice, and the predicted one (nan for none)."""

    @property
    def kind(self) -> str:
        """Kind of error."""

    @property
    def true(self) -> float:
        """True Dice."""

    @property
    def said(self) -> float:
        """Predicted Dice."""


def draw_scatter(rows: Sequence[Judged], out: Path) -> None:
    """Write a PNG of the masks' predictions.

    Parameters
    ----------
    rows : sequence of Judged
        Of whole masks; those without a prediction are left out.
    out : Path
    """
    kinds = sorted({row.kind for row in rows})
    panels = [("all", list(rows)), *((kind, [row for row in rows if row.kind == kind]) for kind in kinds)]
    width, height = _SIDE + _LEFT + 10, _SIDE + _TOP + _BELOW
    lines = -(-len(panels) // _COLUMNS)
    # Drawn at twice the size and reduced: dots and lines come out smooth.
    sheet = Image.new("RGB", (width * min(_COLUMNS, len(panels)) * 2, height * lines * 2), (255, 255, 255))
    for number, (title, some) in enumerate(panels):
        corner = (number % _COLUMNS * width * 2, number // _COLUMNS * height * 2)
        _draw_panel(ImageDraw.Draw(sheet), corner, title, some)
    sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS).save(out)


def _draw_panel(draw: ImageDraw.ImageDraw, corner: tuple[int, int], title: str, rows: Sequence[Judged]) -> None:
    left, top, side = corner[0] + 2 * _LEFT, corner[1] + 2 * _TOP, 2 * _SIDE
    font = ImageFont.load_default(size=24)
    said, true = (np.array([getattr(row, key) for row in rows]) for key in ("said", "true"))
    fits = np.isfinite(said)
    told = f"{title}, n = {fits.sum()}"
    if fits.sum() > 2 and said[fits].std() > 0 and true[fits].std() > 0:
        told += f", r = {np.corrcoef(said[fits], true[fits])[0, 1]:.2f}"
    draw.text((left, top - 36), told, fill=_TEXT, font=font)
    draw.rectangle((left, top, left + side, top + side), outline=_LINE)
    draw.line((left, top + side, left + side, top), fill=_LINE, width=2)
    _draw_density(draw, (left, top), side, true[fits], said[fits])
    small = ImageFont.load_default(size=20)
    for share in (0.0, 0.5, 1.0):
        draw.text((left + share * side - 12, top + side + 4), f"{share:g}", fill=_TEXT, font=small)
        draw.text((left - 38, top + (1 - share) * side - 12), f"{share:g}", fill=_TEXT, font=small)
    draw.text((left + side // 2 + 24, top + side + 4), "true Dice", fill=_TEXT, font=small)
    draw.text((left + 6, top + 4), "predicted", fill=_TEXT, font=small)


def _draw_density(draw: ImageDraw.ImageDraw, corner: tuple[int, int], side: int, true: Array, said: Array) -> None:
    """Shade each cell by the logarithm of how many masks lie in it: single ones stay in sight."""
    counts = np.histogram2d(np.clip(true, 0, 1), np.clip(said, 0, 1), bins=_CELLS, range=((0, 1), (0, 1)))[0]
    cell = side / _CELLS
    for column, row in zip(*np.nonzero(counts), strict=True):
        share = np.log(counts[column, row]) / max(np.log(counts.max()), 1e-9)
        red, green, blue = np.round(_FEW + share * (_MANY - _FEW)).astype(int)
        x, y = corner[0] + column * cell, corner[1] + side - (row + 1) * cell
        draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=(int(red), int(green), int(blue)))
