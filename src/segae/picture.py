"""Pictures of slices with the outlines of masks. The only user of Pillow, which the extra segae[picture] brings."""

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

# Okabe & Ito's colours, told apart without colour vision too: by brightness.
GIVEN: Color = (230, 159, 0)
EXPECTED: Color = (86, 180, 233)

_BACKGROUND: Color = (24, 24, 24)
_TEXT: Color = (235, 235, 235)
_TEXT_PX = 14
_GAP_PX = 6


@dataclass(frozen=True)
class Panel:
    """One slice to draw.

    Attributes
    ----------
    hu : array [rows, columns]
        Values of the slice in HU, rows from front to back, columns from the patient's right to left.
    spacing_mm : (float, float)
        Of rows and columns.
    outlines : sequence of (mask [rows, columns], color)
        Drawn in this order.
    caption : str
        Below the picture; lines are separated by newlines.
    window_hu : (float, float)
        Black and white.
    """

    hu: Array
    spacing_mm: tuple[float, float]
    outlines: Sequence[tuple[Array, Color]]
    caption: str
    window_hu: tuple[float, float] = (-160.0, 240.0)


def require_pillow() -> None:
    """Raise ParameterError with the line that installs Pillow, when it is missing."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ParameterError("Pictures need Pillow: pip install 'segae[picture]'.") from error


def draw_sheet(rows: Sequence[Sequence[Panel]], path: Path, panel_px: int = 224) -> None:
    """Write a picture of panels in rows; `panel_px` is the width of a panel, whose height follows from the spacing.

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
    sheet = PilImage.new("RGB", (width, sum(heights) + _GAP_PX * (len(rows) + 1)), _BACKGROUND)
    top = _GAP_PX
    for row, height in zip(drawn, heights, strict=True):
        left = _GAP_PX
        for panel in row:
            sheet.paste(panel, (left, top))
            left += panel.width + _GAP_PX
        top += height + _GAP_PX
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
    for mask, color in panel.outlines:
        large = PilImage.fromarray((np.asarray(mask) > 0).astype(np.uint8) * 255)
        inside = np.asarray(large.resize((width, height), PilImage.Resampling.BILINEAR)) > 127
        pixels[_edge(inside)] = color
    lines = panel.caption.split("\n")
    picture = PilImage.new("RGB", (width, height + (_TEXT_PX + 4) * len(lines)), _BACKGROUND)
    picture.paste(PilImage.fromarray(pixels), (0, 0))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text(
            (2, height + 1 + number * (_TEXT_PX + 4)), line, fill=_TEXT, font=ImageFont.load_default(size=_TEXT_PX)
        )
    return picture


def _edge(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of the mask with a neighbour outside it: a line one pixel wide."""
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: npt.NDArray[np.bool_] = inside & ~core
    return edge
