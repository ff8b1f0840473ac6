"""The whole way from arrays and files to a score, on models small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segae


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    grid = np.indices(shape).transpose(1, 2, 3, 0)
    return (((grid - np.array(centre)) ** 2).sum(-1) <= radius**2).astype(np.uint8)


@pytest.fixture
def case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shape = (24, 40, 36)
    image = rng.integers(-200, 300, shape).astype(np.int16)
    return image, ball(shape, (11, 20, 15), 8)


def test_score_of_arrays(case: tuple[np.ndarray, np.ndarray], tiny_model: Path) -> None:
    image, mask = case
    score = segae.score(image, mask, "liver", spacing=(3.0, 1.5, 1.5), model=tiny_model)
    assert 0 < score < 1
