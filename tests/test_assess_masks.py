"""`Engine.assess_masks`: many masks of one image say what each would say alone, and the image is read once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import phantom
import pytest

import segae
from segae import readers
from segae.errors import GridMismatchError, ParameterError, UnknownStructureError, VolumeError

Array = phantom.Array
AFFINE = np.diag([-5.0, -5.0, 5.0, 1.0])


def masks() -> dict[str, Array]:
    labels = phantom.labelmap()
    return {name: (labels == label).astype(np.uint8) for label, name in phantom.LABELS.items()}


def without_time(assessment: object) -> object:
    assert isinstance(assessment, segae.Assessment)
    return assessment.to_dict()


@pytest.mark.parametrize("at_once", [1, 20, 1000])
@pytest.mark.parametrize("error_map", [False, True])
def test_as_one_by_one(
    engine: segae.Engine, image: Array, at_once: int, error_map: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many slices go through the network together."""
    monkeypatch.setattr("segae.together._TOGETHER", at_once)
    together = engine.assess_masks(image, masks(), spacing=phantom.SPACING_MM, error_map=error_map)
    assert len(together) == len(phantom.LABELS)
    for found, (name, mask) in zip(together, masks().items(), strict=True):
        alone = engine.assess(image, mask, name, spacing=phantom.SPACING_MM, error_map=error_map)
        assert isinstance(found, segae.Assessment)
        np.testing.assert_equal(found.to_dict(), alone.to_dict())


def test_files_are_read_once(
    engine: segae.Engine, image: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {}
    for name, array in {"ct": image, **masks()}.items():
        paths[name] = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(array.transpose(), AFFINE), paths[name])
    opened: list[str] = []
    real = readers.open_gzip
    monkeypatch.setattr(readers, "open_gzip", lambda path: (opened.append(Path(path).name), real(path))[1])
    ct = paths.pop("ct")
    found = engine.assess_masks(ct, paths)
    assert [entry.structure for entry in found if isinstance(entry, segae.Assessment)] == list(paths)
    assert sorted(opened) == sorted(["ct.nii.gz", *(path.name for path in paths.values())])


def test_a_mask_may_be_overwritten_once_the_next_is_drawn(engine: segae.Engine, image: Array) -> None:
    memory = np.zeros(phantom.SHAPE, np.uint8)

    def draw() -> Iterator[tuple[str, Array]]:
        for name, mask in masks().items():
            memory[:] = mask
            yield name, memory
        memory[:] = 1

    reused = engine.assess_masks(image, draw(), spacing=phantom.SPACING_MM)
    fresh = engine.assess_masks(image, masks(), spacing=phantom.SPACING_MM)
    for a, b in zip(reused, fresh, strict=True):
        np.testing.assert_equal(without_time(a), without_time(b))


def test_errors_in_their_places(engine: segae.Engine, image: Array, tmp_path: Path) -> None:
    good = masks()["liver"]
    given = [
        ("liver", good),
        ("no such thing", good),
        ("spleen", good[:-1]),
        ("spleen", good * 3),
        ("liver", np.zeros_like(good)),
        ("liver", tmp_path / "missing.nii.gz"),
        ("liver", good),
    ]
    ct = nib.Nifti1Image(image.transpose(), AFFINE)
    given = [(name, mask.transpose() if isinstance(mask, np.ndarray) else mask) for name, mask in given]
    found = engine.assess_masks(ct, given, on_error="return")
    kinds = [type(entry) for entry in found]
    assert kinds == [
        segae.Assessment,
        UnknownStructureError,
        GridMismatchError,
        VolumeError,
        segae.Assessment,
        VolumeError,
        segae.Assessment,
    ]
    np.testing.assert_equal(without_time(found[0]), without_time(found[6]))
    empty = found[4]
    assert isinstance(empty, segae.Assessment)
    assert [flag.name for flag in empty.flags] == ["empty"]
    with pytest.raises(UnknownStructureError):
        engine.assess_masks(ct, given)


def test_wrong_use(engine: segae.Engine, image: Array) -> None:
    with pytest.raises(ParameterError, match="on_error"):
        engine.assess_masks(image, {}, spacing=(1, 1, 1), on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(VolumeError, match="no such file"):
        engine.assess_masks("missing.nii.gz", {}, on_error="return")
    assert engine.assess_masks(image, {}, spacing=(1, 1, 1)) == []


def test_centroid(engine: segae.Engine, image: Array) -> None:
    """From the centre of the volume to the patient's left, back and head, whatever the order of the file."""
    mask = np.zeros(phantom.SHAPE, np.uint8)
    mask[30, 20, 50] = 1
    wanted = ((50 - 35.5) * 5.0, (20 - 27.5) * 5.0, (30 - 19.5) * 5.0)
    assert engine.assess(image, mask, "liver", spacing=phantom.SPACING_MM).centroid_mm == pytest.approx(wanted)
    flipped = [nib.Nifti1Image(array[:, ::-1].transpose(), np.diag([-5.0, 5, 5, 1])) for array in (image, mask)]
    assert engine.assess(*flipped, "liver").centroid_mm == pytest.approx(wanted)
    assert engine.assess(image, mask * 0, "liver", spacing=phantom.SPACING_MM).centroid_mm is None
