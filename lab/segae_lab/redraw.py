"""Masks that a judge itself would draw: errors of a network, made where they are most likely to be believed.

A judge expects a mask in every slice. Started from a spoiled mask and put together again, its expectation is what a
segmentation network gives: smooth borders that follow the image, and are wrong where the network is. Judges at early
and late stages of training, and such that never saw the scan, make bad and good ones (the paper's own way, with
checkpoints of STU-Net).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from segae import _core
from segae.assessment import ExpectedMask
from segae.label_scan import LabelScan
from segae.recipe import Recipe
from segae.session import Session
from segae.slices import cut, plan_slices
from segae.threads import available_threads
from segae.train import data
from segae.train.data import LabelledScan
from segae.train.spoil import LOCAL_KINDS, Bool, spoil, target_of
from segae.train.synthesis import structure_boxes
from segae_lab.segmenter import save_prediction

log = logging.getLogger("segae.train")

_AT_ONCE = 128
_BEYOND_MM = 25.0
# Of the masks that the judge starts from.
_WORST, _BEST = 0.35, 0.95


def redraw_cases(model: Path, folder: Path, out: Path, uses: tuple[str, ...] = ("train",)) -> None:
    """Write ``CASE_pred_<model's name>.nii.gz`` for the labelled cases; written ones are not made again.

    Parameters
    ----------
    model : Path
        Model file with the output "expected".
    folder : Path
        With ``cases.csv``.
    out : Path
        Folder for the predictions.
    uses : tuple of str
        Cases to draw.
    """
    out.mkdir(parents=True, exist_ok=True)
    session = Session(model, "auto", available_threads())
    for case in tqdm(data.cases(folder, *uses), desc="redraw", unit="case"):
        goal = out / f"{case.name}_pred_{model.stem}.nii.gz"
        if not goal.exists():
            rng = np.random.default_rng([*case.name.encode(), *model.stem.encode()])
            save_prediction(redraw(session, data.load(case), rng), case, goal)


def redraw(session: Session, scan: LabelledScan, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Labelmap [z, y, x] of the scan's structures, as the judge would draw them; unions of others are left out."""
    labels = np.zeros(scan.image.shape, np.uint8)
    boxes = structure_boxes(scan)
    names = [name for name in boxes if len(scan.parts[name]) == 1]
    for number in rng.permutation(len(names)):
        name = names[number]
        target = target_of(scan, name, boxes[name])
        kind = str(rng.choice(LOCAL_KINDS))
        given = np.zeros(scan.image.shape, np.uint8)
        given[target.box] = spoil(target, kind, rng.uniform(_WORST, _BEST), rng)
        if given.any():
            labels[drawn(session, scan, name, given)] = scan.parts[name][0]
    return labels


def drawn(session: Session, scan: LabelledScan, name: str, given: npt.NDArray[np.uint8]) -> Bool:
    """The judge's expectation [z, y, x], in all slices of a mask and some way beyond its ends."""
    found = LabelScan.from_core(_core.scan(given, 1)["labels"][0])
    recipe = _every_slice(session.card.recipe, scan.spacing_mm[0])
    plan = plan_slices(given, found, recipe, scan.spacing_mm, 1)
    index = np.full(len(plan.index), session.structure_index(name))
    made = np.zeros(scan.image.shape, bool)
    for begin in range(0, len(index), _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        ones = np.ones(len(index[some]), np.int64)
        slices = cut(scan.image, given, recipe, scan.spacing_mm, plan.index[some], plan.crop[some], ones, 1)
        expected = session.run(slices, index[some], ["expected"])["expected"]
        for z, crop, probability in zip(plan.index[some], plan.crop[some], expected, strict=True):
            row0, row1, column0, column1 = crop
            view = ExpectedMask(probability[0], ((row0, row1), (column0, column1)))
            made[z] |= view.on_slice(made.shape[1:]) > 0.5
    return made


def _every_slice(recipe: Recipe, step_mm: float) -> Recipe:
    beyond = tuple(step_mm * k for k in range(1, int(_BEYOND_MM / step_mm) + 1))
    return replace(recipe, slices=1_000_000, beyond_mm=beyond)
