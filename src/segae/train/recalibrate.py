"""A model file and cases that a person has verified -> the file with a calibration and intervals of those cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from segae import Engine, structures
from segae.assessment import calibrate, interval_of
from segae.errors import ParameterError
from segae.recipe import METADATA_KEY, Calibration, ModelCard
from segae.session import card_of, find_model
from segae.train.calibration import interval_curves, monotone_curve
from segae.train.data import Case
from segae.train.evaluate import judge_cases
from segae.train.judged import Row
from segae.train.protocols import PROTOCOLS
from segae.train.tables import chosen

LEAST_CASES = 3
# A structure gets a curve of its own from so many damaged masks on.
_LEAST_MASKS = 40
_KNOTS = 5


@dataclass(frozen=True)
class Recalibration:
    """How predictions fit the verified cases; each case is judged with the curves of the others.

    Attributes
    ----------
    masks : int
        Damaged masks of the cases.
    error_before, error_after : float
        Mean absolute error of the predicted Dice, with the file's own curves and with the new ones.
    coverage, width : float
        Share of the true Dice in their new 90 % intervals, and the mean width of those.
    structures : tuple of str
        Those with a curve of their own.
    """

    masks: int
    error_before: float
    error_after: float
    coverage: float
    width: float
    structures: tuple[str, ...]


def recalibrate(model: Path | str, cases: Sequence[Case], out: Path, workers: int = 1) -> Recalibration:
    """Write a copy of a model file that is calibrated on some cases, and measure it by leaving one case out at a time.

    The cases' masks are taken for the truth, damaged by `segae.perturb`, and judged.

    Parameters
    ----------
    model : path or "default"
    cases : sequence of Case
        Labelled, three or more.
    out : Path
        Model file to write.
    workers : int
        Processes that share the cases.

    Raises
    ------
    ParameterError
        With fewer than three cases, or with masks of fewer than three.
    """
    card = card_of(model)
    bare = replace(card, calibration={}, intervals={})
    with TemporaryDirectory() as folder:
        uncalibrated = Path(folder) / "uncalibrated.onnx"
        with_card(find_model(model), bare, uncalibrated)
        whole, _ = judge_cases(Engine(uncalibrated, "cpu", 1), cases, workers=workers)
    rows = [row for row in chosen(whole, PROTOCOLS["P1"]) if not np.isnan(row.said)]
    names = sorted({row.case for row in rows})
    if len(names) < LEAST_CASES:
        raise ParameterError(
            f"cases: {len(names)} with masks of known structures, and {LEAST_CASES} are the least to calibrate on. "
            f"Verify more."
        )
    fitted = _fitted(bare, rows)
    found = _left_out(card, bare, rows, names)
    with_card(find_model(model), fitted, out)
    return replace(found, structures=tuple(sorted(name for name in fitted.calibration if name != "default")))


def with_card(model: Path, card: ModelCard, out: Path) -> None:
    """Write a model file with another card."""
    file = onnx.load(str(model))
    entry = next(entry for entry in file.metadata_props if entry.key == METADATA_KEY)
    entry.value = card.to_json()
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(file, str(out))


def _fitted(bare: ModelCard, rows: Sequence[Row]) -> ModelCard:
    """The card with curves of some masks: one for all, and one for every structure with enough masks."""
    curves = {"default": _curve(rows)}
    for name in sorted({row.structure for row in rows}):
        mine = [row for row in rows if row.structure == name]
        if len(mine) >= _LEAST_MASKS and len({row.case for row in mine}) >= LEAST_CASES:
            curves[name] = _curve(mine)
    calibrated = [replace(row, said=calibrate(row.said, row.structure, curves)) for row in rows]
    return replace(bare, calibration=curves, intervals=interval_curves(calibrated))


def _curve(rows: Sequence[Row]) -> Calibration:
    return monotone_curve(np.array([row.said for row in rows]), np.array([row.true for row in rows]), _KNOTS)


def _left_out(card: ModelCard, bare: ModelCard, rows: Sequence[Row], names: Sequence[str]) -> Recalibration:
    """Figures of every case with curves that the others gave."""
    before, after, held, widths = [], [], [], []
    for name in names:
        fitted = _fitted(bare, [row for row in rows if row.case != name])
        for row in (row for row in rows if row.case == name):
            before.append(abs(calibrate(row.said, row.structure, card.calibration) - row.true))
            dice = calibrate(row.said, row.structure, fitted.calibration)
            after.append(abs(dice - row.true))
            interval = interval_of(dice, structures.get(row.structure), fitted)
            if interval is not None:
                held.append(interval[0] <= row.true <= interval[1])
                widths.append(interval[1] - interval[0])
    error_before, error_after, coverage, width = (float(np.mean(values)) for values in (before, after, held, widths))
    return Recalibration(len(rows), error_before, error_after, coverage, width, structures=())
