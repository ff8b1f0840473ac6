"""What a package that depends on segae sees of its types and its public names."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import segae

# A consumer's module: arrays in, arrays out; no Any reaches it. `Tensor` stands for torch's, which takes long to read.
CONSUMER = """
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import segae


class Tensor:
    def __dlpack__(self) -> Any: ...


def arrays(engine: segae.Engine, image: npt.NDArray[np.int16], mask: npt.NDArray[np.bool_], path: Path) -> None:
    spacing = (1.0, 1.0, 1.0)
    assert_type(segae.perturb(mask, "erode", target_dice=0.8, spacing=spacing), npt.NDArray[np.uint8])
    assert_type(segae.perturb(path, "erode", severity=0.4), npt.NDArray[np.uint8])
    assert_type(segae.perturb(str(path), severity=0.4), npt.NDArray[np.uint8])
    assert_type(engine.score_batch(image, mask, "liver", spacing=spacing), npt.NDArray[np.float32])
    assert_type(engine.score_batch(path, [path, path], "liver"), npt.NDArray[np.float32])
    assert_type(engine.score_batch([image], [mask], {1: "liver"}, affine=np.eye(4)), npt.NDArray[np.float32])
    assert_type(segae.score(path, path, "liver"), float)


def tensors(engine: segae.Engine, image: Tensor, mask: Tensor) -> None:
    assert_type(segae.perturb(mask, "erode", severity=0.4, spacing=(1, 1, 1)), Tensor)
    assert_type(engine.score_batch(image, mask, ["liver"], spacing=(1, 1, 1)), Tensor)
    assert_type(engine.score_batch([image], [mask, mask], "liver", spacing=[(1, 1, 1), (2, 1, 1)]), Tensor)


def told(path: Path) -> dict[str, Any]:
    try:
        found = segae.assess(path, path, "liver")
    except (segae.VolumeError, segae.UnreachableError) as error:
        return {"error": str(error)}
    flags: tuple[segae.Flag, ...] = found.flags
    return found.to_dict() | {"flags": [flag.name for flag in flags]}


def variants(mask: npt.NDArray[np.uint8]) -> list[segae.Perturbed]:
    return segae.perturb_many(mask, 3, kinds=["erode", "dilate"], severity=0.5, spacing=(1, 1, 1), seed=1)
"""


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    return tmp_path


@pytest.mark.slow
def test_mypy(consumer: Path) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(consumer / "cache"), "consumer.py"]
    done = subprocess.run(command, cwd=consumer, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pyright", "basedpyright"])
def test_pyright(name: str, consumer: Path) -> None:
    program = shutil.which(name) or shutil.which(name, path=os.fspath(Path(inspect.getfile(pytest)).parents[4] / "bin"))
    if program is None:
        pytest.skip(f"{name} is not installed")
    command = [program, "--pythonpath", sys.executable, "--level", "error", "consumer.py"]
    done = subprocess.run(command, cwd=consumer, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_public_is_exported() -> None:
    from segae import errors

    public = [
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    for name in public:
        assert getattr(segae, name) is getattr(errors, name)
        assert name in segae.__all__
    assert issubclass(segae.UnreachableError, segae.ParameterError)
    assert issubclass(segae.NotCTWarning, UserWarning)


@pytest.mark.parametrize("function", [segae.score, segae.assess, segae.assess_labels, segae.perturb, segae.measure])
def test_documentation_says_the_parameters_itself(function: object) -> None:
    documentation = inspect.getdoc(function)
    assert documentation is not None
    assert "Parameters\n----------" in documentation
    said = documentation.partition("Parameters\n")[2]
    for parameter in inspect.signature(function).parameters:  # type: ignore[arg-type]
        assert parameter in said, parameter
