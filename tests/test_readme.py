"""README's first example is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segae.demo import SPACING_MM, phantom

README = Path(__file__).parent.parent / "README.md"


def save(array: np.ndarray, path: Path) -> None:
    z, y, x = SPACING_MM
    nib.save(nib.Nifti1Image(array.transpose(), np.diag([-x, -y, z, 1.0])), path)


def test_first_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    image, masks = phantom()
    save(image, tmp_path / "ct.nii.gz")
    save(masks["liver"], tmp_path / "liver.nii.gz")
    save(masks["liver"] + 2 * masks["spleen"], tmp_path / "labels.nii.gz")
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    assert 0 <= float(printed[0]) <= 1
    assert printed[2].startswith("liver")
