"""`_core.squared_distance` against scipy's exact transform."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from layouts import SPACINGS, THREADS
from strategies import mask_pairs

from segae import _core

Array = npt.NDArray[Any]

# The result is float32, and three axes are added: a few units in the last place.
RTOL = 1e-6


def assert_distances_alike(seeds: Array, spacing: tuple[float, float, float]) -> None:
    wanted = reference.distance(seeds, spacing) ** 2
    results = [_core.squared_distance(seeds.astype(np.uint8), spacing, threads) for threads in THREADS]
    np.testing.assert_allclose(results[0], wanted, rtol=RTOL)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("spacing", [*SPACINGS, (0.1, 30.0, 1.0), (1e-3, 1e-3, 1e-3)])
@pytest.mark.parametrize("share", [0.002, 0.05, 0.9])
def test_squared_distance(share: float, spacing: tuple[float, float, float], rng: np.random.Generator) -> None:
    seeds = rng.random((9, 21, 33)) < share
    seeds[4, 3, 2] = True
    assert_distances_alike(seeds, spacing)


@given(mask_pairs(8), st.sampled_from(SPACINGS))
def test_squared_distance_of_anything(pair: tuple[Array, Array], spacing: tuple[float, float, float]) -> None:
    for seeds in pair:
        assert_distances_alike(seeds, spacing)


@pytest.mark.parametrize("shape", [(1, 1, 200), (1, 200, 1), (200, 1, 1), (1, 1, 1)])
def test_lines(shape: tuple[int, int, int]) -> None:
    seeds = np.zeros(shape, bool)
    seeds.flat[seeds.size // 3] = True
    assert_distances_alike(seeds, (0.7, 0.8, 0.9))


def test_any_byte_but_zero_is_a_seed() -> None:
    seeds = np.zeros((1, 1, 5), np.uint8)
    seeds[0, 0, 3] = 200
    assert _core.squared_distance(seeds, (1, 1, 2), 1).ravel().tolist() == [36, 16, 4, 0, 4]


def test_without_seeds_all_is_infinitely_far() -> None:
    assert np.isinf(_core.squared_distance(np.zeros((2, 3, 4), np.uint8), (1, 1, 1), 2)).all()
    assert _core.squared_distance(np.zeros((0, 3, 4), np.uint8), (1, 1, 1), 2).shape == (0, 3, 4)
