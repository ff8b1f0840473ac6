"""What public bug reports say of files in data sets, of tables and of moved folders; each test names the thread."""

from __future__ import annotations

import shutil
from pathlib import Path

import audit_data
import nibabel as nib
import numpy as np
import phantom
import pytest

from segae import audit
from segae.cli import main
from segae.datasets import Found, find_cases
from segae.datasets.rows import Rows, whole_numbers
from segae.errors import AuditError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def told(found: Found) -> str:
    return "\n".join(found.describe())


def structures(found: Found) -> dict[str, list[str]]:
    return {case.id: [mask.structure for mask in case.masks] for case in found.cases}


@pytest.mark.parametrize("name", ["CT.nii.gz", "Ct.nii", "image.nii.gz", "imaging.nii.gz"])
def test_the_ct_by_another_name_is_found(tmp_path: Path, name: str) -> None:
    """TotalSegmentator#68, kits19 layout."""
    found = find_cases(touch(tmp_path, f"a/{name}", "a/segmentations/liver.nii.gz"))
    assert found.cases[0].image == tmp_path / "a" / name
    assert (name in told(found)) == (name[0] == "C")


def test_a_folder_that_is_named_like_a_file_is_told(tmp_path: Path) -> None:
    """File managers unpack x.nii.gz into a folder x.nii.gz (MIScnn#7)."""
    touch(tmp_path, "a/ct.nii.gz", "a/segmentations/spleen.nii.gz/spleen.nii", "a/segmentations/liver.nii.gz")
    found = find_cases(tmp_path)
    assert structures(found) == {"a": ["liver"]}
    assert "spleen.nii.gz: a folder that is named like a file" in told(found)


@pytest.mark.parametrize("suffix", ["npy", "npz", "tif", "h5"])
def test_other_formats_are_told(tmp_path: Path, suffix: str) -> None:
    """MIScnn#111."""
    touch(tmp_path, "a/ct.nii.gz", "a/segmentations/liver.nii.gz", f"a/segmentations/spleen.{suffix}")
    assert f"1 files .{suffix} (spleen.{suffix}) are not read; convert them to NIfTI" in told(find_cases(tmp_path))


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("imagesTr/c1_0000.nii.gz", "labelsTr/c1.nii.gz"),  # FLARE22
        ("imagesTs/c1_0000.nii.gz", "predictions/c1.nii.gz"),  # nnU-Net's predictions
        ("img/img0001.nii.gz", "label/label0001.nii.gz"),  # BTCV
        ("images/c1.nii.gz", "masks/c1.nii.gz"),
        ("train/image/c1.nii.gz", "train/label/c1_seg.nii.gz"),
        ("case_00000/imaging.nii.gz", "case_00000/segmentation.nii.gz"),  # KiTS
        ("s1/ct.nii.gz", "s1/segmentations.nii"),  # TotalSegmentator --ml
        ("c1.nii.gz", "c1_seg.nii.gz"),
    ],
)
def test_labelmaps_without_names_say_what_to_do(tmp_path: Path, image: str, label: str) -> None:
    """The layout is known, only the names are not (nnUNet#1482; FLARE22)."""
    audit_data.save(audit_data.image(), _parent(tmp_path / image))
    audit_data.save(phantom.labelmap(), _parent(tmp_path / label))
    found = find_cases(tmp_path)
    assert len(found.cases) == 1
    assert "--names" in told(found)
    with pytest.raises(AuditError, match=r"holds no mask of a known structure.*--names"):
        audit.run(tmp_path, tmp_path / "out")
    found = find_cases(tmp_path, {"1": "liver", "2": "spleen"})
    assert list(structures(found).values()) == [["liver", "spleen"]]
    assert found.cases[0].image == tmp_path / image
    assert found.cases[0].masks[0].path == tmp_path / label


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_predictions_bring_their_own_names(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "imagesTs/a_0000.nii.gz",
        "imagesTs/b_0000.nii.gz",
        "pred/a.nii.gz",
        "pred/b.nii.gz",
        "pred/plans.json",
    )
    touch(tmp_path, "imagesTr/c_0000.nii.gz", "labelsTr/c.nii.gz")
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "spleen": 1}}')
    (tmp_path / "pred/dataset.json").write_text('{"labels": {"background": 0, "liver": 1}}')
    assert structures(find_cases(tmp_path)) == {"c": ["spleen"], "pred/a": ["liver"], "pred/b": ["liver"]}


