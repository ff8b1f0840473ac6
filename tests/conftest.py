"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import phantom
import pytest
import tiny_models
from hypothesis import settings

import segae

# The same examples in every run, however slow the machine.
settings.register_profile("segae", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("segae")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260114)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file whose outputs are simple means of its input, so that every voxel counts."""
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    tiny_models.write_dense(path)
    return path


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real cases; tests that ask for it are skipped without SEGAE_DATA."""
    folder = os.environ.get("SEGAE_DATA")
    if not folder:
        pytest.skip("SEGAE_DATA is not set: it names the folder that holds data/cases.csv")
    return Path(folder)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> segae.Engine:
    return segae.Engine(tiny_model, "cpu", threads=2)


@pytest.fixture
def image(rng: np.random.Generator) -> phantom.Array:
    """A CT of the body phantom."""
    return phantom.image(rng)


@pytest.fixture
def mask() -> phantom.Array:
    """The phantom's first structure, uint8."""
    return (phantom.labelmap() == 1).astype(np.uint8)
