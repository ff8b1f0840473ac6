"""`segae demo`: a synthetic patient, six masks with one error of each sort, predicted against true Dice.

The patient lies in the package (``patient.npz``): drawn by the laboratory's generator from BodyParts3D's anatomy,
(c) The Database Center for Life Science, CC BY 4.0 (``lab/make_demo.py``). No scan of a person is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.agreement import measure
from segae.assessment import Assessment
from segae.engine import Engine
from segae.errors import ParameterError
from segae.perturbation import perturb
from segae.picture import EXPECTED, GIVEN, TRUE, Panel, draw_sheet

Array = npt.NDArray[Any]

SPACING_MM = (3.0, 2.0, 2.0)
STRUCTURES = ("liver", "spleen", "kidney_left", "kidney_right", "stomach", "pancreas")

_MARGIN_MM = 18.0
# Predicted precision and recall that differ by less say nothing of the size.
_CLEAR = 0.1
_GOOD = 0.85
_POOR = 0.7


@dataclass(frozen=True)
class Fault:
    """What is wrong with a mask of the demo.

    Attributes
    ----------
    structure : str
        What the mask is said to show.
    words : str
        The error in words.
    kind : str
        Of `segae.perturb`; "" for none.
    dice : float
        True Dice that the error leaves.
    shows : str
        The structure that the mask was made of.
    """

    structure: str
    words: str
    kind: str
    dice: float
    shows: str


FAULTS = (
    Fault("liver", "as drawn", "", 1.0, "liver"),
    Fault("spleen", "too large", "dilate", 0.75, "spleen"),
    Fault("stomach", "too small", "erode", 0.7, "stomach"),
    Fault("kidney_left", "one end missing", "truncate", 0.65, "kidney_left"),
    Fault("pancreas", "displaced", "shift", 0.5, "pancreas"),
    Fault("kidney_right", "the other kidney", "", 0.0, "kidney_left"),
)


@dataclass(frozen=True)
class Shown:
    """A mask of the demo and what segae says of it.

    Attributes
    ----------
    fault : Fault
    mask : uint8 [z, y, x]
    true_dice : float
    found : Assessment
    """

    fault: Fault
    mask: Array
    true_dice: float
    found: Assessment


def phantom() -> tuple[Array, dict[str, Array]]:
    """Read the synthetic patient.

    Returns
    -------
    image : int16 [z, y, x]
        HU in steps of 8, LPS, voxels of `SPACING_MM`.
    masks : dict
        Structure -> uint8 [z, y, x].
    """
    with (files("segae.demo") / "patient.npz").open("rb") as file, np.load(file) as stored:
        image = stored["hu"].astype(np.int16) * 8 - 1024
        labels = stored["labels"]
    return image, {name: (labels == value).astype(np.uint8) for value, name in enumerate(STRUCTURES, start=1)}


def spoil(masks: dict[str, Array], fault: Fault, seed: int = 1) -> Array:
    """Make the mask that has the fault; the seed draws where it lies."""
    mask = masks[fault.shows]
    if not fault.kind:
        return mask
    spoiled: Array = perturb(mask, fault.kind, spacing=SPACING_MM, target_dice=fault.dice, seed=seed)
    return spoiled


def demo(engine: Engine, path: Path) -> tuple[list[Shown], str]:
    """Spoil masks of the patient, assess them and draw them.

    Parameters
    ----------
    engine : Engine
    path : Path
        Of the picture.

    Returns
    -------
    shown : list of Shown
        In the order of `FAULTS`.
    message : str
        What became of the picture; without Pillow it is left out.
    """
    image, masks = phantom()
    shown = []
    for fault in FAULTS:
        mask = spoil(masks, fault)
        dice = measure(mask, masks[fault.structure], spacing=SPACING_MM).dice
        found = engine.assess(image, mask, fault.structure, spacing=SPACING_MM, error_map=engine.expects_masks)
        shown.append(Shown(fault, mask, dice, found))
    panels = [_panel(image, masks[entry.fault.structure], entry) for entry in shown]
    try:
        draw_sheet([panels[:3], panels[3:]], path, panel_px=300)
    except ParameterError as error:
        return shown, f"no picture: {error}"
    return shown, f"picture: {path}"


def verdict(found: Assessment) -> str:
    """Say in words what the predicted precision and recall mean."""
    if found.dice >= _GOOD:
        return "good"
    if max(found.precision, found.recall) < _POOR:
        return "misplaced"
    if found.recall - found.precision > _CLEAR:
        return "too large"
    if found.precision - found.recall > _CLEAR:
        return "too small"
    return "doubtful"


def _panel(image: Array, truth: Array, entry: Shown) -> Panel:
    """Show, of the slices that segae looked at, the one that shows the error best."""
    mask, found, fault = entry.mask, entry.found, entry.fault
    drawn = []
    for score in found.slices:
        given, true = mask[score.index], truth[score.index]
        expected = np.zeros(true.shape, bool)
        if score.expected is not None:
            expected = score.expected.on_slice((true.shape[0], true.shape[1])) > 0.5
        # A slice with two outlines at least, most wrong there, or else largest.
        shown = sum(bool(outline.any()) for outline in (given, expected, true))
        drawn.append(((shown > 1, np.count_nonzero(given != true), score.area_mm2), score.index, given, expected))
    _, index, given, expected = max(drawn, key=lambda candidate: candidate[0])
    outlines = ((given, GIVEN), (expected, EXPECTED), (truth[index], TRUE))
    window = _window(np.logical_or.reduce([outline for outline, _ in outlines]))
    said = f"true Dice {entry.true_dice:.2f}, predicted {found.dice:.2f}: {verdict(found)}"
    return Panel(
        image[index][window],
        SPACING_MM[1:],
        [(outline[window], style) for outline, style in outlines],
        f"{fault.structure}: {fault.words}\n{said}",
    )


def _window(inside: Array) -> tuple[slice, slice]:
    """Rows and columns around what is drawn: a square in mm with a margin, as far as the slice reaches."""
    rows, columns = np.nonzero(inside)
    spacing = np.array(SPACING_MM[1:])
    low, high = np.array([rows.min(), columns.min()]), np.array([rows.max(), columns.max()]) + 1
    side = ((high - low) * spacing).max() / 2 + _MARGIN_MM
    middle = (low + high) / 2
    extent = np.array(inside.shape)
    half = np.minimum(np.ceil(side / spacing), extent // 2).astype(int)
    first = np.clip(np.floor(middle).astype(int) - half, 0, extent - 2 * half)
    return slice(first[0], first[0] + 2 * half[0]), slice(first[1], first[1] + 2 * half[1])
