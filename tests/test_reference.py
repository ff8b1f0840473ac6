"""References: the user's own and the built-in one, compared, weighed, doubted."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import phantom
import pytest
import tiny_models

import segae
from segae import volume as volumes
from segae.cli import main
from segae.errors import GridMismatchError, ModelFileError, ParameterError, VolumeError
from segae.masks import scan_labels
from segae.reference import network
from segae.reference.builtin import BuiltInReference
from segae.reference.comparison import ReferenceComparison
from segae.reference.fusion import Weights, fuse, table, usual_overlap
from segae.reference.network import ReferenceNetwork, built_in_network
from segae.reference.opinion import SecondOpinion

AFFINE = np.diag([-5.0, -5.0, 5.0, 1.0])  # arrays [x, y, z] in LPS
SPACING = phantom.SPACING_MM


@pytest.fixture
def labels() -> phantom.Array:
    return phantom.labelmap()


@pytest.fixture
def quiet_image() -> phantom.Array:
    """The phantom without noise, so that brightness tells the organs apart."""
    return phantom.image(_NoNoise())  # type: ignore[arg-type]


class _NoNoise:
    def normal(self, _mean: float, _sigma: float, shape: tuple[int, ...]) -> phantom.Array:
        return np.zeros(shape)


@pytest.fixture
def built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that tells the phantom's organs by their brightness, in place of the one in the package."""
    tiny_models.write_reference(tmp_path / "reference.onnx")
    monkeypatch.setattr(network, "_FILE", tmp_path / "reference.onnx")
    network.built_in_network.cache_clear()
    yield
    network.built_in_network.cache_clear()


def _moved(labels: phantom.Array, rows: int) -> phantom.Array:
    return np.roll(labels, rows, axis=1)


def _save(array: phantom.Array, path: Path) -> Path:
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), AFFINE), path)
    return path


# ----------------------------------------------------------------------------------------- the user's own


def test_agreement_is_what_measure_says(engine: segae.Engine, image: phantom.Array, labels: phantom.Array) -> None:
    reference = _moved(labels, 2)
    found = engine.assess_labels(
        image, labels, phantom.LABELS, spacing=SPACING, reference=reference, reference_reliability={"liver": 0.9}
    )
    for value, name in phantom.LABELS.items():
        truth = segae.measure((labels == value), (reference == value), spacing=SPACING)
        seen = found[name].reference
        assert seen is not None
        assert (seen.dice, seen.precision, seen.recall, seen.nsd) == pytest.approx(
            (truth.dice, truth.precision, truth.recall, truth.nsd)
        )
        assert seen.volume_ml == pytest.approx((reference == value).sum() * 0.125)
        assert seen.reliability == (0.9 if name == "liver" else 0.85)
        by_slice = dict(zip(seen.slice_index, seen.slice_dice, strict=True))
        filled = {z: d for z, d in enumerate(truth.slice_dice) if not np.isnan(d)}
        assert by_slice == pytest.approx(filled)
        assert found[name].reference_dice == seen.dice
        json.dumps(found[name].to_dict())


def test_the_verdict_is_drawn_from_both(engine: segae.Engine, image: phantom.Array, labels: phantom.Array) -> None:
    alone = engine.assess_labels(image, labels, phantom.LABELS, spacing=SPACING, reference=None)
    # Slightly grown: not the mask itself, but in agreement with it.
    good = labels.copy()
    good[:, 1:][(labels[:, 1:] == 0) & (labels[:, :-1] > 0)] = labels[:, :-1][
        (labels[:, 1:] == 0) & (labels[:, :-1] > 0)
    ]
    agreed = engine.assess_labels(image, labels, phantom.LABELS, spacing=SPACING, reference=good)
    apart = engine.assess_labels(image, labels, phantom.LABELS, spacing=SPACING, reference=_moved(labels, 6))
    for name in phantom.LABELS.values():
        assert alone[name].reference is None
        assert alone[name].judge_dice == alone[name].dice
        assert agreed[name].judge_dice == alone[name].judge_dice
        assert agreed[name].dice > apart[name].dice
        low, high = agreed[name].dice_interval or (1, 0)
        assert low <= agreed[name].dice <= high


