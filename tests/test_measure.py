"""Overlap, surface counts and `segae.measure` against numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from layouts import DTYPES, LAYOUTS, SPACINGS, THREADS, lay_out
from strategies import mask_pairs

import segae
from segae import _core

Array = npt.NDArray[Any]


def blobs(rng: np.random.Generator, shape: tuple[int, int, int] = (7, 12, 10)) -> tuple[Array, Array]:
    """Two masks that overlap in part and reach the border in places."""
    grid = np.indices(shape).transpose(1, 2, 3, 0)
    centre = np.array(shape) / 2
    first = (((grid - centre) / (np.array(shape) / 2.2)) ** 2).sum(-1) < 1
    second = np.roll(first, (1, 2, -1), (0, 1, 2)) ^ (rng.random(shape) < 0.03)
    return first, second


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_overlap(dtype: str, layout: str, rng: np.random.Generator) -> None:
    given_mask, truth = blobs(rng)
    label = 1 if dtype == "bool" else 3
    a, b = lay_out((given_mask * label).astype(dtype), layout), truth.astype(np.int16)
    for axis in range(3):
        for threads in THREADS:
            found = _core.overlap(a, b, label, 1, axis, threads)
            np.testing.assert_array_equal(found, reference.overlap(given_mask, truth, axis))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_surface_counts(dtype: str, layout: str, spacing: tuple[float, float, float], rng: np.random.Generator) -> None:
    given_mask, truth = blobs(rng)
    a, b = lay_out(given_mask.astype(dtype), layout), lay_out(truth.astype(dtype), layout)
    for threads in THREADS:
        found = _core.surface_counts(a, b, 1, 1, spacing, 1.5, None, threads)
        assert found.tolist() == [reference.surface_counts(given_mask, truth, spacing, 1.5)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_surface_counts_per_slice(axis: int, rng: np.random.Generator) -> None:
    spacing = (3.0, 0.7, 1.1)
    given_mask, truth = blobs(rng)
    in_plane = tuple(step for other, step in enumerate(spacing) if other != axis)
    wanted = [
        reference.surface_counts(np.take(given_mask, i, axis), np.take(truth, i, axis), in_plane, 1.4)
        for i in range(given_mask.shape[axis])
    ]
    for threads in THREADS:
        found = _core.surface_counts(given_mask, truth, 1, 1, spacing, 1.4, axis, threads)
        assert found.tolist() == wanted


@given(mask_pairs(), st.sampled_from(SPACINGS), st.sampled_from([0.0, 0.7, 1.0, 2.0, 5.0]))
def test_surfaces_of_anything(pair: tuple[Array, Array], spacing: tuple[float, float, float], tolerance: float) -> None:
    a, b = pair
    found = _core.surface_counts(a, b, 1, 1, spacing, tolerance, None, 2)
    assert found.tolist() == [reference.surface_counts(a, b, spacing, tolerance)]
    slices = _core.surface_counts(a, b, 1, 1, spacing, tolerance, 0, 2)
    assert slices.tolist() == [
        reference.surface_counts(x, y, spacing[1:], tolerance) for x, y in zip(a, b, strict=True)
    ]


def test_a_multiple_of_the_spacing_is_within_tolerance() -> None:
    """3 x 0.7 mm is 2.0999999999999996 or 2.1000000000000001, according to who multiplies."""
    a, b = np.zeros((1, 1, 8), bool), np.zeros((1, 1, 8), bool)
    a[..., 1], b[..., 4] = True, True
    assert _core.surface_counts(a, b, 1, 1, (1, 1, 0.7), 2.1, None, 1).tolist() == [[1, 1, 1, 1]]
    assert _core.surface_counts(a, b, 1, 1, (1, 1, 0.7), 2.09, None, 1).tolist() == [[1, 1, 0, 0]]


def test_measure_by_hand() -> None:
    """Two squares of 4 x 4 in one slice of three, one shifted by a voxel: 12 of 16 voxels in common."""
    mask, truth = np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8)
    mask[1, 2:6, 1:5] = 1
    truth[1, 2:6, 2:6] = 1
    result = segae.measure(mask, truth, spacing=(5, 1, 1), tolerance_mm=0.5)
    assert (result.dice, result.precision, result.recall) == (0.75, 0.75, 0.75)
    # In 3D every voxel of a lone slice is border: the 12 common ones are close, 4 on either side are not.
    assert result.nsd == 24 / 32
    # In the plane a border is the square's outline of 12 voxels; the two share the rows' ends, 3 + 3.
    assert result.slice_nsd[1] == 12 / 24
    np.testing.assert_array_equal(result.slice_dice, [np.nan, 0.75, np.nan])
    assert np.isnan(result.slice_nsd[[0, 2]]).all()


def test_measure_of_thin_masks() -> None:
    """The box around a mask one voxel wide has an axis of extent 1, which is no slice axis."""
    mask = np.zeros((4, 9, 9), np.uint8)
    mask[1, 2:7, 4] = 1
    same = segae.measure(mask, mask, spacing=(1, 1, 1))
    assert same.slice_nsd[1] == 1
    point = np.zeros((4, 9, 9), np.uint8)
    point[2, 2, 2] = 1
    assert segae.measure(point, point, spacing=(1, 1, 1)).slice_nsd[2] == 1
    counts = _core.surface_counts(mask[1:2, 2:7, 4:5], mask[1:2, 2:7, 4:5], 1, 1, (1, 1, 1), 1, 0, 1)
    assert counts.tolist() == [[5, 5, 5, 5]]


@given(mask_pairs(), st.sampled_from(SPACINGS))
def test_measure_of_anything(pair: tuple[Array, Array], spacing: tuple[float, float, float]) -> None:
    mask, truth = pair
    result = segae.measure(mask, truth, spacing=spacing, tolerance_mm=1.0, threads=2)
    both, in_mask, in_truth = (mask & truth).sum(), mask.sum(), truth.sum()

    def share(part: float, whole: float) -> float:
        return part / whole if whole else np.nan

    np.testing.assert_equal(
        [result.dice, result.precision, result.recall],
        [share(2 * both, in_mask + in_truth), share(both, in_mask), share(both, in_truth)],
    )
    a, b, close_a, close_b = reference.surface_counts(mask, truth, spacing, 1.0)
    np.testing.assert_equal(result.nsd, share(close_a + close_b, a + b))
    for z in range(len(mask)):
        a, b, close_a, close_b = reference.surface_counts(mask[z], truth[z], spacing[1:], 1.0)
        np.testing.assert_equal(result.slice_nsd[z], share(close_a + close_b, a + b))


def test_measure_empty() -> None:
    nothing, something = np.zeros((3, 4, 4), bool), np.ones((3, 4, 4), bool)
    both = segae.measure(nothing, nothing, spacing=(1, 1, 1))
    assert np.isnan([both.dice, both.precision, both.recall, both.nsd]).all()
    missed = segae.measure(nothing, something, spacing=(1, 1, 1))
    assert (missed.dice, missed.recall, missed.nsd) == (0, 0, 0)
    assert np.isnan(missed.precision)


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_core_refuses_tolerances(tolerance: float) -> None:
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(ValueError, match="tolerance_mm: expected a finite number"):
        _core.surface_counts(mask, mask, 1, 1, (1, 1, 1), tolerance, None, 1)


@pytest.mark.parametrize("tolerance", [5.0, 1e9, 1e300])
def test_nothing_is_close_to_an_empty_mask(tolerance: float) -> None:
    mask = np.ones((30, 30, 30), bool)
    counts = _core.surface_counts(mask, ~mask, 1, 1, (1, 1, 1), tolerance, None, 2)
    assert counts.tolist() == [[30**3 - 28**3, 0, 0, 0]]


def test_measure_asks_for_a_label(rng: np.random.Generator) -> None:
    mask, truth = (blob.astype(np.uint8) * 255 for blob in blobs(rng))
    with pytest.raises(segae.VolumeError, match=r"mask: holds the values 255; .*label=255"):
        segae.measure(mask, truth, spacing=(1, 1, 1))
    with pytest.raises(segae.VolumeError, match="truth: holds the values 255"):
        segae.measure(mask // 255, truth, spacing=(1, 1, 1))
    wanted = segae.measure(mask > 0, truth > 0, spacing=(1, 1, 1))
    assert segae.measure(mask, truth, spacing=(1, 1, 1), label=255).nsd == wanted.nsd


def test_measure_refuses_soft_masks(rng: np.random.Generator) -> None:
    mask, _ = blobs(rng)
    with pytest.raises(segae.VolumeError, match=r"mask: .*no integers.*mask > 0\.5"):
        segae.measure(np.where(np.indices(mask.shape)[0] % 2, 0.7, 0.4) * mask, mask, spacing=(1, 1, 1))


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_measure_refuses_tolerances(tolerance: float) -> None:
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(segae.ParameterError, match="tolerance_mm"):
        segae.measure(mask, mask, spacing=(1, 1, 1), tolerance_mm=tolerance)
