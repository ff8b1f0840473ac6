"""The scripts in examples/ run, and say what their texts promise."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import phantom
import pytest

import segae
from segae import demo

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture
def files(tmp_path: Path, image: npt.NDArray[Any], mask: npt.NDArray[Any]) -> Path:
    affine = np.diag([-phantom.SPACING_MM[2], -phantom.SPACING_MM[1], phantom.SPACING_MM[0], 1.0])
    for name, array in (("ct", image), ("liver", mask), ("labels", phantom.labelmap())):
        nib.save(nib.Nifti1Image(array.T, affine), tmp_path / f"{name}.nii.gz")
    return tmp_path


@pytest.mark.slow
def test_weigh_pseudo_labels() -> None:
    pytest.importorskip("torch")
    printed = run("weigh_pseudo_labels", "--steps", 2)
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", printed)]
    assert losses[1] < losses[0]
    predicted = [float(score) for score in re.findall(r"predicted (\S+),", printed)]
    assert predicted[0] == max(predicted)


@pytest.mark.slow
def test_monai_metric() -> None:
    first, second = (eval(line.partition(": ")[2]) for line in run("monai_metric").splitlines() if "epoch" in line)
    assert list(first) == list(demo.STRUCTURES)
    assert np.mean(list(first.values())) < np.mean(list(second.values()))


@pytest.mark.slow
def test_next_to_annotate(files: Path) -> None:
    order = re.findall(r"(?:nan|\d\.\d\d)  (\w+)", run("next_to_annotate"))
    assert order[0] == "missing"
    assert order[-1] == "good"
    assert "liver.nii.gz, worst slice" in run("next_to_annotate", "liver", files / "ct.nii.gz", files / "liver.nii.gz")


@pytest.mark.slow
def test_check_prediction(files: Path) -> None:
    printed = run("check_prediction", code=1)
    assert re.search(r"^0\.\d\d  spleen", printed, re.MULTILINE)
    (files / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, **{name: value for value, name in phantom.LABELS.items()}}})
    )
    done = subprocess.run(
        [sys.executable, EXAMPLES / "check_prediction.py", "ct.nii.gz", "labels.nii.gz", "dataset.json"],
        capture_output=True, text=True, check=False, cwd=files,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert "of 4 below" in done.stdout


def test_edge_service(files: Path, engine: segae.Engine) -> None:
    spec = importlib.util.spec_from_file_location("edge_service", EXAMPLES / "edge_service.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.open_service(0, engine) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{service.server_port}"

        def ask(**asked: str) -> tuple[int, Any]:
            try:
                with urllib.request.urlopen(address, json.dumps(asked).encode()) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)

        status, found = ask(image=str(files / "ct.nii.gz"), mask=str(files / "liver.nii.gz"), structure="liver")
        assert status == 200
        assert found["dice"] == engine.score(files / "ct.nii.gz", files / "liver.nii.gz", "liver")
        assert found["slices"][0]["dice"] is None, "beyond the mask there is no Dice: null, which every client reads"
        assert ask(image="ct", mask="no", structure="liver")[0] == 400
        assert ask(image="ct") == (400, {"error": "KeyError: 'mask'"})
        service.shutdown()
