"""Real MONAI, where it is installed: its loaders, orientations, patches and tensors (`pytest -m slow`).

Seen in public reports: MONAI#4685, MONAI#8202, MONAI#7365, MONAI#8337, MONAI#1357.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import phantom
import pytest

import segae

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]

Array = npt.NDArray[Any]
LPS = np.array([[-5.0, 0, 0, 180], [0, -5, 0, 140], [0, 0, 5, -100], [0, 0, 0, 1]])
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def files(image: Array, tmp_path: Path) -> dict[str, str]:
    nib.save(nib.Nifti1Image(image.T, LPS), tmp_path / "image.nii.gz")
    nib.save(nib.Nifti1Image(phantom.labelmap().T, LPS), tmp_path / "label.nii.gz")
    return {name: str(tmp_path / f"{name}.nii.gz") for name in ("image", "label")}


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PIR", "SLA", None])
def test_a_validation_loop(axcodes: str | None, files: dict[str, str], engine: segae.Engine, image: Array) -> None:
    pytest.importorskip("monai")
    import torch
    from monai.data import DataLoader, Dataset, MetaTensor
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd

    sys.path.insert(0, str(EXAMPLES))
    try:
        from monai_metric import PredictedDice
    finally:
        sys.path.remove(str(EXAMPLES))

    keys = ("image", "label")
    turn = [] if axcodes is None else [Orientationd(keys, axcodes=axcodes, labels=(("L", "R"), ("P", "A"), ("I", "S")))]
    loaded = Dataset([files] * 2, Compose([LoadImaged(keys), EnsureChannelFirstd(keys), *turn]))
    batch = next(iter(DataLoader(loaded, batch_size=2)))
    wanted = [
        engine.score(image, phantom.labelmap(), name, label=value, spacing=phantom.SPACING_MM)
        for value, name in phantom.LABELS.items()
    ]
    metric = PredictedDice(phantom.LABELS, engine=engine)
    for predicted in (batch["label"], batch["label"].as_tensor()):
        scores = metric(y_pred=predicted, images=batch["image"])
        assert type(scores) is torch.Tensor
        np.testing.assert_allclose(scores.numpy(), [wanted] * 2, atol=1e-6)
    np.testing.assert_allclose(list(metric.aggregate().values()), wanted, atol=1e-6)
    one = loaded[0]
    assert engine.score(one["image"], one["label"], "liver", label=1) == pytest.approx(wanted[0], abs=1e-6)
    assert isinstance(one["label"], MetaTensor)
    listed = engine.score_batch([one["image"]], [one["label"]], phantom.LABELS)
    np.testing.assert_allclose(listed.numpy(), [wanted], atol=1e-6)


def test_spacing_beside_a_metatensor_is_refused(files: dict[str, str], engine: segae.Engine) -> None:
    pytest.importorskip("monai")
    from monai.transforms import LoadImage

    ct, label = (LoadImage(image_only=True)(files[name]) for name in ("image", "label"))
    with pytest.raises(segae.VolumeError, match="carry their own grids"):
        engine.score(ct, label, "liver", label=1, spacing=phantom.SPACING_MM)
