"""`_core.component_sizes` and `component_labels` against scipy.ndimage.label."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference
from hypothesis import given
from layouts import DTYPES, LAYOUTS, lay_out
from scipy import ndimage
from strategies import labelmaps

from segae import _core

Array = npt.NDArray[Any]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_component_sizes(dtype: str, layout: str, rng: np.random.Generator) -> None:
    for share in (0.02, 0.08, 0.5):
        mask = rng.random((7, 11, 13)) < share
        volume = lay_out(mask.astype(dtype), layout)
        assert _core.component_sizes(volume, 1) == reference.component_sizes(mask)


@given(labelmaps())
def test_component_sizes_of_anything(volume: Array) -> None:
    for label in (1, 2, -1):
        assert _core.component_sizes(volume, label) == reference.component_sizes(volume == label)


@given(labelmaps())
def test_component_labels_of_anything(volume: Array) -> None:
    labels = _core.component_labels(volume, 1)
    assert np.array_equal(labels > 0, volume == 1)
    sizes = np.bincount(labels.ravel())[1:]
    assert sizes.tolist() == _core.component_sizes(volume, 1)
    theirs, count = ndimage.label(volume == 1, np.ones((3, 3, 3)))
    assert count == len(sizes)
    # Two numberings of the same pieces: every pair of numbers occurs once.
    assert len({*zip(labels.ravel().tolist(), theirs.ravel().tolist(), strict=True)} - {(0, 0)}) == count


@pytest.mark.parametrize("step", [(0, 0, 1), (0, 1, 1), (1, 1, 1), (1, -1, 1), (1, 1, -1), (1, -1, -1), (0, 1, -1)])
def test_corners_touch(step: tuple[int, int, int]) -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = mask[tuple(np.add(2, step))] = True
    assert _core.component_sizes(mask, 1) == [2]
    apart = np.zeros((7, 7, 7), bool)
    apart[3, 3, 3] = apart[tuple(np.add(3, np.multiply(2, step)))] = True
    assert _core.component_sizes(apart, 1) == [1, 1]


def test_a_spiral_is_one_piece() -> None:
    """Runs that meet only at their far ends are joined by many unions."""
    spiral = np.zeros((1, 41, 41), bool)
    row = column = 20
    spiral[0, row, column] = True
    for turn in range(40):
        for _ in range(turn // 2 * 2 + 2):
            dy, dx = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
            if not (0 <= row + dy < 41 and 0 <= column + dx < 41):
                break
            row, column = row + dy, column + dx
            spiral[0, row, column] = True
    assert _core.component_sizes(spiral, 1) == [int(spiral.sum())]
    assert not spiral.all()


def test_no_voxels() -> None:
    assert _core.component_sizes(np.zeros((3, 3, 3), np.uint8), 1) == []
    assert _core.component_sizes(np.zeros((0, 3, 3), np.uint8), 1) == []
