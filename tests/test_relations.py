"""`_core.runs` and `_core.relations` against their numpy twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from layouts import DTYPES, LAYOUTS, THREADS, lay_out
from strategies import labelmaps

from segae import _core

Array = npt.NDArray[Any]


def assert_relations_alike(found: Any, wanted: dict[str, Any]) -> None:
    np.testing.assert_array_equal(found["overlap"], wanted["overlap"])
    np.testing.assert_array_equal(found["contact"], wanted["contact"])
    for axis in range(3):
        np.testing.assert_array_equal(found["moments"][axis], wanted["moments"][axis])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("threads", THREADS)
def test_a_labelmap_of_every_type_and_layout(dtype: str, layout: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    volume = rng.choice(np.array([0, 0, 1, 2, 3]), (4, 3, 9)).repeat(2, 1).repeat(9, 2).astype(dtype)
    laid = lay_out(volume, layout)
    labels = [2, 1, 7]
    runs = _core.runs(laid, labels, threads)
    np.testing.assert_array_equal(runs, reference.runs(volume, labels))
    found = _core.relations([runs], volume.shape, 3, threads)
    assert_relations_alike(found, reference.relations([volume == label for label in labels]))


@given(labelmaps(max_side=4), st.sampled_from(THREADS))
def test_any_labelmap(volume: Array, threads: int) -> None:
    labels = [1, 255, 2, -1, 2**40]
    runs = _core.runs(volume, labels, threads)
    np.testing.assert_array_equal(runs, reference.runs(volume, labels))
    wide = volume.astype(np.float64) if volume.dtype == np.float16 else volume  # float16 does not hold all labels
    masks = [wide == label for label in labels]
    assert_relations_alike(_core.relations([runs], volume.shape, 5, threads), reference.relations(masks))


@given(st.data(), st.sampled_from(THREADS))
def test_masks_that_overlap(data: st.DataObject, threads: int) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
    masks = data.draw(st.lists(hnp.arrays(np.bool_, shape, elements=st.booleans()), min_size=1, max_size=4))
    lists = []
    for i, mask in enumerate(masks):
        runs = _core.runs(mask, [1], threads)
        runs[:, 0] = i
        lists.append(runs)
    assert_relations_alike(_core.relations(lists, shape, len(masks), threads), reference.relations(masks))


def test_what_does_not_fit_is_refused() -> None:
    volume = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="labels: one occurs twice"):
        _core.runs(volume, [1, 1], 1)
    with pytest.raises(IndexError, match="outside the grid"):
        _core.relations([np.array([[0, 0, 0, 3]])], (2, 2, 2), 1, 1)
    with pytest.raises(ValueError, match="expected positive"):
        _core.relations([], (0, 2, 2), 1, 1)
