"""Slices that nobody drew: every n-th annotated, a slab forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import phantom
import pytest
import tiny_models
from scipy import ndimage

import segae
from segae.assessment import SlicePredictions, aggregate
from segae.gaps import missing_slices
from segae.masks import scan_labels
from segae.slices import plan_slices

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM


@pytest.fixture(scope="module")
def default() -> segae.Engine:
    return segae.Engine(device="cpu", threads=2)


def flags_of(found: segae.Assessment) -> dict[str, str]:
    return {flag.name: flag.detail for flag in found.flags}


@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("structure", ["liver", "colon", "muscle", "kidney_cyst_left"])
def test_every_nth_slice(every: int, structure: str, default: segae.Engine, image: Array, mask: Array) -> None:
    """A mask with every second slice scored higher than the whole one: it looks as good in the slices that it has."""
    sparse = mask.copy()
    for skipped in range(1, every):
        sparse[skipped::every] = 0
    whole, found = (
        default.assess(image, given, structure, spacing=SPACING, reference=None) for given in (mask, sparse)
    )
    assert "gaps" not in flags_of(whole)
    assert f"every {every}. slice is filled" in flags_of(found)["gaps"]
    assert found.recall <= 1 / every + 0.1
    assert default.score(image, sparse, structure, spacing=SPACING) == found.dice
    if structure != "liver":
        return  # the mask shows a liver: under other names even the whole one is wrong
    assert found.recall < whole.recall
    assert found.dice < whole.dice
    batch = default.score_batch(image, np.stack([mask, sparse]), structure, spacing=SPACING)
    assert batch[1] < batch[0]


def test_slab_left_out(default: segae.Engine, image: Array, mask: Array) -> None:
    filled = np.flatnonzero(mask.any((1, 2)))
    slab = mask.copy()
    slab[filled[8:12]] = 0
    whole, found = (default.assess(image, given, "liver", spacing=SPACING, reference=None) for given in (mask, slab))
    assert flags_of(found)["gaps"].startswith(f"4 of the {len(filled)} slices from the mask's lowest to its highest")
    assert found.recall < whole.recall


def test_every_nth_plane_of_another_view(engine: segae.Engine, image: Array, mask: Array) -> None:
    for axis, plane in ((1, "coronal"), (2, "sagittal")):
        sparse = mask.copy()
        np.moveaxis(sparse, axis, 0)[::3] = 0
        detail = flags_of(engine.assess(image, sparse, "liver", spacing=SPACING, reference=None))["gaps"]
        assert f"{plane} planes within the mask are empty" in detail


def test_crumbs_and_pieces_are_no_gaps(default: segae.Engine, image: Array, mask: Array) -> None:
    crumb = mask.copy()
    crumb[2, 28, 36] = 1
    assert "gaps" not in flags_of(default.assess(image, crumb, "liver", spacing=SPACING, reference=None))
    two = np.zeros_like(mask)
    two[5:12, 15:20, 20:25] = two[20:27, 30:35, 45:50] = 1
    assert "gaps" not in flags_of(default.assess(image, two, "kidney_cyst_left", spacing=SPACING, reference=None))
    assert "gaps" in flags_of(default.assess(image, two, "liver", spacing=SPACING, reference=None))


def test_which_slices_are_missing() -> None:
    mask = np.zeros((12, 8, 8), np.uint8)
    mask[[1, 2, 5, 6, 10], 2:6, 2:6] = 1
    for in_pieces in (False, True):
        found = missing_slices(mask, scan_labels(mask, "mask", 1)[1], in_pieces=in_pieces)
        assert np.flatnonzero(found).tolist() == [3, 4, 7, 8, 9]


def test_shares_of_a_mask_with_gaps() -> None:
    """Slices looked at stand for filled ones where the mask is counted, and for gaps too where the structure is."""
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[2:18:2, 5:15, 5:15] = 1
    plan = plan_slices(mask, scan_labels(mask, "mask", 1)[1], tiny_models.DENSE_RECIPE, (3.0, 1.0, 1.0), 1)
    inside = plan.area > 0
    assert plan.filled_mm[inside].sum() == 8 * 3
    assert plan.share_mm[inside].sum() == 15 * 3
    assert plan.missing.sum() == 7


def test_recall_is_bounded_by_what_the_slices_hold() -> None:
    """Whatever the network says of the whole, a structure of which half the slices are empty is half missed."""
    n = 4
    one = np.ones(n)
    perfect = {
        "area_mm2": 100 * one, "share_mm": 2 * one, "crop_mm2": 900 * one, "precision": one, "recall": one,
        "truth_fraction": one / 9,
    }  # fmt: skip
    assert aggregate(SlicePredictions(**perfect)) == (1, 1, 1)
    dice, precision, recall = aggregate(SlicePredictions(**perfect, filled_mm=one))
    assert (precision, recall) == (1, 0.5)
    assert dice == pytest.approx(2 / 3)
    whole = {"whole_precision": one, "whole_recall": one}
    assert aggregate(SlicePredictions(**perfect, filled_mm=one, **whole))[2] == pytest.approx(0.5)
    assert aggregate(SlicePredictions(**perfect, **whole))[2] == pytest.approx(1, abs=1e-4)


def test_against_the_truth(rng: np.random.Generator) -> None:
    """The share that the aggregation takes off is what is really missing, on blobs of any shape."""
    for seed in range(5):
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 32, 32)), 6)
        truth = (noise > np.quantile(noise, 0.8)).astype(np.uint8)
        pieces, _ = ndimage.label(truth)
        truth = (pieces == np.bincount(pieces.ravel())[1:].argmax() + 1).astype(np.uint8)
        given = truth.copy()
        given[1::2] = 0
        plan = plan_slices(given, scan_labels(given, "mask", 1)[1], tiny_models.DENSE_RECIPE, (1.0, 1.0, 1.0), 1)
        one, area = np.ones(len(plan.index)), plan.area.astype(float)
        inside = area > 0
        said = SlicePredictions(
            area_mm2=area, share_mm=plan.share_mm, crop_mm2=1024 * one, precision=one, recall=one,
            truth_fraction=np.where(inside, area / 1024, 0), filled_mm=plan.filled_mm,
        )  # fmt: skip
        assert aggregate(said)[2] == pytest.approx(given.sum() / truth.sum(), abs=0.06)
