"""Pictures of slices with the outlines of masks. They need Pillow, which the extra segae[picture] brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segae.errors import ParameterError

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """How an outline is drawn, and what it stands for in the legend.

    Attributes
    ----------
    meaning : str
        A word or three.
    color : (red, green, blue)
    width_px : int
    dotted : bool
    """

    meaning: str
    color: Color
    width_px: int = 1
    dotted: bool = False


# Okabe & Ito's colours, told apart without colour vision too: by brightness, width and dots.
GIVEN = Style("mask given", (230, 159, 0), width_px=3)
EXPECTED = Style("expected by segae", (86, 180, 233), width_px=2)
TRUE = Style("true", (255, 255, 255), dotted=True)
BEFORE = Style("before", EXPECTED.color)
AFTER = Style("after", GIVEN.color)

_BACKGROUND: Color = (24, 24, 24)
_TEXT: Color = (235, 235, 235)
_TEXT_PX = 14
_GAP_PX = 6
_DOT_PX = 4


@dataclass(frozen=True)
class Panel:
    """One slice to draw.

    Attributes
    ----------
    hu : array [rows, columns]
        Values of the slice in HU, rows from front to back, columns from the patient's right to left.
    spacing_mm : (float, float)
        Of rows and columns.
    outlines : sequence of (mask [rows, columns], Style)
        Drawn in this order.
    caption : str
        Below the picture; lines are separated by newlines.
    window_hu : (float, float)
        Black and white.
    """

    hu: Array
    spacing_mm: tuple[float, float]
    outlines: Sequence[tuple[Array, Style]]
    caption: str
    window_hu: tuple[float, float] = (-160.0, 240.0)


def require_pillow() -> None:
    """Raise ParameterError with the line that installs Pillow, when it is missing."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ParameterError("Pictures need Pillow: pip install 'segae[picture]'.") from error


def draw_sheet(rows: Sequence[Sequence[Panel]], path: Path, panel_px: int = 224) -> None:
    """Write a picture of panels in rows, and below them what the outlines mean.

    Parameters
    ----------
    rows : sequence of sequences of Panel
    path : Path
        The file to write; its suffix names the format.
    panel_px : int
        Width of a panel; its height follows from the spacing.

    Raises
    ------
    ParameterError
        Without Pillow.
    """
    require_pillow()
    from PIL import Image as PilImage

    drawn = [[_draw(panel, panel_px) for panel in row] for row in rows]
    heights = [max(panel.height for panel in row) for row in drawn]
    width = max(sum(panel.width + _GAP_PX for panel in row) for row in drawn) + _GAP_PX
    # In the order of the panels, each meaning once.
    styles = list(dict.fromkeys(style for row in rows for panel in row for _, style in panel.outlines))
    legend = _legend(styles, width)
    height = sum(heights) + _GAP_PX * (len(rows) + 1) + legend.height
    sheet = PilImage.new("RGB", (width, height), _BACKGROUND)
    top = _GAP_PX
    for row, height in zip(drawn, heights, strict=True):
        left = _GAP_PX
        for panel in row:
            sheet.paste(panel, (left, top))
            left += panel.width + _GAP_PX
        top += height + _GAP_PX
    sheet.paste(legend, (0, top))
    sheet.save(path)


def _draw(panel: Panel, width: int) -> Image:
    from PIL import Image as PilImage
    from PIL import ImageDraw, ImageFont

    rows, columns = panel.hu.shape
    height = max(1, round(width * rows * panel.spacing_mm[0] / (columns * panel.spacing_mm[1])))
    low, high = panel.window_hu
    gray = np.clip((panel.hu.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    scaled = PilImage.fromarray(gray).resize((width, height), PilImage.Resampling.BICUBIC)
    pixels = np.repeat(np.asarray(scaled)[..., None], 3, axis=2)
    for mask, style in panel.outlines:
        large = PilImage.fromarray((np.asarray(mask) > 0).astype(np.uint8) * 255)
        inside = np.asarray(large.resize((width, height), PilImage.Resampling.BILINEAR)) > 127
        pixels[_line(inside, style)] = style.color
    lines = panel.caption.split("\n")
    picture = PilImage.new("RGB", (width, height + (_TEXT_PX + 4) * len(lines)), _BACKGROUND)
    picture.paste(PilImage.fromarray(pixels), (0, 0))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text(
            (2, height + 1 + number * (_TEXT_PX + 4)), line, fill=_TEXT, font=ImageFont.load_default(size=_TEXT_PX)
        )
    return picture


def _legend(styles: Sequence[Style], width: int) -> Image:
    """One line, or more where the sheet is narrow: a piece of each outline and its meaning."""
    from PIL import Image as PilImage
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size=_TEXT_PX)
    step, sample = _TEXT_PX + 8, 28
    places, left, line = [], _GAP_PX, 0
    for style in styles:
        needed = sample + 6 + round(font.getlength(style.meaning)) + 18
        if left + needed > width and left > _GAP_PX:
            left, line = _GAP_PX, line + 1
        places.append((left, line * step))
        left += needed
    picture = PilImage.new("RGB", (width, step * (line + 1) if styles else 1), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for style, (x, y) in zip(styles, places, strict=True):
        middle = y + step // 2
        for at in range(x, x + sample, 2 * _DOT_PX if style.dotted else sample):
            end = at + (_DOT_PX if style.dotted else sample) - 1
            top = middle - style.width_px // 2
            draw.rectangle((at, top, end, top + style.width_px - 1), fill=style.color)
        draw.text((x + sample + 6, y + 1), style.meaning, fill=_TEXT, font=font)
    return picture


def _line(inside: npt.NDArray[np.bool_], style: Style) -> npt.NDArray[np.bool_]:
    """Pixels of the outline, inside the mask: as wide as the style says, broken into dots where it wants that."""
    line = np.zeros_like(inside)
    for _ in range(style.width_px):
        edge = _edge(inside)
        line |= edge
        inside = inside & ~edge
    if style.dotted:
        rows, columns = np.indices(line.shape)
        line &= (rows + columns) // _DOT_PX % 2 == 0
    return line


def _edge(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of the mask with a neighbour outside it: a line one pixel wide."""
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: npt.NDArray[np.bool_] = inside & ~core
    return edge