def test_the_error_map_shows_the_reference(
    engine: segae.Engine, image: phantom.Array, labels: phantom.Array, tmp_path: Path
) -> None:
    reference = _moved(labels, 3)
    found = engine.assess_labels(
        _save(image, tmp_path / "ct.nii.gz"), _save(labels, tmp_path / "labels.nii.gz"), phantom.LABELS,
        reference=_save(reference, tmp_path / "theirs.nii.gz"), error_map=True,
    )  # fmt: skip
    for value, name in phantom.LABELS.items():
        for score in found[name].slices:
            assert score.reference is not None
            plane = score.reference.on_slice((phantom.SHAPE[2], phantom.SHAPE[1]))
            assert np.allclose(plane.T, reference[score.index] == value, atol=1e-5)
    json.dumps(found["liver"].to_dict())


def test_one_structure_from_a_labelmap(engine: segae.Engine, image: phantom.Array, labels: phantom.Array) -> None:
    found = engine.assess(
        image, labels == 3, "kidney_left", spacing=SPACING, reference=_moved(labels, 1), reference_label=3
    )
    assert found.reference_dice == segae.measure(labels == 3, _moved(labels, 1) == 3, spacing=SPACING).dice
    with pytest.raises(VolumeError, match="reference: holds the values"):
        engine.assess(image, labels == 3, "kidney_left", spacing=SPACING, reference=_moved(labels, 1))


def test_masks_one_by_one(engine: segae.Engine, image: phantom.Array, labels: phantom.Array, tmp_path: Path) -> None:
    ct = _save(image, tmp_path / "ct.nii.gz")
    masks = {
        name: _save((labels == value).astype(np.uint8), tmp_path / f"{name}.nii.gz")
        for value, name in phantom.LABELS.items()
    }
    theirs = _save(_moved(labels, 1), tmp_path / "theirs.nii.gz")
    as_map = engine.assess_masks(ct, masks, reference=theirs, reference_names=phantom.LABELS)
    each = {
        name: _save((_moved(labels, 1) == value).astype(np.uint8), tmp_path / f"r_{name}.nii.gz")
        for value, name in phantom.LABELS.items()
    }
    as_files = engine.assess_masks(ct, masks, reference=each)
    both = engine.assess_labels(ct, _save(labels, tmp_path / "all.nii.gz"), phantom.LABELS, reference=theirs)
    for a, b, c in zip(as_map, as_files, both.values(), strict=True):
        assert isinstance(a, segae.Assessment)
        assert isinstance(b, segae.Assessment)
        assert a.reference == b.reference == c.reference


