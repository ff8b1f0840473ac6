"""Files of other worlds: NRRD, MetaImage, ``.seg.nrrd``, DICOM series, DICOM SEG, RTSTRUCT, made here and read back."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import segae
from segae import audit
from segae.cli import main
from segae.containers import kind_of, names_of
from segae.containers.fill import fill
from segae.datasets import find_cases
from segae.demo import SPACING_MM, phantom
from segae.errors import GridMismatchError, ParameterError, VolumeError

sitk = pytest.importorskip("SimpleITK")
pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),  # of those libraries
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]

CT, MASKS = phantom()
CT, MASKS = CT[::3, ::3, ::3], {name: mask[::3, ::3, ::3] for name, mask in MASKS.items()}
Z, Y, X = (3 * mm for mm in SPACING_MM)
ORIGIN = (-100.0, -120.0, 30.0)
Array = np.ndarray


def itk(array: Array) -> Any:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing((X, Y, Z))
    image.SetOrigin(ORIGIN)
    return image


def nifti(array: Array, path: Path) -> Path:
    x, y, z = ORIGIN
    affine = np.array([[-X, 0, 0, -x], [0, -Y, 0, -y], [0, 0, Z, z], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(array.transpose(), affine), path)
    return path


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> segae.Engine:
    return segae.Engine(tiny_model, "cpu", threads=1)


@pytest.fixture(scope="module")
def plain(engine: segae.Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What NIfTI gives, to be reached by every other container."""
    folder = tmp_path_factory.mktemp("plain")
    image = nifti(CT, folder / "ct.nii.gz")
    return {
        name: engine.score(image, nifti(MASKS[name], folder / f"{name}.nii.gz"), name) for name in ("liver", "spleen")
    }


