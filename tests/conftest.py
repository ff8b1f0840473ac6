"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantom
import pytest
import tiny_models
from hypothesis import settings
from lent import EMULATED, Lent

import segae
from segae import _core, device, session

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


@pytest.fixture
def lending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lent arrays are a library of their own, whose caller works on stream 7."""
    library = device.Library(
        lambda _like: 7,
        lambda like: Lent(np.zeros(like.array.shape, np.uint8)),
        lambda like, values: Lent(values, like.number),
    )
    monkeypatch.setitem(device.LIBRARIES, Lent.__module__.partition(".")[0], library)


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Two functions: an array to the GPU, and one back. Emulated kernels work on lent arrays."""
    if not _core.built_with_cuda():
        pytest.skip("segae was built without CUDA")
    if EMULATED:
        request.getfixturevalue("lending")
        return Lent, lambda lent: lent.array
    if not _core.cuda_devices():
        pytest.skip("no CUDA device")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return lambda array: torch.as_tensor(array, device="cuda"), lambda tensor: tensor.cpu().numpy()


@pytest.fixture
def open_on_gpu(gpu: object, monkeypatch: pytest.MonkeyPatch) -> Callable[..., segae.Engine]:
    """Open an engine on the GPU; with emulated kernels, one that takes the GPU's path but runs on the CPU."""
    if EMULATED:
        cpu = "CPUExecutionProvider"
        monkeypatch.setattr(session, "_CUDA", cpu)
        monkeypatch.setattr(session, "_GPU_MEMORY", "cpu")
        monkeypatch.setattr(session, "_providers", lambda _runtime, wanted, _stream: ([cpu], wanted))
    return lambda model: segae.Engine(model, "cuda:0", threads=2)
