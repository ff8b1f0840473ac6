"""What headers say of their grid: codes, two forms that disagree, none at all, other units, a tilted gantry.

Seen in public reports: CT without orientation codes (TorchIO#1300, nipy/nibabel#522), sform and qform that disagree
(spinalcordtoolbox#2106, simnibs#448).
"""

from __future__ import annotations

import gzip
import itertools
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import phantom
import pytest

import segae
from segae import anatomy
from segae.frame import axis_codes, lps_axes
from segae.volume import load

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM
LPS = np.diag([-5.0, -5.0, 5.0, 1.0])


def nifti(array: Array, affine: Array = LPS) -> nib.Nifti1Image:
    return nib.Nifti1Image(array.T, affine)


def without_codes(image: nib.Nifti1Image, path: Path) -> Path:
    content = bytearray(image.to_bytes())
    content[252:256] = bytes(4)
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def saved(image: Any, path: Path) -> Path:
    nib.save(image, path)
    return path


def moved(by_mm: tuple[float, float, float], affine: Array = LPS) -> Array:
    other = affine.copy()
    other[:3, 3] += by_mm
    return other


# Orientation


def test_axes_as_nibabel_has_them(rng: np.random.Generator) -> None:
    # Before 5.4, nibabel took very oblique axes in another order.
    for _ in range(200 if tuple(map(int, nib.__version__.split(".")[:2])) >= (5, 4) else 0):
        affine = np.eye(4)
        affine[:3, :3] = rng.normal(size=(3, 3))
        assert axis_codes(affine) == "".join(nib.aff2axcodes(affine))
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = (np.eye(3) * signs * (1, 2, 3))[:, order]
            assert axis_codes(affine) == "".join(nib.aff2axcodes(affine))
    assert lps_axes(LPS) == ((2, 1, 0), (False, False, False))


@pytest.mark.parametrize("both", [True, False])
def test_no_orientation_is_told(both: bool, engine: segae.Engine, image: Array, mask: Array, tmp_path: Path) -> None:
    """Which way the axes run is an assumption then: a flag says so, and a warning where there are no flags."""
    ct = without_codes(nifti(image), tmp_path / "ct.nii.gz")
    given: Any = without_codes(nifti(mask), tmp_path / "mask.nii.gz") if both else mask.T
    found = engine.assess(ct, given, "liver")
    detail = {flag.name: flag.detail for flag in found.flags}["orientation_assumed"]
    assert "gives no orientation (sform_code = qform_code = 0); its axes were taken to run LAS" in detail
    for call in (
        lambda: engine.score(ct, given, "liver"),
        lambda: engine.score_batch(ct, [given], "liver"),
        lambda: (
            segae.measure(given if both else nib.load(ct), ct if not both else given, label=None)
            if both
            else engine.score(ct, given, "liver")
        ),
    ):
        with pytest.warns(segae.OrientationWarning, match="gives no orientation"):
            call()


@pytest.mark.parametrize("which", ["image", "mask"])
@pytest.mark.parametrize("affine", [LPS, np.diag([5.0, 5.0, 5.0, 1.0]), moved((31, -50, 7))])
def test_one_without_orientation(
    which: str, affine: Array, engine: segae.Engine, image: Array, mask: Array, tmp_path: Path
) -> None:
    """It takes the other one's, where shape and voxel size agree, and a flag says so."""
    files = {"image": nifti(image, affine), "mask": nifti(mask, affine)}
    given = {
        name: without_codes(file, tmp_path / f"{name}.nii.gz")
        if name == which
        else saved(file, tmp_path / f"{name}.nii.gz")
        for name, file in files.items()
    }
    found = engine.assess(given["image"], given["mask"], "liver")
    wanted = engine.assess(files["image"], files["mask"], "liver")
    assert found.dice == wanted.dice
    told = {flag.name: flag.detail for flag in found.flags}["orientation_assumed"]
    assert told.endswith(f"its voxels were taken to lie as those of {'mask' if which == 'image' else 'image'}.")
    many = engine.assess_masks(given["image"], {"liver": given["mask"]}, reference=None)[0]
    assert isinstance(many, segae.Assessment)
    assert many.dice == wanted.dice