def test_totalsegmentators_output_by_any_name(tmp_path: Path) -> None:
    """``-o FOLDER`` with a file a structure, and ``--ml -o any.nii.gz`` with names in the header."""
    touch(tmp_path, "a/ct.nii.gz", "a/ts_output/liver.nii.gz", "a/ts_output/spleen.nii.gz")
    audit_data.save(audit_data.image(), _parent(tmp_path / "b/ct.nii.gz"))
    header = (
        b'<CaretExtension><VolumeInformation><LabelTable><Label Key="1"><![CDATA[liver]]></Label></LabelTable>'
        b"</VolumeInformation></CaretExtension>"
    )
    image = nib.Nifti1Image(phantom.labelmap().transpose(), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, header))
    nib.save(image, tmp_path / "b/any.nii.gz")
    found = find_cases(tmp_path)
    assert structures(found) == {"a": ["liver", "spleen"], "b": ["liver"]}
    assert found.cases[1].masks[0].labels == (1,)


def test_what_lies_too_deep_is_told(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a/b/c/d/ct.nii.gz",
        "a/b/c/d/segmentations/liver.nii.gz",
        "e/ct.nii.gz",
        "e/segmentations/liver.nii.gz",
    )
    found = find_cases(tmp_path)
    assert structures(found) == {"e": ["liver"]}
    assert f"{tmp_path / 'a/b/c'}: the folders below it are too deep" in told(found)


def test_kits_is_told_why_it_is_left_out(tmp_path: Path) -> None:
    audit_data.save(audit_data.image(), _parent(tmp_path / "case_00001/imaging.nii.gz"))
    audit_data.save(phantom.labelmap(), tmp_path / "case_00001/segmentation.nii.gz")
    text = told(find_cases(tmp_path))
    assert "kidney, 1 times" in text
    assert "tumor, 1 times" in text


def test_verse(tmp_path: Path) -> None:
    touch(tmp_path, "rawdata/sub-1/sub-1_ct.nii.gz", "derivatives/sub-1/sub-1_seg-vert_msk.nii.gz")
    touch(tmp_path, "derivatives/sub-1/sub-1_seg-vert_snp.png", "rawdata/sub-2/sub-2_ct.nii.gz")
    found = find_cases(tmp_path)
    assert found.layout == "VerSe"
    by_name = {mask.structure: mask.labels for mask in found.cases[0].masks}
    assert by_name["vertebrae_L1"] == (20,)
    assert by_name["vertebrae_C7"] == (7,)
    assert len(by_name) == 25
    assert [case.id for case in found.cases] == ["sub-1", "sub-2"]
    assert {"L6", "T13", "cocygis"} <= set(found.unknown)


def test_han_seg(tmp_path: Path) -> None:
    touch(tmp_path, "set_1/case_01/case_01_IMG_CT.nrrd", "set_1/case_01/case_01_IMG_MR_T1.nrrd")
    touch(tmp_path, *(f"set_1/case_01/case_01_OAR_{name}.seg.nrrd" for name in ("Parotid_L", "SpinalCord", "Eye_AL")))
    found = find_cases(tmp_path)
    assert {key: set(names) for key, names in structures(found).items()} == {
        "set_1/case_01/case_01": {"parotid_left", "spinal_cord"}
    }
    assert "OAR_Eye_AL" in found.unknown
    assert any("MR_T1" in name for name in found.unknown)


