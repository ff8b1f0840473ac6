"""What users pass by mistake: a specific error that names argument and fix, or a flag that says what was seen."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import phantom
import pytest
from tiny_models import DENSE_RECIPE

import segae
from segae import _core, flags, structures
from segae import volume as volumes
from segae.assessment import SlicePredictions
from segae.masks import scan_labels
from segae.recipe import ModelCard, Recipe
from segae.slices import SlicePlan, plan_slices

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM
AFFINE = np.diag([-5.0, -5.0, 5.0, 1.0])


# Files


@pytest.fixture
def ct_file(tmp_path: Path, image: Array) -> Path:
    nib.save(nib.Nifti1Image(image.T, AFFINE), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_truncated_gzip(keep: float, ct_file: Path, engine: segae.Engine, mask: Array) -> None:
    content = ct_file.read_bytes()
    ct_file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(segae.VolumeError, match=r"image: .*ct\.nii\.gz is truncated or damaged .*gzip -t"):
        engine.score(ct_file, mask.T, "liver")


def test_header_only(ct_file: Path, engine: segae.Engine, mask: Array) -> None:
    """A gzip file that is whole, around a NIfTI that is not."""
    ct_file.write_bytes(gzip.compress(gzip.decompress(ct_file.read_bytes())[:5000]))
    with pytest.raises(segae.VolumeError, match=r"truncated or damaged .*bytes are missing"):
        engine.score(ct_file, mask.T, "liver")


def test_damaged_gzip(ct_file: Path, engine: segae.Engine, mask: Array) -> None:
    content = bytearray(ct_file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = b"\xff" * 50
    ct_file.write_bytes(content)
    with pytest.raises(segae.VolumeError, match="truncated or damaged"):
        engine.score(ct_file, mask.T, "liver")


def test_truncated_plain_file(tmp_path: Path, engine: segae.Engine, image: Array, mask: Array) -> None:
    nib.save(nib.Nifti1Image(image.T, AFFINE), tmp_path / "ct.nii")
    (tmp_path / "ct.nii").write_bytes((tmp_path / "ct.nii").read_bytes()[:50_000])
    with pytest.raises(segae.VolumeError, match=r"image: .*truncated or damaged"):
        engine.score(tmp_path / "ct.nii", mask.T, "liver")


@pytest.mark.parametrize(("name", "content"), [
    ("notes.txt", b"not an image"),
    ("fake.nii", b"not a NIfTI, whatever its name says" * 20),
    ("fake.nii.gz", b"not even gzip"),
    ("empty.nii", b""),
])  # fmt: skip
def test_not_a_nifti(name: str, content: bytes, tmp_path: Path, engine: segae.Engine, mask: Array) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(segae.VolumeError, match=rf"image: .*{name} is not an image that nibabel can read"):
        engine.score(tmp_path / name, mask.T, "liver")


def test_no_such_file(tmp_path: Path, engine: segae.Engine, mask: Array) -> None:
    with pytest.raises(segae.VolumeError, match=r"mask: no such file: .*nowhere\.nii"):
        engine.score(mask, tmp_path / "nowhere.nii", "liver", spacing=SPACING)
    with pytest.raises(segae.VolumeError, match=r"image: .*not an image that nibabel can read"):
        engine.score(tmp_path, mask, "liver", spacing=SPACING)


def test_rgb_file(tmp_path: Path, engine: segae.Engine, mask: Array) -> None:
    rgb = np.zeros(mask.T.shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(rgb, AFFINE), tmp_path / "rgb.nii.gz")
    with pytest.raises(segae.VolumeError, match="image: RGB or other compound voxels"):
        engine.score(tmp_path / "rgb.nii.gz", mask.T, "liver")


@pytest.mark.parametrize("zooms", [(0.0, 1.0, 1.0), (1.0, -2.0, 1.0)])
def test_spacing_of_a_header(zooms: tuple[float, ...], tmp_path: Path, engine: segae.Engine, mask: Array) -> None:
    """Zero or negative voxel sizes in the header of a file whose affine cannot make up for them."""
    image = nib.Nifti1Image(mask.T, None)
    image.header["pixdim"][1:4] = zooms
    image.header["sform_code"], image.header["qform_code"] = 2, 0
    for row, step in zip(("srow_x", "srow_y", "srow_z"), np.diag([*np.maximum(zooms, 0)]), strict=True):
        image.header[row][:3] = step
    image.header["magic"], image.header["vox_offset"] = b"n+1", 352
    (tmp_path / "ct.nii").write_bytes(image.header.binaryblock + b"\0" * 4 + mask.tobytes())
    with pytest.raises(segae.VolumeError, match="affine: the matrix of image is singular"):
        engine.score(tmp_path / "ct.nii", mask.T, "liver")


# Arrays


@pytest.mark.parametrize(("wrong", "message"), [
    (np.zeros((2, 3, 4, 5)), r"image: expected 3 axes, got shape \(2, 3, 4, 5\)\. Pick .*array\[\.\.\., 0\]"),
    (np.zeros((3, 4)), r"image: expected 3 axes, got shape \(3, 4\)"),
    (np.zeros((1, 3, 4, 5)), r"image: expected 3 axes, .*array\[0\]"),
    (np.zeros((3, 0, 4)), r"image: the array is empty, shape \(3, 0, 4\)"),
    (np.zeros((3, 3, 3), complex), r"image: expected bool, integer or float voxels, got complex128.*numpy\.abs"),
    (np.zeros((3, 3, 3), object), "image: expected bool, integer or float voxels, got object"),
    (np.zeros((3, 3, 3), "M8[s]"), "image: expected bool, integer or float voxels"),
    ([[[0, 1]]], r"image: expected a path, .* got list\. Lists: numpy\.asarray"),
    (None, "image: expected a path, .* got NoneType"),
    (7, "image: expected a path, .* got int"),
])  # fmt: skip
def test_not_a_volume(wrong: Any, message: str, engine: segae.Engine, mask: Array) -> None:
    with pytest.raises(segae.VolumeError, match=message):
        engine.score(wrong, mask, "liver", spacing=SPACING)


@pytest.mark.parametrize(
    "spacing", [(0, 1, 1), (1, -1, 1), (1, float("nan"), 1), (1, 1, float("inf")), (1, 1), 1.0, "1mm"]
)
def test_spacing(spacing: Any, engine: segae.Engine, image: Array, mask: Array) -> None:
    with pytest.raises(segae.VolumeError, match=r"spacing: expected three (positive )?numbers in mm, got"):
        engine.score(image, mask, "liver", spacing=spacing)


@pytest.mark.parametrize(("affine", "message"), [
    (np.diag([0.0, 1, 1, 1]), "affine: the matrix of image is singular or not finite.*\n(.|\n)*Repair the header"),
    (np.diag([np.nan, 1, 1, 1]), "singular or not finite"),
    (np.zeros((4, 4)), "singular"),
    (np.eye(3), r"affine: expected shape \(4, 4\), got \(3, 3\) for image"),
    ("identity", "affine: expected a 4 x 4 matrix of numbers, got 'identity'"),
    ([[1, 0], [0]], "affine: expected a 4 x 4 matrix of numbers"),
])  # fmt: skip
def test_affine(affine: Any, message: str, engine: segae.Engine, image: Array, mask: Array) -> None:
    with pytest.raises(segae.VolumeError, match=message):
        engine.score(image, mask, "liver", affine=affine)


def test_singular_affine_of_an_image(engine: segae.Engine, image: Array, mask: Array) -> None:
    ct = nib.Nifti1Image(image.T, AFFINE)
    ct.affine[:, 1] = ct.affine[:, 0]
    with pytest.raises(segae.VolumeError, match="affine: the matrix of image is singular"):
        engine.score(ct, mask.T, "liver")


def test_geometry_is_never_guessed(engine: segae.Engine, image: Array, mask: Array) -> None:
    with pytest.raises(segae.VolumeError, match=r"image: a bare array of shape .* has no geometry\. Pass spacing="):
        engine.score(image, mask, "liver")
    with pytest.raises(segae.VolumeError, match="affine, spacing: give one of the two"):
        engine.score(image, mask, "liver", spacing=SPACING, affine=AFFINE)
    with pytest.raises(segae.VolumeError, match=r"axes: expected one of .* got 'yxz'"):
        engine.score(image, mask, "liver", spacing=SPACING, axes="yxz")
    ct, truth = nib.Nifti1Image(image.T, AFFINE), nib.Nifti1Image(mask.T, AFFINE)
    for geometry in ({"spacing": SPACING}, {"affine": AFFINE}):
        with pytest.raises(segae.VolumeError, match=r"image and mask carry their own grids.*Drop it"):
            engine.score(ct, truth, "liver", **geometry)


# Masks


def test_mask_values(engine: segae.Engine, image: Array, mask: Array) -> None:
    def refused(wrong: Array, message: str, **options: Any) -> None:
        with pytest.raises(segae.VolumeError, match=message):
            engine.score(image, wrong, "liver", spacing=SPACING, **options)

    refused(mask * 255, r"mask: holds the values 255; without label only 0 and 1 are a mask\. Pass label=255")
    refused(phantom.labelmap(), r"holds the values 2, 3, 4; .*assess_labels")
    refused(-mask.astype(np.int16), r"holds the values -1; ")
    soft = np.where(np.indices(mask.shape)[0] % 2, 0.7, 0.4) * mask
    refused(soft, r"mask: \d+ voxels are no integers \(one is 0\.[47]\).* mask > 0\.5")
    refused(soft, "no integers", label=1)
    refused(np.where(mask > 0, 1.0, np.nan), r"mask: \d+ voxels are NaN or infinite: numpy\.nan_to_num\(mask\)")
    refused(np.where(mask > 0, np.inf, 0.0), "NaN or infinite")
    refused(np.full(mask.shape, 2**63, np.uint64), "mask: the value 9223372036854775808 is too large")
    noise = np.arange(mask.size, dtype=np.int32).reshape(mask.shape)
    refused(noise, r"mask: more than 4096 distinct values; .*Was the image passed in its place\?")


def test_labelmap_values(engine: segae.Engine, image: Array, mask: Array) -> None:
    with pytest.raises(segae.VolumeError, match=r"labelmap: \d+ voxels are no integers"):
        engine.assess_labels(image, mask * 0.5, {1: "liver"}, spacing=SPACING)


@pytest.mark.parametrize(("label", "message"), [
    (0, "label: 0 is the background"),
    (1.5, r"label: expected an integer, got 1\.5"),
    ("liver", "label: expected an integer, got 'liver'"),
])  # fmt: skip
def test_label(label: Any, message: str, engine: segae.Engine, image: Array, mask: Array) -> None:
    with pytest.raises(segae.ParameterError, match=message):
        engine.score(image, mask, "liver", spacing=SPACING, label=label)


def test_unknown_structure(engine: segae.Engine, image: Array, mask: Array) -> None:
    with pytest.raises(segae.UnknownStructureError, match=r"'livr' .*closest: liver"):
        engine.score(image, mask, "livr", spacing=SPACING)
    with pytest.raises(segae.UnknownStructureError, match="which side: use 'kidney_left' or 'kidney_right'"):
        engine.assess_labels(image, mask, {1: "kidney"}, spacing=SPACING)


@pytest.mark.parametrize(("named", "message"), [
    ({1: "liver", 2: "Liver"}, "structures: liver is named by more than one value"),
    ({0: "background", 1: "liver"}, "structures: 0 is the background; drop its name 'background'"),
    ({1.5: "liver"}, r"structures: expected integer values as keys, got 1\.5"),
    ({"1": "liver"}, "structures: expected integer values as keys, got '1'"),
    (["liver"], r"structures: expected a dict value -> name or a label scheme, got \['liver'\]"),
    ("totalsegmentator", "'totalsegmentator_v1' .*'totalsegmentator_v2'"),
    ("atlas", "'atlas' is not a label scheme"),
])  # fmt: skip
def test_names_of_labels(named: Any, message: str, engine: segae.Engine, image: Array, mask: Array) -> None:
    with pytest.raises(segae.ParameterError, match=message):
        engine.assess_labels(image, mask, named, spacing=SPACING)


def test_errors_are_value_errors_of_one_family() -> None:
    for name in ("VolumeError", "GridMismatchError", "UnknownStructureError", "ModelFileError", "DeviceError"):
        assert issubclass(getattr(segae, name), segae.SegaeError)
    assert issubclass(segae.SegaeError, ValueError)


# Flags


def flags_of(
    image: Array,
    mask: Array,
    structure: str,
    *,
    spacing: tuple[float, float, float] = SPACING,
    truth_fraction: float = 0.0,
    trained: bool = True,
    synthetic: bool = False,
    recipe: Recipe = DENSE_RECIPE,
) -> dict[str, str]:
    """Name -> detail of what the checks say, for a network that finds nothing wrong."""
    volume = volumes.load(mask, "mask", volumes.Geometry(spacing=spacing))
    ct = volumes.load(image, "image", volumes.Geometry(spacing=spacing))
    scan = scan_labels(volume.array, "mask", 1)[1]
    plan = plan_slices(volume.array, scan, recipe, volume.spacing_mm, 1)
    seen, drawn = (frozenset({structure} if yes else ()) for yes in (trained, synthetic))
    card = ModelCard("test", recipe, (structure,), seen, {"dice": "dice"}, synthetic=drawn)
    found = flags.check(
        ct, volume, scan, plan, good_slices(plan, spacing, truth_fraction), structures.get(structure),
        flags.probe_image(ct), card,
    )  # fmt: skip
    assert all(flag.detail.endswith((".", "?")) for flag in found)
    details: dict[str, str] = {}
    for flag in found:
        details[flag.name] = f"{details.get(flag.name, '')} {flag.detail}".strip()
    return details


def good_slices(plan: SlicePlan, spacing: tuple[float, float, float], truth_fraction: float) -> SlicePredictions:
    one = np.ones(len(plan.index))
    pixel_mm2 = spacing[1] * spacing[2]
    return SlicePredictions(
        area_mm2=plan.area * pixel_mm2,
        share_mm=plan.share_mm,
        crop_mm2=(plan.crop[:, 1] - plan.crop[:, 0]) * (plan.crop[:, 3] - plan.crop[:, 2]) * pixel_mm2,
        precision=one,
        recall=one,
        truth_fraction=truth_fraction * one,
    )


@pytest.mark.parametrize("label", phantom.LABELS)
def test_a_clean_case_has_no_flags(label: int, engine: segae.Engine, image: Array) -> None:
    labels = phantom.labelmap()
    assert flags_of(image, (labels == label).astype(np.uint8), phantom.LABELS[label]) == {}
    assert engine.assess(image, labels, phantom.LABELS[label], label=label, spacing=SPACING).flags == ()


@pytest.mark.parametrize(("change", "low"), [
    (lambda hu: (hu + 1024) / 3000.0, "normalised to [0, 1]"),
    (lambda hu: (hu - hu.mean()) / hu.std(), "z-scored"),
    (lambda hu: hu + 1024, "stored with an offset of 1024"),
    (lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255).astype(np.uint8), "windowed to bytes"),
    (lambda hu: np.abs(hu) * 1.5, "MR-like: from 0 up"),
    (np.zeros_like, "constant"),
    (lambda hu: np.full(hu.shape, np.nan), "nothing finite"),
])  # fmt: skip
def test_not_ct(change: Any, low: str, image: Array, mask: Array) -> None:
    assert "not_ct" in flags_of(change(image.astype(np.float64)), mask, "liver"), low


def test_not_ct_says_the_range(image: Array, mask: Array) -> None:
    low, high = np.percentile(image / 2000.0, [1, 99])
    detail = flags_of(image / 2000.0, mask, "liver")["not_ct"]
    assert f"98 % of the image lies between {low:.1f}" in detail
    assert f" and {high:.2f}" in detail


def test_non_finite(image: Array, mask: Array, engine: segae.Engine) -> None:
    broken = image.astype(np.float32)
    y, x = np.argwhere(mask)[:, 1:].mean(0).astype(int)
    index = engine.assess(broken, mask, "liver", spacing=SPACING).slices[3].index
    broken[index, y, x : x + 3] = [np.nan, np.inf, -np.inf]
    assert flags_of(broken, mask, "liver")["non_finite"].startswith("3 voxels")
    result = engine.assess(broken, mask, "liver", spacing=SPACING)
    assert [flag.name for flag in result.flags] == ["non_finite"]
    air = broken.copy()
    air[index, y, x : x + 3] = -1024
    assert result.dice == engine.assess(air, mask, "liver", spacing=SPACING).dice
    far = image.astype(np.float32)
    far[0, 0, 0] = np.nan
    assert flags_of(far, mask, "liver") == {}


@pytest.mark.parametrize(("axis", "end", "words"), [
    (0, 0, "lowest slice"), (0, -1, "highest slice"), (1, 0, "front"), (1, -1, "back"), (2, 0, "right side"),
    (2, -1, "left side"),
])  # fmt: skip
def test_touches_border(axis: int, end: int, words: str, image: Array, mask: Array) -> None:
    at = [20, 28, 20]
    at[axis] = end
    mask[tuple(at)] = 1
    assert flags_of(image, mask, "liver")["touches_border"] == f"The mask reaches the scan's {words}."


def test_fragmented(image: Array, mask: Array) -> None:
    lump = mask.copy()
    lump[2:10, 20:28, 48:56] = 1
    assert flags_of(image, lump, "liver")["fragmented"].startswith("2 separate pieces; ")
    crumb = mask.copy()
    crumb[5, 28, 36] = 1
    assert "fragmented" not in flags_of(image, crumb, "liver")
    assert "fragmented" not in flags_of(image, lump, "colon")


@pytest.mark.parametrize(("label", "name", "side"), [(3, "kidney_right", "left"), (4, "kidney_left", "right")])
def test_wrong_side(label: int, name: str, side: str, image: Array) -> None:
    mask = (phantom.labelmap() == label).astype(np.uint8)
    detail = flags_of(image, mask, name)["wrong_side"]
    assert detail.startswith(f"{name} lies ")
    assert f"mm to the patient's {side} of the body's middle" in detail
    # In a scan that cuts the body's sides the middle is unknown.
    inner = (slice(None), slice(20, 48), slice(15, 57))
    assert "wrong_side" not in flags_of(image[inner], mask[inner], name)


def test_wrong_side_in_a_flipped_array(engine: segae.Engine, image: Array) -> None:
    """Passing an RAS array as if it were LPS is what this flag is for."""
    labels = phantom.labelmap()
    flipped = engine.assess(image[..., ::-1], labels[..., ::-1], "kidney_left", label=3, spacing=SPACING)
    assert "wrong_side" in {flag.name for flag in flipped.flags}


def test_implausible_volume(image: Array, mask: Array) -> None:
    small = np.zeros_like(mask)
    small[18:22, 24:28, 20:24] = 1
    assert flags_of(image, small, "liver")["implausible_volume"].startswith("The mask has 8 ml; a complete adult liver")
    assert "implausible_volume" in flags_of(image, mask, "spleen") or structures.get("spleen").volume_ml[1] > 1000
    cut = mask[20:], image[20:]
    assert "implausible_volume" not in flags_of(cut[1], cut[0], "spleen"), "the scan ends within the structure"


def test_truncated(image: Array, mask: Array) -> None:
    upper = mask.copy()
    upper[:20] = 0
    details = flags_of(image, upper, "liver", truth_fraction=0.4)
    assert "Beyond the mask's lower end about" in details["truncated"]
    assert "truncated" not in flags_of(image, upper, "liver", truth_fraction=0.05)
    assert "truncated" not in flags_of(image[20:], upper[20:], "liver", truth_fraction=0.05)
    at_the_end = flags_of(image[20:], upper[20:], "liver", truth_fraction=0.4)
    assert "lower" not in at_the_end.get("truncated", ""), "nothing can be missed where the scan ends"
    without = replace(DENSE_RECIPE, beyond_mm=())
    assert "truncated" not in flags_of(image, upper, "liver", truth_fraction=0.9, recipe=without)


def test_outside_body(image: Array, mask: Array, engine: segae.Engine) -> None:
    """Half of the mask hangs in the air beside the body: the case of an image flipped against its mask."""
    off = np.roll(mask, -20, axis=1)
    detail = flags_of(image, off, "liver")["outside_body"]
    assert "% of the liver mask lies in the air around the body" in detail
    away = np.zeros_like(mask)
    away[10:20, 1:4, 1:4] = 1
    assert flags_of(image, away, "liver")["outside_body"].startswith("100 %")
    assert "outside_body" in {flag.name for flag in engine.assess(image, away, "liver", spacing=SPACING).flags}


def test_synthetic_only(image: Array, mask: Array) -> None:
    found = flags_of(image, mask, "liver", synthetic=True)
    assert "liver" in found["synthetic_only"]
    assert "untrained_structure" not in found
    assert "synthetic_only" not in flags_of(image, mask, "liver")


def test_untrained_structure(image: Array, mask: Array, engine: segae.Engine) -> None:
    detail = flags_of(image, mask, "liver", trained=False)["untrained_structure"]
    assert detail == "The model never saw liver in training."
    found = engine.assess(image, mask, "vertebrae_L1", spacing=SPACING).flags
    assert "untrained_structure" in {flag.name for flag in found}


# The core, when called past the package's checks: wrong arguments raise, and never crash


def test_core_refuses_whatever_does_not_fit(rng: np.random.Generator) -> None:
    spec = _core.SampleSpec(axis=0, height=4, width=4, channels=[_core.Channel(is_mask=True)])
    calls: list[tuple[Any, list[Any]]] = [
        (_core.scan, [_volume, _threads]),
        (_core.plane_boxes, [_volume, _integer, _vector, _vector, _table, _threads]),
        (_core.sample, [_volume, _volume, lambda _: spec, _vector, _table, _vector, _threads]),
        (_core.overlap, [_volume, _volume, _integer, _integer, _integer, _threads]),
        (_core.surface_counts, [_volume, _volume, _integer, _integer, _triple, _number, _integer, _threads]),
        (_core.squared_distance, [_volume, _triple, _threads]),
        (_core.component_sizes, [_volume, _integer]),
        (lambda *a: _core.Channel(is_mask=False, offset=a[0], low=a[1], high=a[2]), [_integer, _number, _number]),
    ]
    outcomes = {"returned": 0, "raised": 0}
    for _ in range(100):
        for function, makers in calls:
            arguments = [make(rng) for make in makers]
            try:
                function(*arguments)
            except (TypeError, ValueError, IndexError, OverflowError):
                outcomes["raised"] += 1
            else:
                outcomes["returned"] += 1
    assert min(outcomes.values()) > 30


def _volume(rng: np.random.Generator) -> Any:
    odd = [None, "volume", [[[1]]], np.zeros(3), np.zeros((2, 2)), np.zeros((1, 2, 3, 4)), np.zeros((2, 2, 2), complex),
           np.zeros((2, 2, 2), object), np.zeros((2, 2, 2), ">i4"), np.zeros((2, 2, 2), "S3"), np.zeros((0, 2, 2)),
           np.full((2, 3, 4), np.nan), np.zeros((2, 3, 4), np.longdouble)]  # fmt: skip
    if rng.random() < 0.15:
        return odd[rng.integers(len(odd))]
    shape = (2, 3, 4) if rng.random() < 0.8 else tuple(rng.integers(1, 5, 3))
    array = rng.integers(0, 3, shape).astype(rng.choice(["u1", "i2", "f4", "?", "f2", "u8"]))
    return array[:, ::-1] if rng.random() < 0.3 else array


def _threads(rng: np.random.Generator) -> Any:
    return rng.choice([1, 2, 3, 0, -5]).item()


def _integer(rng: np.random.Generator) -> Any:
    return [0, 1, 2, 3, -1, 2**62, -(2**63), 2**64, None, 1.5][rng.choice(10, p=[0.3, 0.3, 0.2, *[0.2 / 7] * 7])]


def _number(rng: np.random.Generator) -> Any:
    return [0.0, 1.0, -1.0, 1e300, float("nan"), float("inf"), "x"][rng.integers(7)]


def _triple(rng: np.random.Generator) -> Any:
    odd = [(1, 1), (0, 1, 1), (1, -1, 1), (1, np.nan, 1), (np.inf, 1, 1), "abc", None]
    return odd[rng.integers(len(odd))] if rng.random() < 0.3 else (1.0, 2.0, 0.5)


def _vector(rng: np.random.Generator) -> Any:
    odd = [np.zeros((2, 2)), None, [2**63 - 1, -(2**63)], [np.nan, 1], [], "ab", [99, -99]]
    return odd[rng.integers(len(odd))] if rng.random() < 0.2 else rng.integers(0, 2, 2)


def _table(rng: np.random.Generator) -> Any:
    odd = [np.zeros((2, 3)), np.zeros(4), [[np.nan] * 4] * 2, [[0, np.inf, 0, 1]] * 2, [[0, 1e300, -1e300, 1]] * 2,
           [[2, 1, 2, 1]] * 2, [[0, 99, 0, 99]] * 2, None, [[-5, 0, -5, 0]] * 2]  # fmt: skip
    return odd[rng.integers(len(odd))] if rng.random() < 0.4 else [[0, 1, 0, 2], [0, 2, 1, 2]]
