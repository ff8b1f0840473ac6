"""`_core.scan` and `_core.plane_boxes` against their numpy twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from layouts import DTYPES, LAYOUTS, THREADS, lay_out
from strategies import labelmaps

from segae import _core

Array = npt.NDArray[Any]


def assert_scans_alike(volume: Array, threads: int) -> None:
    found, wanted = _core.scan(volume, threads), reference.scan(volume)
    assert found["fractional"] == wanted.fractional
    assert found["non_finite"] == wanted.non_finite
    assert [entry[0] for entry in found["labels"]] == sorted(wanted.labels)
    for label, voxels, areas, box, centroid, border, slice_boxes in found["labels"]:
        assert slice_boxes.size == 0  # only a GPU keeps them
        twin = wanted.labels[label]
        assert voxels == twin.voxels
        for axis in range(3):
            np.testing.assert_array_equal(areas[axis], twin.areas[axis])
        np.testing.assert_array_equal(box, twin.box)
        np.testing.assert_allclose(centroid, twin.centroid, rtol=1e-12)
        np.testing.assert_array_equal(border, twin.border)


def typed_labelmap(rng: np.random.Generator, dtype: str) -> Array:
    """Runs of a few labels, negative and large ones where the type has them, and all that a float may hold."""
    labels = np.array([0, 0, 0, 1, 2, 5])
    blocks = rng.choice(labels, (4, 3, 6)).repeat(2, 0).repeat(3, 1).repeat(7, 2)[:, :-1, :-1]
    volume = blocks.astype(dtype)
    if np.dtype(dtype).kind == "i":
        volume[2, 3:5] = -3
        volume[-1, -1, -1] = np.iinfo(dtype).max
        volume[0, 0, 0] = np.iinfo(dtype).min
    elif np.dtype(dtype).kind == "u":
        volume[-1, -1, -1] = min(np.iinfo(dtype).max, np.iinfo(np.int64).max)
    elif np.dtype(dtype).kind == "f":
        volume[2, 3] = -2
        volume[1, 1, :5] = [np.nan, np.inf, -np.inf, 0.5, -0.0]
    return volume


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scan(dtype: str, layout: str, rng: np.random.Generator) -> None:
    volume = lay_out(typed_labelmap(rng, dtype), layout)
    for threads in THREADS:
        assert_scans_alike(volume, threads)


@given(labelmaps(), st.sampled_from(THREADS))
def test_scan_of_anything(volume: Array, threads: int) -> None:
    assert_scans_alike(volume, threads)


def test_broadcast_array() -> None:
    assert_scans_alike(np.broadcast_to(np.array([0, 3, 3, 1], np.int16), (3, 5, 4)), 2)
    assert_scans_alike(np.broadcast_to(np.array([[[7]]], np.uint8), (2, 3, 4)), 2)


def test_long_runs_end_where_they_end() -> None:
    """The word-by-word search must stop at the first foreign voxel, wherever in a word it lies."""
    for dtype in ("uint8", "int16", "float32", "float64"):
        for position in range(80):
            volume = np.ones((1, 1, 80), dtype)
            volume[0, 0, position] = 2
            assert_scans_alike(volume, 1)


def test_example_of_a_fraction_does_not_depend_on_threads(rng: np.random.Generator) -> None:
    soft = rng.random((9, 4, 4)).astype(np.float32)
    examples = {_core.scan(soft, threads)["fractional_example"] for threads in THREADS}
    assert examples == {float(soft.flat[0])}


@pytest.mark.parametrize("threads", THREADS)
def test_too_many_labels(threads: int) -> None:
    most = np.arange(_core.MAX_LABELS + 1, dtype=np.int32).reshape(1, 17, 241)
    assert len(_core.scan(most.reshape(17, 241, 1), threads)["labels"]) == _core.MAX_LABELS
    more = np.append(most.ravel(), [70_000, -1, 4097]).reshape(25, 4, -1)
    with pytest.raises(ValueError, match="more than 4096 distinct values"):
        _core.scan(more, threads)


def test_labels_beyond_int64_are_refused() -> None:
    volume = np.full((2, 2, 2), 2**63, np.uint64)
    with pytest.raises(ValueError, match="9223372036854775808 is too large"):
        _core.scan(volume, 1)


@pytest.mark.parametrize("shape", [(0, 3, 3), (3, 0, 3), (3, 3, 0), (0, 0, 0)])
def test_no_voxels(shape: tuple[int, int, int]) -> None:
    assert _core.scan(np.zeros(shape, np.uint8), 2)["labels"] == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_plane_boxes(dtype: str, layout: str, rng: np.random.Generator) -> None:
    volume = lay_out(typed_labelmap(rng, dtype), layout)
    labels = np.array([entry[0] for entry in _core.scan(volume, 1)["labels"]] + [99])
    for axis in range(3):
        rows, columns = (extent for other, extent in enumerate(volume.shape) if other != axis)
        n = 40
        asked = rng.choice(labels, n)
        indices = rng.integers(0, volume.shape[axis], n)
        windows = np.concatenate(
            [np.sort(rng.integers(0, rows + 1, (n, 2)), 1), np.sort(rng.integers(0, columns + 1, (n, 2)), 1)], axis=1
        )
        windows[: n // 2] = [0, rows, 0, columns]
        wanted = reference.plane_boxes(volume, axis, indices, asked, windows)
        for threads in THREADS:
            found = _core.plane_boxes(volume, axis, indices, asked, windows, threads)
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("index", "window"),
    [
        (-1, (0, 2, 0, 2)),
        (3, (0, 2, 0, 2)),
        (0, (-1, 2, 0, 2)),
        (0, (0, 5, 0, 2)),
        (0, (0, 2, 0, 6)),
        (0, (2, 1, 0, 2)),
        (0, (0, 2, 3, 2)),
    ],
)
def test_planes_outside_are_refused(index: int, window: tuple[int, ...]) -> None:
    with pytest.raises(IndexError, match="outside the volume"):
        _core.plane_boxes(np.zeros((3, 4, 5), np.uint8), 0, [index], [1], [window], 1)