def write_series(folder: Path, series: str = "1.2.3.4", shuffled: bool = True) -> list[Any]:
    """A CT as a scanner writes it: a file a slice, names in no order; returns the headers, from the feet up."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = []
    order = np.random.default_rng(3).permutation(len(CT)) if shuffled else np.arange(len(CT))
    for k, pixels in enumerate(CT):
        d = pydicom.Dataset()
        d.file_meta = pydicom.dataset.FileMetaDataset()
        d.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = f"{series}.{k + 1}"
        d.PatientID, d.PatientName, d.PatientBirthDate, d.PatientSex = "1", "A", "", "O"
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3", series, series + ".9"
        d.StudyID, d.SeriesNumber, d.InstanceNumber = "1", 1, k + 1
        d.StudyDate = d.StudyTime = d.AccessionNumber = d.ReferringPhysicianName = ""
        d.Modality, d.PositionReferenceIndicator = "CT", ""
        d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        d.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + k * Z]
        d.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        d.PixelSpacing, d.SliceThickness = [Y, X], Z
        d.Rows, d.Columns = pixels.shape
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
        d.RescaleSlope, d.RescaleIntercept = 1, -1024
        d.PixelData = (pixels + 1024).astype(np.int16).tobytes()
        d.save_as(folder / f"{order[k]:03d}.dcm", enforce_file_format=True)
        slices.append(d)
    return slices


def write_seg(path: Path, slices: list[Any], masks: dict[str, Array]) -> Path:
    """A DICOM SEG with a binary segment a mask; they may overlap. Empty frames are left out, as is usual."""
    codes = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    segments = [
        highdicom.seg.SegmentDescription(
            number, name, codes, codes, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(masks, 1)
    ]  # fmt: skip
    seg = highdicom.seg.Segmentation(
        slices, np.stack(list(masks.values()), -1).astype(np.uint8), "BINARY", segments,
        "1.2.7.1", 2, "1.2.7.2", 1, "segae", "test", "1", "1",
    )  # fmt: skip
    seg.save_as(path)
    return path


def write_rtstruct(path: Path, slices: list[Any], masks: dict[str, Array]) -> Path:
    """Contours along the edges of pixels: filled again they give the mask back, holes too."""
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = "1.2.8.1"
    d.Modality, d.SeriesInstanceUID = "RTSTRUCT", "1.2.8"
    series = pydicom.Dataset()
    series.SeriesInstanceUID = slices[0].SeriesInstanceUID
    study = pydicom.Dataset()
    study.RTReferencedSeriesSequence = [series]
    frame = pydicom.Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = slices[0].FrameOfReferenceUID, [study]
    d.ReferencedFrameOfReferenceSequence = [frame]
    d.StructureSetROISequence, d.ROIContourSequence = [], []
    for number, (name, mask) in enumerate(masks.items(), 1):
        roi, drawn = pydicom.Dataset(), pydicom.Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for k in np.flatnonzero(mask.any(axis=(1, 2))):
            for row in np.flatnonzero(mask[k].any(axis=1)):  # a strip a row: together they are the slice's mask
                edges = np.flatnonzero(np.diff(np.r_[0, mask[k, row], 0]))
                for begin, end in edges.reshape(-1, 2):
                    corners = [
                        (row - 0.5, begin - 0.5),
                        (row - 0.5, end - 0.5),
                        (row + 0.5, end - 0.5),
                        (row + 0.5, begin - 0.5),
                    ]
                    contour = pydicom.Dataset()
                    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
                    contour.ContourData = [
                        v for y, x in corners for v in (ORIGIN[0] + x * X, ORIGIN[1] + y * Y, ORIGIN[2] + float(k) * Z)
                    ]  # fmt: skip
                    drawn.ContourSequence.append(contour)
        d.StructureSetROISequence.append(roi)
        d.ROIContourSequence.append(drawn)
    empty = pydicom.Dataset()
    empty.ROINumber, empty.ROIName = 99, "Heart"
    d.StructureSetROISequence.append(empty)
    d.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "mhd"])
def test_nrrd_and_metaimage(suffix: str, engine: segae.Engine, plain: dict[str, float], tmp_path: Path) -> None:
    sitk.WriteImage(itk(CT), str(tmp_path / f"ct.{suffix}"))
    sitk.WriteImage(itk(MASKS["liver"].astype(np.uint8)), str(tmp_path / f"liver.{suffix}"))
    found = engine.assess(tmp_path / f"ct.{suffix}", tmp_path / f"liver.{suffix}", "liver")
    assert found.dice == pytest.approx(plain["liver"], abs=1e-6)
    assert "orientation_assumed" not in {flag.name for flag in found.flags}


def test_a_nrrd_without_orientation_is_flagged(engine: segae.Engine, tmp_path: Path) -> None:
    for name, array, kind in (("ct", CT.astype("<i2"), "short"), ("liver", MASKS["liver"].astype(np.uint8), "uchar")):
        sizes = " ".join(map(str, array.shape[::-1]))
        lines = ("NRRD0004", f"type: {kind}", "dimension: 3", f"sizes: {sizes}", f"spacings: {X} {Y} {Z}",
                 "endian: little", "encoding: raw", "", "")  # fmt: skip
        header = "\n".join(lines)
        (tmp_path / f"{name}.nrrd").write_bytes(header.encode() + array.tobytes())
    found = engine.assess(tmp_path / "ct.nrrd", tmp_path / "liver.nrrd", "liver")
    assert "orientation_assumed" in {flag.name for flag in found.flags}


def test_seg_nrrd_brings_its_names(
    engine: segae.Engine, plain: dict[str, float], tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """3D Slicer: segments in one layer are values, in several they may overlap."""
    sitk.WriteImage(itk(CT), str(tmp_path / "ct.nrrd"))
    image = itk((5 * MASKS["liver"] + 7 * MASKS["spleen"]).astype(np.uint8))
    for number, (name, value) in enumerate((("Liver", 5), ("Spleen", 7), ("my lesion", 9))):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_Layer", "0")
    path = tmp_path / "x.seg.nrrd"
    sitk.WriteImage(image, str(path))
    assert names_of(path) == {"Liver": (5,), "Spleen": (7,), "my lesion": (9,)}
    assert engine.score(tmp_path / "ct.nrrd", path, "spleen") == pytest.approx(plain["spleen"], abs=1e-6)
    assert set(engine.assess_labels(tmp_path / "ct.nrrd", path)) == {"liver", "spleen"}
    assert main(["labels", str(tmp_path / "ct.nrrd"), str(path), "--json", "--model", str(tiny_model)]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["spleen"]["dice"] == pytest.approx(plain["spleen"], abs=1e-6)
    assert "my lesion: left out" in told.err


def test_layers_of_a_seg_nrrd_may_overlap(engine: segae.Engine, plain: dict[str, float], tmp_path: Path) -> None:
    both = MASKS["liver"] | MASKS["spleen"]
    layers = [itk(mask.astype(np.uint8)) for mask in (MASKS["liver"], both)]
    image = sitk.Compose(layers)
    for number, name in enumerate(("liver", "spleen")):
        for key, value in (("Name", name), ("LabelValue", "1"), ("Layer", str(number))):
            image.SetMetaData(f"Segment{number}_{key}", value)
    path = tmp_path / "x.seg.nrrd"
    sitk.WriteImage(image, str(path))
    ct = nifti(CT, tmp_path / "ct.nii.gz")
    assert engine.score(ct, path, "liver") == pytest.approx(plain["liver"], abs=1e-6)
    found = engine.assess_labels(ct, path)
    assert found["spleen"].volume_ml == pytest.approx(np.count_nonzero(both) * X * Y * Z / 1000)


@pytest.mark.parametrize("given", ["folder", "files"])
def test_dicom_series(given: str, engine: segae.Engine, plain: dict[str, float], tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    series = tmp_path / "ct" if given == "folder" else sorted((tmp_path / "ct").iterdir())
    mask = nifti(MASKS["liver"], tmp_path / "liver.nii.gz")
    assert engine.score(series, mask, "liver") == pytest.approx(plain["liver"], abs=1e-6)


def test_a_series_that_is_not_whole_is_refused(engine: segae.Engine, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", shuffled=False)
    mask = nifti(MASKS["liver"], tmp_path / "liver.nii.gz")
    (tmp_path / "ct" / "005.dcm").rename(tmp_path / "005.dcm")
    with pytest.raises(VolumeError, match=r"slices are missing.*004.dcm and 006.dcm"):
        engine.score(tmp_path / "ct", mask, "liver")
    write_series(tmp_path / "ct", shuffled=False)
    other = write_series(tmp_path / "other", "1.2.3.5")[0]
    other.save_as(tmp_path / "ct" / "x.dcm", enforce_file_format=True)
    with pytest.raises(VolumeError, match="holds 2 series"):
        engine.score(tmp_path / "ct", mask, "liver")


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_seg, write_rtstruct], ids=["SEG", "RTSTRUCT"])
def test_segmentations_of_a_series(
    write: Any, engine: segae.Engine, plain: dict[str, float], tmp_path: Path, tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    slices = write_series(tmp_path / "ds" / "p1" / "ct")
    both = MASKS["liver"] | MASKS["spleen"]
    masks = {"Liver": MASKS["liver"], "spleen": MASKS["spleen"], "External": both}
    path = write(tmp_path / "ds" / "p1" / "seg.dcm", slices, masks)
    series = tmp_path / "ds" / "p1" / "ct"
    assert names_of(path) == {"Liver": (1,), "spleen": (2,), "External": (3,)}
    assert engine.score(series, path, "liver") == pytest.approx(plain["liver"], abs=1e-6)
    assert engine.score(series, path, "spleen", label=2) == pytest.approx(plain["spleen"], abs=1e-6)
    with pytest.raises(ParameterError, match=r"0 segments .* are called pancreas; .*External \(3\)"):
        engine.score(series, path, "pancreas")
    assert set(engine.assess_labels(series, path)) == {"liver", "spleen"}
    assert main(["labels", str(series), str(path), "--json", "--model", str(tiny_model)]) == 0
    told = capsys.readouterr()
    assert {name: entry["dice"] for name, entry in json.loads(told.out).items()} == pytest.approx(plain, abs=1e-6)
    assert "External: left out" in told.err
    found = find_cases(tmp_path / "ds")
    assert found.layout == "DICOM"
    if find_spec("torch") is not None:  # `segae train` reads what the audit reads
        from segae.train import data

        (case,) = data.cases(tmp_path / "ds", "train")
        scan = data.load(case)
        assert {name: np.isin(scan.labelmap, values).sum() for name, values in scan.parts.items()} == {
            "liver": MASKS["liver"].sum(), "spleen": MASKS["spleen"].sum(),
        }  # fmt: skip
    results = audit.run(tmp_path / "ds", tmp_path / "out", model=tiny_model, workers=1, progress=False).results
    assert {row.structure: row.dice for row in results.masks} == pytest.approx(plain, abs=1e-6)


def test_segments_may_be_named_by_their_codes(tmp_path: Path) -> None:
    """SegmentLabel says "Segment_1"; the property type says what it is."""
    slices = write_series(tmp_path / "ct")
    path = write_seg(tmp_path / "seg.dcm", slices, {"Segment_1": MASKS["liver"], "Segment_2": MASKS["spleen"]})
    header = pydicom.dcmread(path)
    for segment, meaning, side in zip(header.SegmentSequence, ("Liver", "Kidney"), ("", "Left"), strict=True):
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        code.CodeMeaning = meaning
        if side:
            modifier = pydicom.Dataset()
            modifier.CodeValue, modifier.CodingSchemeDesignator, modifier.CodeMeaning = "7771000", "SCT", side
            code.SegmentedPropertyTypeModifierCodeSequence = [modifier]
    header.save_as(path)
    assert names_of(path) == {"Liver": (1,), "Left Kidney": (2,)}


def test_a_segmentation_of_another_scan_is_refused(engine: segae.Engine, tmp_path: Path) -> None:
    slices = write_series(tmp_path / "ct")
    path = write_seg(tmp_path / "seg.dcm", slices, {"liver": MASKS["liver"]})
    affine = np.diag([-X, -Y, Z, 1.0])
    affine[:3, 3] = 100.0, 120.0, 30.0 + 0.3 * Z  # a third of a slice away
    elsewhere = nib.Nifti1Image(CT.transpose(), affine)
    with pytest.raises(GridMismatchError, match="does not lie on the image's grid"):
        engine.score(elsewhere, path, "liver")


def test_fill_is_what_lies_inside() -> None:
    triangle = np.array([(0.5, 0.5), (0.5, 8.5), (8.5, 0.5)])
    rows, columns = np.mgrid[:10, :12]
    expected = (rows > 0.5) & (columns > 0.5) & (rows + columns < 9)
    np.testing.assert_array_equal(fill(triangle, (10, 12)), expected)
    np.testing.assert_array_equal(fill(triangle[::-1] - 3, (10, 12))[:7, :9], expected[3:, 3:])


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sitk.WriteImage(itk(CT), str(tmp_path / "ct.nrrd"))
    slices = write_series(tmp_path / "ct")
    write_rtstruct(tmp_path / "rt.dcm", slices, {"liver": MASKS["liver"]})
    for module in ("SimpleITK", "pydicom", "highdicom"):
        monkeypatch.setitem(sys.modules, module, None)
    for image in (tmp_path / "ct.nrrd", tmp_path / "ct", tmp_path / "rt.dcm"):
        with pytest.raises(VolumeError, match=r"pip install 'segae\[io\]'"):
            segae.score(image, np.zeros((3, 3, 3), np.uint8), "liver")
    assert kind_of(nifti(CT, tmp_path / "ct.nii.gz")) is None


def test_nothing_of_it_is_imported_before_it_is_needed(tmp_path: Path) -> None:
    image, mask = nifti(CT, tmp_path / "ct.nii.gz"), nifti(MASKS["liver"], tmp_path / "liver.nii.gz")
    code = (
        "import sys, segae, nibabel; before = set(sys.modules); "
        "segae.score(sys.argv[1], sys.argv[2], 'liver', device='cpu'); "
        "print({'SimpleITK', 'pydicom', 'highdicom'} & set(sys.modules) - before)"  # nibabel itself looks for pydicom
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(image), str(mask)], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "set()"