def test_other_names_and_missing_structures(
    engine: segae.Engine, image: phantom.Array, labels: phantom.Array, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = np.where(_moved(labels, 1) == 2, 7, 0).astype(np.uint8)
    with caplog.at_level(logging.WARNING, "segae"):
        found = engine.assess_labels(
            image, labels, phantom.LABELS, spacing=SPACING, reference=theirs, reference_names={7: "Spleen"}
        )
    assert found["spleen"].reference is not None
    assert found["liver"].reference is None
    assert found["liver"].dice == found["liver"].judge_dice
    assert len([r for r in caplog.records if "judge alone" in r.message]) == 1


def test_another_patient_is_told_once(engine: segae.Engine, image: phantom.Array, labels: phantom.Array) -> None:
    theirs = np.roll(labels, 20, axis=0)
    found = engine.assess_labels(image, labels, phantom.LABELS, spacing=SPACING, reference=theirs)
    told = [flag.name for entry in found.values() for flag in entry.flags if flag.name.startswith("reference")]
    assert told == ["reference_elsewhere"]
    assert all(entry.dice == entry.judge_dice for entry in found.values())


def test_a_mirrored_reference(engine: segae.Engine, image: phantom.Array, labels: phantom.Array) -> None:
    found = engine.assess_labels(image, labels, phantom.LABELS, spacing=SPACING, reference=labels[:, :, ::-1])
    told = [flag.name for entry in found.values() for flag in entry.flags if flag.name.startswith("reference")]
    assert told == ["reference_mirrored"]
    assert all(entry.dice == entry.judge_dice for entry in found.values())


def test_the_mask_as_its_own_reference(
    engine: segae.Engine, image: phantom.Array, labels: phantom.Array, tmp_path: Path
) -> None:
    ct, mask = _save(image, tmp_path / "ct.nii.gz"), _save(labels, tmp_path / "mask.nii.gz")
    with pytest.raises(ParameterError, match="reference: it is the mask itself"):
        engine.assess_labels(ct, mask, phantom.LABELS, reference=str(mask))
    with pytest.raises(ParameterError, match="reference: it is the mask itself"):
        engine.assess_labels(image, labels, phantom.LABELS, spacing=SPACING, reference=labels)
    copied = engine.assess_labels(image, labels, phantom.LABELS, spacing=SPACING, reference=labels.copy())
    told = [flag.name for entry in copied.values() for flag in entry.flags if flag.name.startswith("reference")]
    assert told == ["reference_is_mask"]
    assert all(entry.dice == entry.judge_dice for entry in copied.values())


def test_another_grid(engine: segae.Engine, image: phantom.Array, labels: phantom.Array, tmp_path: Path) -> None:
    ct, mask = _save(image, tmp_path / "ct.nii.gz"), _save(labels, tmp_path / "mask.nii.gz")
    moved = nib.Nifti1Image(labels.transpose(2, 1, 0)[:, 3:], AFFINE @ _shift(0, 3, 0))
    nib.save(moved, tmp_path / "cut.nii.gz")
    with pytest.raises(GridMismatchError, match="resample_reference=True"):
        engine.assess_labels(ct, mask, phantom.LABELS, reference=tmp_path / "cut.nii.gz")
    found = engine.assess_labels(ct, mask, phantom.LABELS, reference=tmp_path / "cut.nii.gz", resample_reference=True)
    # Nothing of the phantom lies in the rows that were cut off.
    assert all(entry.reference_dice == 1 for entry in found.values())


def _shift(x: int, y: int, z: int) -> phantom.Array:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def test_reliability_out_of_range(engine: segae.Engine, image: phantom.Array, labels: phantom.Array) -> None:
    for wrong in (0, 1.5, {"liver": "good"}):
        with pytest.raises(ParameterError, match="reference_reliability"):
            engine.assess_labels(
                image, labels, phantom.LABELS, spacing=SPACING, reference=_moved(labels, 1),
                reference_reliability=wrong,  # type: ignore[arg-type]
            )  # fmt: skip


# ----------------------------------------------------------------------------------------- the built-in one


@pytest.mark.usefixtures("built_in")
def test_built_in_finds_the_phantoms_organs(
    engine: segae.Engine, quiet_image: phantom.Array, labels: phantom.Array
) -> None:
    found = engine.assess_labels(quiet_image, labels, phantom.LABELS, spacing=SPACING, reference="built-in")
    assert found["kidney_right"].reference is None  # the network may not speak for it
    for name in ("liver", "spleen", "kidney_left"):
        seen = found[name].reference
        assert seen is not None
        assert seen.source == "built-in"
        assert seen.dice > 0.8
        assert seen.volume_ml == pytest.approx(found[name].volume_ml, rel=0.3)


@pytest.mark.usefixtures("built_in")
def test_built_in_sees_a_missing_end(engine: segae.Engine, quiet_image: phantom.Array, labels: phantom.Array) -> None:
    half = labels.copy()
    half[: phantom.SHAPE[0] // 2] = 0
    whole = engine.assess(quiet_image, labels == 1, "liver", spacing=SPACING, reference="built-in")
    cut = engine.assess(quiet_image, half == 1, "liver", spacing=SPACING, reference="built-in")
    assert cut.reference is not None
    assert whole.reference is not None
    assert cut.reference.recall < 0.65 < whole.reference.recall
    assert cut.dice < whole.dice
    # The slices that the mask lacks are among those that were compared.
    assert min(cut.reference.slice_index) == min(whole.reference.slice_index)


@pytest.mark.usefixtures("built_in")
def test_a_mask_outside_of_the_body(engine: segae.Engine, quiet_image: phantom.Array, labels: phantom.Array) -> None:
    mask = np.zeros_like(labels)
    mask[15:20, :3, :3] = 1
    found = engine.assess(quiet_image, mask, "liver", spacing=SPACING, reference="built-in")
    assert found.reference is not None
    assert found.reference.dice == 0
    again = engine.assess(quiet_image, labels == 1, "liver", spacing=SPACING, reference="built-in")
    assert again.reference_dice > 0.8


@pytest.mark.usefixtures("built_in")
def test_auto_is_for_the_judge_in_the_package(
    engine: segae.Engine, quiet_image: phantom.Array, labels: phantom.Array
) -> None:
    assert engine.assess(quiet_image, labels == 1, "liver", spacing=SPACING, reference="auto").reference is None


def test_a_file_that_is_no_reference_network(tiny_model: Path) -> None:
    with pytest.raises(ModelFileError, match="no reference network"):
        ReferenceNetwork(tiny_model, "cpu")


@pytest.mark.usefixtures("built_in")
def test_expect_writes_what_the_network_sees(
    quiet_image: phantom.Array, labels: phantom.Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct = _save(quiet_image, tmp_path / "ct.nii.gz")
    assert main(["expect", str(ct), "-o", str(tmp_path / "out.nii.gz"), "--device", "cpu"]) == 0
    written = nib.load(tmp_path / "out.nii.gz")
    assert np.allclose(written.affine, AFFINE)
    expected = np.asarray(written.dataobj).transpose(2, 1, 0)
    liver = expected == segae.structures.get("liver").id
    assert segae.measure(liver, labels == 1, spacing=SPACING).dice > 0.8
    assert not (expected == segae.structures.get("kidney_right").id).any()
    told = capsys.readouterr().out
    assert "liver" in told
    assert "for comparison only" in told


# ----------------------------------------------------------------------------------------- weighing


def _comparison(dice: float, reliability: float = 0.9) -> ReferenceComparison:
    nan = float("nan")
    return ReferenceComparison("given", dice, dice, dice, nan, 1.0, reliability, False, (), (), ())


@pytest.mark.parametrize("source", ["given", "built-in"])
def test_more_overlap_is_never_worse(source: str) -> None:
    for weights in table()[source].values():
        for judge in (0.1, 0.5, 0.9):
            said = [fuse("liver", judge, _comparison(d), weights).dice for d in np.linspace(0, 1, 21)]
            assert (np.diff(said) >= 0).all()
            assert said[-1] > said[0] + 0.2


def test_trust_decides_who_is_heard() -> None:
    weights = Weights(offset=0.0, overlap=0.8, judge=0.2, error=0.05, error_apart=0.2)
    said = [fuse("liver", 0.9, _comparison(0.2, r), weights).dice for r in (0.3, 0.6, 0.7, 0.95)]
    assert said[0] == pytest.approx(0.9)
    assert (np.diff(said) < 0).all()


def test_the_interval_narrows_where_both_agree() -> None:
    weights = Weights(offset=0.0, overlap=0.8, judge=0.2, error=0.05, error_apart=0.2)
    widths = []
    for judge in (0.8, 0.5):
        low, high = fuse("liver", judge, _comparison(0.72), weights).interval
        widths.append(high - low)
    assert widths[0] < widths[1]


def test_identical_masks_are_not_heard() -> None:
    same = replace(_comparison(1.0), identical=True)
    assert fuse("liver", 0.4, same).dice == pytest.approx(0.4)


def test_weights_were_fitted_for_the_models_in_the_package() -> None:
    """Another judge, or another reference network, asks for `python -m segae_lab.reference.fuse` again."""
    models = Path(segae.__file__).parent / "models"
    fitted = json.loads((Path(segae.__file__).parent / "reference" / "fusion.json").read_text())
    for key, name in (("judge", "default.onnx"), ("network", "reference.onnx")):
        assert fitted[key] == hashlib.sha256((models / name).read_bytes()).hexdigest(), name


@pytest.mark.usefixtures("built_in")
def test_few_masks_do_not_show_whether_the_built_in_reference_fits(
    engine: segae.Engine, quiet_image: phantom.Array, labels: phantom.Array
) -> None:
    """Two comparisons are not heard where three are asked for; the judge's words stay as they are."""
    ct = volumes.load(quiet_image, "image", volumes.Geometry(spacing=SPACING))
    mask = volumes.load(labels, "mask", volumes.Geometry(spacing=SPACING))
    scans = scan_labels(mask.array, "mask", 1)
    told = engine.assess_labels(quiet_image, labels, phantom.LABELS, spacing=SPACING, reference=None)
    for least, heard in ((2, True), (3, False)):
        opinion = SecondOpinion(BuiltInReference(ct, built_in_network("cpu"), 1), least)
        looked = [opinion.look(mask, scans[value], name) for value, name in ((1, "liver"), (2, "spleen"))]
        found = opinion.conclude([(told[entry.structure], entry) for entry in looked])
        assert all((entry.reference is not None) == heard for entry in found)


def test_usual_overlap() -> None:
    assert usual_overlap([], 0.85) == 0.85
    assert usual_overlap([0.95] * 3, 0.85) == pytest.approx(0.85 + 3 / 8 * 0.1)
    assert usual_overlap([0.95] * 60 + [0.1] * 40, 0.85) == pytest.approx(0.945, abs=0.01)
