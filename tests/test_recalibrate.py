"""Curves and intervals of verified cases, in a copy of a model file."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

import phantom
import tiny_models

import segae
from segae.cli import main
from segae.errors import ParameterError
from segae.session import Session
from segae.train import data, recalibrate
from segae.train.judged import Row

AFFINE = np.diag([-5.0, -5.0, 5.0, 1.0])


@pytest.fixture
def verified(tmp_path):
    """Four patients in the layout of TotalSegmentator, with a liver and a spleen each."""
    for number in range(4):
        labels = np.roll(phantom.labelmap(), number, axis=2)
        image = np.roll(phantom.image(np.random.default_rng(number)), number, axis=2)
        folder = tmp_path / "verified" / f"s{number}"
        (folder / "segmentations").mkdir(parents=True)
        nib.save(nib.Nifti1Image(image.transpose(2, 1, 0), AFFINE), folder / "ct.nii.gz")
        for value, name in ((1, "liver"), (2, "spleen")):
            mask = (labels == value).astype(np.uint8).transpose(2, 1, 0)
            nib.save(nib.Nifti1Image(mask, AFFINE), folder / "segmentations" / f"{name}.nii.gz")
    return tmp_path / "verified"


def test_the_command_writes_a_calibrated_copy(verified, tmp_path, capsys):
    model, out = tmp_path / "model.onnx", tmp_path / "mine.onnx"
    tiny_models.write_dense(model, calibration={})
    assert main(["calibrate", str(model), str(verified), "-o", str(out)]) == 0
    told = capsys.readouterr().out
    assert "mine.onnx: written" in told
    assert "90 % interval" in told
    old, new = Session(model, "cpu", 1).card, Session(out, "cpu", 1).card
    assert set(new.calibration) >= {"default"}
    assert set(new.intervals) == {"default"}
    assert (new.structures, new.outputs, new.recipe) == (old.structures, old.outputs, old.recipe)
    case = data.cases(verified, "train")[0]
    masks = {file.structure: file.path for file in case.masks}
    assert segae.Engine(out, "cpu").assess(case.image, masks["liver"], "liver").dice_interval is not None


def _rows(case: str, shift: float, structure: str = "liver") -> list[Row]:
    true = np.linspace(0.05, 0.95, 30)
    said = np.clip(true + shift, 0, 1)
    return [Row(case, structure, "erode", 0, -1, 9, t, s, t, s, t, s) for t, s in zip(true, said, strict=True)]


def test_every_case_is_judged_with_the_curves_of_the_others(verified, tmp_path, monkeypatch):
    """One of four is 0.3 off where the others are right: its own curve would hide that, theirs do not."""
    rows = [row for case, shift in zip("abcd", (0, 0, 0, 0.3), strict=True) for row in _rows(case, shift)]
    monkeypatch.setattr(recalibrate, "judge_cases", lambda *_, **__: (rows, []))
    tiny_models.write_dense(tmp_path / "model.onnx", calibration={})
    found = recalibrate.recalibrate(tmp_path / "model.onnx", data.cases(verified, "train"), tmp_path / "out.onnx")
    assert found.masks == 120
    assert found.error_before == pytest.approx(
        0.25 * np.mean(np.minimum(0.3, 1 - np.linspace(0.05, 0.95, 30))), abs=0.01
    )
    assert found.coverage < 0.95
    assert found.structures == ("liver",)


def test_two_cases_are_too_few(verified, tmp_path, monkeypatch, capsys):
    rows = _rows("a", 0) + _rows("b", 0)
    monkeypatch.setattr(recalibrate, "judge_cases", lambda *_, **__: (rows, []))
    tiny_models.write_dense(tmp_path / "model.onnx", calibration={})
    with pytest.raises(ParameterError, match="2 with masks of known structures, and 3"):
        recalibrate.recalibrate(tmp_path / "model.onnx", data.cases(verified, "train"), tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