def test_what_itk_wrote_for_it(engine: segae.Engine, image: Array, mask: Array, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    ct = without_codes(nifti(image), tmp_path / "ct.nii.gz")
    written = sitk.GetImageFromArray(mask)
    written.CopyInformation(sitk.ReadImage(str(ct)))
    sitk.WriteImage(written, str(tmp_path / "mask.nii.gz"))
    found = engine.assess(ct, tmp_path / "mask.nii.gz", "liver")
    assert found.dice == engine.score(image, mask, "liver", spacing=SPACING)
    assert "orientation_assumed" in {flag.name for flag in found.flags}


def test_another_grid_without_orientation_is_refused(
    engine: segae.Engine, image: Array, mask: Array, tmp_path: Path
) -> None:
    ct = without_codes(nifti(image), tmp_path / "ct.nii.gz")
    with pytest.raises(segae.GridMismatchError, match="sform_code = qform_code = 0") as caught:
        engine.score(ct, nifti(mask[1:]), "liver")
    assert "set_sform" in str(caught.value)
    assert "resample" not in str(caught.value).lower()


def test_analyze(engine: segae.Engine, image: Array, mask: Array, tmp_path: Path) -> None:
    for name, array in (("ct", image), ("mask", mask)):
        nib.save(nib.Spm2AnalyzeImage(array.T, None), tmp_path / f"{name}.img")
        (tmp_path / f"{name}.mat").unlink(missing_ok=True)
    header = nib.load(tmp_path / "ct.img").header
    assert header.get_zooms() == (1, 1, 1)
    found = engine.assess(tmp_path / "ct.img", tmp_path / "mask.img", "liver")
    assert "Analyze holds none" in {flag.name: flag.detail for flag in found.flags}["orientation_assumed"]


# Two forms


@pytest.mark.parametrize("by_mm", [(50.0, 0, 0), (0, 0, -320.0), (12.5, 40, 7.5)])
@pytest.mark.parametrize("which", ["image", "mask"])
def test_the_other_form_fits(
    which: str, by_mm: tuple[float, float, float], engine: segae.Engine, image: Array, mask: Array
) -> None:
    two, one = nifti(image if which == "image" else mask), nifti(mask if which == "image" else image, moved(by_mm))
    two.set_sform(LPS, 1)
    two.set_qform(moved(by_mm), 1)
    ct, given = (two, one) if which == "image" else (one, two)
    with pytest.raises(segae.GridMismatchError) as caught:
        engine.score(ct, given, "liver")
    text = str(caught.value)
    assert f"the qform (code 1) of {which}" in text.replace("The ", "the ")
    assert "set_qform" in text
    assert "esample" not in text
    two.set_sform(two.get_qform(), 1)  # as told
    wanted = engine.score(image, mask, "liver", spacing=SPACING)
    assert engine.score(*((two, one) if which == "image" else (one, two)), "liver") == wanted


def test_forms_of_other_directions(engine: segae.Engine, image: Array, mask: Array, tmp_path: Path) -> None:
    ct, given = nifti(image), nifti(mask)
    for file in (ct, given):
        file.set_sform(LPS, 1)
        file.set_qform(np.diag([5.0, -5.0, 5.0, 1.0]), 1)
    flags = {flag.name: flag.detail for flag in engine.assess(ct, given, "liver").flags}
    assert "two orientations, sform (LPS) and qform (RPS)" in flags["orientation_assumed"]
    for file in (ct, given):
        file.set_qform(moved((3, 2, 1)), 1)
    assert "orientation_assumed" not in {flag.name for flag in engine.assess(ct, given, "liver").flags}


def test_a_singular_form_beside_a_sound_one(engine: segae.Engine, image: Array, mask: Array, tmp_path: Path) -> None:
    ct = nifti(image)
    ct.set_qform(LPS, 1)
    content = bytearray(ct.to_bytes())
    content[280:328] = bytes(48)  # the sform is all zeros, its code is not
    (tmp_path / "ct.nii").write_bytes(content)
    with pytest.raises(segae.VolumeError, match=r"singular(.|\n)*Its qform is sound: image\.set_sform"):
        engine.score(tmp_path / "ct.nii", nifti(mask), "liver")


# What is advised where grids differ


def test_advice(engine: segae.Engine, image: Array, mask: Array) -> None:
    def told(given: nib.Nifti1Image) -> str:
        with pytest.raises(segae.GridMismatchError) as caught:
            engine.score(nifti(image), given, "liver")
        return str(caught.value)

    coarse = nifti(mask[::2, ::2, ::2], LPS @ np.diag([2.0, 2, 2, 1]))
    assert "resample_from_to(mask, image, order=0)" in told(coarse)
    assert "do not overlap in space" in told(nifti(mask[1:], moved((0, 0, 9000))))
    lost = told(nifti(mask, moved((0, 0, 9000))))
    assert "only its header is wrong" in lost
    assert "esample" not in lost
    mixed = told(nifti(mask, np.diag([-1.0, -1, 1, 1]) @ moved((40, 30, 0))))
    assert "a place in LPS was written as RAS" not in mixed, "that needs the same place"
    turned = nib.Nifti1Image(np.ascontiguousarray(mask), LPS)
    assert "each other's in another order" in told(turned)
    assert "esample" not in told(turned)


def test_lps_written_as_ras(engine: segae.Engine, image: Array, mask: Array) -> None:
    place = moved((180, 140, -100))
    with pytest.raises(segae.GridMismatchError, match="a place in LPS was written as RAS") as caught:
        engine.score(nifti(image, place), nifti(mask, np.diag([-1.0, -1, 1, 1]) @ place), "liver")
    assert "esample" not in str(caught.value)


# Units and angles


@pytest.mark.parametrize(("unit", "factor"), [("meter", 0.001), ("micron", 1000.0), ("mm", 1.0), ("unknown", 1.0)])
def test_units(unit: str, factor: float, engine: segae.Engine, image: Array, mask: Array, tmp_path: Path) -> None:
    other = np.diag([factor, factor, factor, 1]) @ moved((180, 140, -100))
    paths = []
    for name, array in (("ct", image), ("mask", mask)):
        file = nifti(array, other)
        file.header.set_xyzt_units(unit)
        paths.append(saved(file, tmp_path / f"{name}.nii.gz"))
    found = engine.assess(*paths, "liver")
    wanted = engine.assess(image, mask, "liver", spacing=SPACING)
    assert found.dice == pytest.approx(wanted.dice, abs=1e-6)
    assert found.volume_ml == pytest.approx(wanted.volume_ml)


@pytest.mark.parametrize("spacing", [(0.003, 0.0008, 0.0008), (5000, 700, 700), (0.0001, 1, 1)])
def test_sizes_of_another_unit(
    spacing: tuple[float, float, float], engine: segae.Engine, image: Array, mask: Array
) -> None:
    with pytest.raises(segae.VolumeError, match=r"image: its voxels measure .* mm along z, y, x; expected .*unit"):
        engine.score(image, mask, "liver", spacing=spacing)
    file = nifti(image, np.diag([*spacing[::-1], 1.0]))
    with pytest.raises(segae.VolumeError, match="set_xyzt_units"):
        engine.score(file, mask.T, "liver")


@pytest.mark.parametrize("degrees", [0.0, 10.0, 20.0, 30.0])
def test_volumes_under_a_tilted_gantry(degrees: float, engine: segae.Engine, image: Array, mask: Array) -> None:
    """Slices that are sheared against each other: a voxel's volume is the determinant, not the product of sides."""
    tilted = LPS.copy()
    tilted[1, 2] = 5.0 * np.tan(np.deg2rad(degrees))
    found = engine.assess(nifti(image, tilted), nifti(mask, tilted), "liver")
    assert found.volume_ml == pytest.approx(mask.sum() * 5.0**3 / 1000)
    areas = mask.sum((1, 2)) * 25.0
    assert all(entry.area_mm2 == pytest.approx(areas[entry.index]) for entry in found.slices)
    labels = engine.assess_labels(nifti(image, tilted), nifti(mask, tilted), {1: "liver"}, reference=None)
    assert labels["liver"].volume_ml == pytest.approx(found.volume_ml)


def test_sound_headers_warn_of_nothing(engine: segae.Engine, image: Array, mask: Array) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.score(nifti(image), nifti(mask), "liver")
        segae.measure(nifti(mask), nifti(mask))
        segae.perturb(nifti(mask), "erode", severity=0.2)


def test_volumes_across_structures_under_a_tilted_gantry() -> None:
    """What checks across structures count is the same as under an upright one."""
    labels, tilted = phantom.labelmap(), LPS.copy()
    tilted[1, 2] = 5.0 * np.tan(np.deg2rad(30))
    upright, sheared = (
        anatomy.Scene.of_labelmap(load(nifti(labels, affine), "labelmap"), phantom.LABELS, 1)
        for affine in (LPS, tilted)
    )
    for name in phantom.LABELS.values():
        assert sheared.parts[name].volume_ml == pytest.approx(upright.parts[name].volume_ml)