def test_masks_of_another_value_are_taken_in_folders(tmp_path: Path, tiny_model: Path) -> None:
    """0 and 255, as image editors write them (nnUNet#1482): a folder cannot say label=255."""
    mask = audit_data.mask("liver").astype(np.uint8)
    for value in (1, 2, 128, 255):
        audit_data.save(audit_data.image(), _parent(tmp_path / f"ds/{value}/ct.nii.gz"))
        audit_data.save(mask * np.uint8(value), _parent(tmp_path / f"ds/{value}/segmentations/liver.nii.gz"))
    found = audit.run(tmp_path / "ds", tmp_path / "out", model=tiny_model, workers=1, progress=False).results
    assert [row.error for row in found.masks] == [None] * 4
    assert len({row.dice for row in found.masks}) == 1


TABLE = "Image,Mask,Structure,Label\nct.nii.gz,a.nii.gz,liver,{0}\nct.nii.gz,b.nii.gz,spleen,{1}\n"


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "None", "<NA>", "NULL"])
@pytest.mark.parametrize("number", ["2", "2.0", " 2 "])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_by_pandas_and_spreadsheets(tmp_path: Path, nothing: str, number: str, delimiter: str) -> None:
    """pandas#20717, #28335."""
    touch(tmp_path, "ct.nii.gz", "a.nii.gz", "b.nii.gz")
    table = tmp_path / "t.csv"
    table.write_text(TABLE.format(nothing, number).replace(",", delimiter), encoding="utf-8-sig")
    found = find_cases(table)
    assert found.problems == []
    assert [mask.labels for mask in found.cases[0].masks] == [(), (2,)]


@pytest.mark.parametrize("name", ["list.xlsx", "ct.nii.gz", "archive.zip"])
def test_a_file_that_is_no_table_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(AuditError, match=r"is no folder, and no table \(.csv, .tsv, .txt\). Save a spreadsheet as CSV"):
        find_cases(touch(tmp_path, name) / name)


def test_excel_names_its_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sep=;\r\nimage;mask\r\n1,5;x\r\n;\r\n", encoding="utf-16")
    rows = Rows(path)
    assert rows.columns == ["image", "mask"]
    assert list(rows) == [(3, {"image": "1,5", "mask": "x"})]
    assert [whole_numbers(cell) for cell in ("", "3", "1+2.0", "2.5", "two")] == [(), (3,), (1, 2), None, None]


def test_files_that_a_table_names_and_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path, "ct/a.nii.gz")
    table = tmp_path / "t.csv"
    table.write_text("image,mask,structure\nct\\a.nii.gz,none.nii.gz,liver\n")
    assert main(["audit", str(table), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "taken as ct/a.nii.gz" in told
    assert "1 files are not there" in told
    assert f"line 2: no such file: {tmp_path / 'none.nii.gz'}" in told


@pytest.mark.parametrize("way", ["link", "dots", "moved"])
def test_a_dataset_is_what_it_holds(tmp_path: Path, way: str, tiny_model: Path) -> None:
    """A run goes on when the dataset is reached by another path: nothing is scored again, and rows follow."""
    dataset, out = tmp_path / "ds", tmp_path / "out"
    for case in ("s1", "s2"):
        audit_data.write_case(dataset / case, ("liver",))
    assert audit.run(dataset, out, model=tiny_model, workers=1, progress=False).scored == 2
    other = {"link": tmp_path / "link", "dots": tmp_path / "ds" / "s1" / ".." / ".." / "ds", "moved": tmp_path / "new"}[
        way
    ]
    if way == "link":
        other.symlink_to(dataset)
    elif way == "moved":
        dataset.rename(other)
    again = audit.run(other, out, model=tiny_model, workers=1, progress=False)
    assert (again.scored, again.unchanged) == (0, 2)
    assert all(Path(row.mask).samefile(other / row.source) for row in again.results.masks)
    if way == "moved":
        shutil.rmtree(other / "s1")
        assert audit.run(other, out, model=tiny_model, workers=1, progress=False).gone == 1
