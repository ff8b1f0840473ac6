"""What masks, labelmaps and images hold in the field: integers that were stored as something else, and what is no CT.

Seen in public reports: labelmaps saved under an old integer header (nipy/nibabel#1344, nipy/nibabel#1001,
spinalcordtoolbox#3232), masks of 0 and 0.996 (TorchIO#220, spinalcordtoolbox PR#4346), raw values with padding
(lungmask#108, vtk-dicom#173), NaN in answers of a service (FastAPI answers 500).
"""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import phantom
import pytest

import segae
from segae.hu_range import why_no_ct
from segae.whole_numbers import labels_of_numbers, labels_of_stored, mask_of_two

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM
AFFINE = np.diag([-5.0, -5.0, 5.0, 1.0])


def saved(path: Path, array: Array, stored: type[np.generic] | None = None) -> Path:
    """Save [z, y, x] as nibabel does for floats under an integer header: with a slope."""
    image = nib.Nifti1Image(array.T, AFFINE)
    if stored is not None:
        image.header.set_data_dtype(stored)
    nib.save(image, path)
    return path


# Labelmaps and masks


@pytest.mark.parametrize("stored", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("values", [(5, 117), (1, 3), (7, 90), (2, 104)])
def test_labelmap_edited_as_float(
    stored: type[np.generic], values: tuple[int, int], engine: segae.Engine, image: Array, tmp_path: Path
) -> None:
    labels = phantom.labelmap()
    edited = np.where(labels == 1, values[0], np.where(labels == 2, values[1], 0))
    path = saved(tmp_path / "labels.nii.gz", edited.astype(float), stored)
    read = np.unique(nib.load(path).get_fdata())
    ct = saved(tmp_path / "ct.nii.gz", image)
    found = engine.assess_labels(ct, path, {values[0]: "liver", values[1]: "spleen"}, reference=None)
    plain = engine.assess_labels(image, labels, {1: "liver", 2: "spleen"}, spacing=SPACING, reference=None)
    assert {name: entry.dice for name, entry in found.items()} == {name: entry.dice for name, entry in plain.items()}
    # The same array, loaded by the caller: the file's slope is lost, the grid of the values is not.
    handed = engine.assess_labels(
        image, nib.load(path).get_fdata().T, {values[0]: "liver", values[1]: "spleen"}, spacing=SPACING, reference=None
    )
    assert {name: entry.dice for name, entry in handed.items()} == {name: entry.dice for name, entry in plain.items()}
    assert len(read) == 3


@pytest.mark.parametrize(
    "one", [0.99609375, 0.996, 1 / 255, 0.5, 254 / 255, 1 / 65535, float(np.nextafter(np.float32(1), np.float32(0)))]
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_mask_of_two_values(
    one: float, dtype: type[np.floating[Any]], engine: segae.Engine, image: Array, mask: Array
) -> None:
    wanted = engine.score(image, mask, "liver", spacing=SPACING)
    given = mask.astype(dtype) * dtype(one)
    assert engine.score(image, given, "liver", spacing=SPACING) == wanted
    assert engine.score_batch(image, given[None], "liver", spacing=SPACING)[0] == np.float32(wanted)
    assert engine.assess_masks(image, {"liver": given}, spacing=SPACING, reference=None)[0].dice == wanted  # type: ignore[union-attr]
    agreement = segae.measure(given, mask, spacing=SPACING)
    assert (agreement.dice, agreement.precision) == (1.0, 1.0)
    worse = segae.perturb(given, "erode", severity=0.3, spacing=SPACING, seed=1)
    np.testing.assert_array_equal(worse, segae.perturb(mask, "erode", severity=0.3, spacing=SPACING, seed=1))


def test_noise_around_integers(engine: segae.Engine, image: Array, rng: np.random.Generator) -> None:
    labels = phantom.labelmap()
    noisy = labels + (labels > 0) * rng.choice([0, 1e-4, -1e-4, 3e-7], labels.shape)
    found = engine.assess_labels(image, noisy, {3: "kidney_left"}, spacing=SPACING, reference=None)
    plain = engine.assess_labels(image, labels, {3: "kidney_left"}, spacing=SPACING, reference=None)
    assert found["kidney_left"].dice == plain["kidney_left"].dice
    assert found.unnamed == plain.unnamed


@pytest.mark.parametrize("levels", [3, 5, 11, 1000])
def test_soft_masks_stay_refused(levels: int, engine: segae.Engine, image: Array, mask: Array, tmp_path: Path) -> None:
    soft = mask * np.linspace(0, 1, levels)[np.arange(mask.size).reshape(mask.shape) % levels]
    for given in (soft, soft.astype(np.float32)):
        with pytest.raises(segae.VolumeError, match=r"mask: \d+ voxels are no integers .* mask > 0\.5"):
            engine.score(image, given, "liver", spacing=SPACING)
    path = saved(tmp_path / "soft.nii.gz", soft, np.uint8)
    with pytest.raises(segae.VolumeError, match="no integers"):
        engine.score(saved(tmp_path / "ct.nii.gz", image), path, "liver")


def test_what_is_advised_fits_what_came(engine: segae.Engine, image: Array, mask: Array) -> None:
    """No labelmap is cut at 0.5: followed, that makes one structure of all."""
    labels = phantom.labelmap()
    between = (labels + np.roll(labels, 1, 2)) / 2 + 0.2 * (labels > 0)
    with pytest.raises(segae.VolumeError, match="nearest neighbour") as caught:
        engine.assess_labels(image, between, {1: "liver"}, spacing=SPACING)
    assert "> 0.5" not in str(caught.value)
    with pytest.raises(segae.VolumeError, match="look like probabilities of one structure") as caught:
        engine.assess_labels(image, mask * np.linspace(0, 1, 72), {1: "liver"}, spacing=SPACING)
    assert "> 0.5" not in str(caught.value)
    with pytest.raises(segae.VolumeError, match=r"mask: .*nearest neighbour") as caught:
        engine.score(image, between, "liver", spacing=SPACING)
    assert "> 0.5" not in str(caught.value)
    with pytest.raises(segae.VolumeError, match=r"Was the image passed in its place\? A mask is a volume of its own"):
        engine.score(image, image, "liver", spacing=SPACING)


def test_numbers() -> None:
    values = np.array([[[0.0, 5.0006, 117.0]]])
    assert labels_of_numbers(values)[0, 0].tolist() == [0, 5, 117]  # type: ignore[index]
    assert labels_of_numbers(np.array([[[0, 1 / 255, 2 / 255]]])) is None, "nothing may vanish"
    assert labels_of_numbers(np.array([[[-1.0001, 0, 300.0]]])).dtype == np.int16  # type: ignore[union-attr]
    assert labels_of_numbers(np.linspace(0, 9000, 9001).reshape(1, 1, -1)) is None, "no labelmap has so many values"
    assert labels_of_stored(np.array([[[0, 1, 2]]]), 0.4, 0) is None
    assert labels_of_stored(np.array([[[0, 2, 5]]]), 0.4, 0)[0, 0].tolist() == [0, 1, 2]  # type: ignore[index]
    assert labels_of_stored(np.array([[[0, 1, 255]]]), 1117 / 255, 0) is None, "5 or 4? the file does not say"
    assert labels_of_numbers(np.array([[[0, 1117 / 255, 1117]]])) is None
    assert labels_of_stored(np.array([[[0, 1, 3]]]), 2.0, 1)[0, 0].tolist() == [1, 3, 7]  # type: ignore[index]
    assert mask_of_two(np.array([[[0.1, 0.9, 0.9]]]))[0, 0].tolist() == [0, 1, 1]  # type: ignore[index]
    assert mask_of_two(np.array([[[0, 1.5]]])) is None
    assert mask_of_two(np.array([[[-0.5, 0.5]]])) is None


def test_perturb_and_measure_read_as_score_does(mask: Array) -> None:
    for function in (
        lambda m: segae.perturb(m, "erode", severity=0.2, spacing=SPACING),
        lambda m: segae.measure(m, mask, spacing=SPACING),
    ):
        with pytest.raises(segae.VolumeError, match=r"mask: holds the values 255; .*Pass label=255"):
            function(mask * np.uint8(255))
    assert segae.perturb(mask * np.uint8(255), "erode", severity=0.2, spacing=SPACING, label=255).any()
    with pytest.raises(segae.ParameterError, match=r"label: expected an integer, got 1\.5"):
        segae.perturb(mask, "erode", severity=0.2, spacing=SPACING, label=1.5)  # type: ignore[call-overload]


def test_perturb_reads_a_labelmap_as_it_is_stored(tmp_path: Path) -> None:
    labels = phantom.labelmap()
    mask = saved(tmp_path / "mask.nii.gz", (labels == 1).astype(np.uint8))
    stored = saved(tmp_path / "labels.nii.gz", labels * 29.0, np.uint8)  # the slope is 116 / 255
    plain = saved(tmp_path / "plain.nii.gz", labels * np.uint8(29))
    made = [segae.perturb(mask, "swap", severity=0.5, labelmap=path, seed=3) for path in (stored, plain)]
    np.testing.assert_array_equal(*made)


@pytest.mark.slow
def test_audits_read_masks_alike(image: Array, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mask of 0 and 0.996, and one without orientation: scored and drawn as their plain twins."""
    from segae import audit
    from segae.audit.report.page import write_report

    labels = phantom.labelmap()
    for case, scale in (("plain", 1.0), ("stored", 0.996)):
        folder = tmp_path / "data" / case / "segmentations"
        folder.mkdir(parents=True)
        saved(folder.parent / "ct.nii.gz", image)
        for value, name in phantom.LABELS.items():
            saved(folder / f"{name}.nii.gz", ((labels == value) * scale).astype(np.float32))
    content = bytearray(nib.load(folder / "liver.nii.gz").to_bytes())
    content[252:256] = bytes(4)
    (folder / "liver.nii.gz").write_bytes(gzip.compress(bytes(content)))
    audit.run(tmp_path / "data", tmp_path / "out", workers=1)
    rows = {(row.source.split("/")[0], row.structure): row for row in audit.load(tmp_path / "out").masks}
    for name in phantom.LABELS.values():
        assert rows["stored", name].dice == rows["plain", name].dice, rows["stored", name].error
    assert "orientation_assumed" in {flag.name for flag in rows["stored", "liver"].flags}
    write_report(tmp_path / "out")
    assert not [entry.getMessage() for entry in caplog.records if "could not be drawn" in entry.getMessage()]


# Images that are no CT


def raw(hu: Array) -> Array:
    return hu + 1024


NOT_CT = {
    "raw": raw,
    "raw, padded with -2000": lambda hu: padded(raw(hu), -2000),
    "raw, padded with -3024": lambda hu: padded(raw(hu), -3024),
    "raw, padding wrapped": lambda hu: padded(raw(hu), 63536),
    "intercept twice": lambda hu: hu - 1024,
    "inverted": np.negative,
    "inverted and offset": lambda hu: 1000 - hu,
    "tenfold": lambda hu: hu * 10,
    "halved": lambda hu: hu / 2,
    "in thousands": lambda hu: hu / 1000,
    "attenuation": lambda hu: 0.02 * (1 + hu / 1000),
    "standardised": lambda hu: (hu - hu.mean()) / hu.std(),
    "bytes": lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255),
    "PET, SUV": lambda hu: np.abs(hu + 1000) / 100,
    "PET, Bq/ml": lambda hu: np.abs(hu + 1000) * 20,
    "a mask": lambda hu: (hu > 0).astype(float),
}


def padded(hu: Array, value: float) -> Array:
    y, x = np.indices(hu.shape[1:]) - np.array(hu.shape[1:])[:, None, None] / 2
    return np.where(np.hypot(y, x) > 33, value, hu)


@pytest.mark.parametrize("change", NOT_CT)
def test_what_is_no_ct(change: str, engine: segae.Engine, image: Array, mask: Array) -> None:
    given = NOT_CT[change](image.astype(np.float64))
    flags = {flag.name: flag.detail for flag in engine.assess(given, mask, "liver", spacing=SPACING).flags}
    assert flags["not_ct"].endswith("?")
    with pytest.warns(segae.NotCTWarning, match="image: this is no CT in HU") as told:
        engine.score(given, mask, "liver", spacing=SPACING)
    assert len(told) == 1
    assert told[0].filename == __file__
    with pytest.warns(segae.NotCTWarning, match=r"images\[1\]: this is no CT in HU") as told:
        engine.score_batch(np.stack([image, given, given]), np.stack([mask] * 3), "liver", spacing=SPACING)
    assert len(told) == 1


@pytest.mark.parametrize("padding", [-1024, -2000, -2048, -3024, -32768])
def test_padding_is_no_fault(padding: int, engine: segae.Engine, image: Array, mask: Array) -> None:
    given = padded(image.astype(np.int32), padding)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.score(given, mask, "liver", spacing=SPACING)
    assert "not_ct" not in {flag.name for flag in engine.assess(given, mask, "liver", spacing=SPACING).flags}


def test_reasons() -> None:
    assert why_no_ct(np.array([np.nan, np.inf])) == "The image holds no finite value."
    assert why_no_ct(np.full(100, -2000.0)) == "The image holds -2000 and nothing else."


# JSON


@pytest.mark.parametrize("broken", ["empty", "beyond"])
def test_json_holds_no_nan(broken: str, engine: segae.Engine, image: Array, mask: Array) -> None:
    given = mask * (broken != "empty")
    found = engine.assess(image, given, "liver", spacing=SPACING, error_map=broken != "empty")
    text = json.dumps(found.to_dict(), allow_nan=False)
    back = json.loads(text)
    assert back["dice"] == (None if broken == "empty" else found.dice)
    if broken == "beyond":
        assert any(entry["dice"] is None for entry in back["slices"]), "slices beyond the mask have no Dice"
        assert len(back["slices"]) == len(found.slices)
