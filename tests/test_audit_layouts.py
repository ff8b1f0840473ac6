"""What `segae audit` makes of datasets, and of what people keep in them. Nothing is read here but names."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import audit_data
import phantom
import pytest

from segae.audit import Case, MaskFile
from segae.datasets import Found, find_cases
from segae.datasets.names import Names
from segae.errors import AuditError, ParameterError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def structures(found: Found) -> dict[str, list[str]]:
    return {case.id: [mask.structure for mask in case.masks] for case in found.cases}


def one_case(found: Found) -> Case:
    assert len(found.cases) == 1
    return found.cases[0]


def test_totalsegmentator(tmp_path: Path) -> None:
    touch(tmp_path, "s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "s1/segmentations/kidney_left.nii.gz", "meta.csv")
    found = find_cases(tmp_path)
    assert found.layout == "TotalSegmentator"
    case = one_case(found)
    assert case.id == "s1"
    assert case.image == tmp_path / "s1/ct.nii.gz"
    assert case.masks == (
        MaskFile("kidney_left", tmp_path / "s1/segmentations/kidney_left.nii.gz", name="kidney_left"),
        MaskFile("liver", tmp_path / "s1/segmentations/liver.nii.gz", name="liver"),
    )


def test_the_folder_of_one_case(tmp_path: Path) -> None:
    found = find_cases(touch(tmp_path / "s1", "ct.nii.gz", "segmentations/liver.nii.gz"))
    assert structures(found) == {"s1": ["liver"]}


def test_abdomenatlas(tmp_path: Path) -> None:
    """Its names mean ours; its combined labels are not read."""
    touch(tmp_path, "BDMAP_1/ct.nii.gz", "BDMAP_1/combined_labels.nii.gz")
    touch(tmp_path / "BDMAP_1/segmentations", "postcava.nii.gz", "gall_bladder.nii.gz")
    found = find_cases(tmp_path)
    assert found.layout == "AbdomenAtlas"
    assert structures(found) == {"BDMAP_1": ["gallbladder", "inferior_vena_cava"]}


def test_cases_of_the_same_name(tmp_path: Path) -> None:
    for part in ("train", "test"):
        touch(tmp_path, f"{part}/s1/ct.nii.gz", f"{part}/s1/segmentations/liver.nii.gz")
    assert list(structures(find_cases(tmp_path))) == ["test/s1", "train/s1"]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a/segmentations/liver.nii.gz", "b/ct.nii.gz", "c/ct.nii.gz", "c/segmentations/liver.nii.gz")
    touch(tmp_path, "c/segmentations/my_lesion.nii.gz", "c/segmentations/kidney.nii.gz")
    found = find_cases(tmp_path)
    assert structures(found) == {"a": ["liver"], "b": [], "c": ["liver"]}
    assert found.cases[0].image is None
    text = "\n".join(found.describe())
    assert "1 cases have no CT:\n    a" in text
    assert "1 cases have no known mask:\n    b" in text
    assert "kidney, 1 times: use 'kidney_left' or 'kidney_right'" in text.replace("\n    ", "\n")
    assert "my_lesion, 1 times" in text


def test_names_are_suggested_and_mapped(tmp_path: Path) -> None:
    touch(tmp_path, *(f"s1/segmentations/{n}.nii.gz" for n in ("livver", "junk", "spleen")), "s1/ct.nii.gz")
    found = find_cases(tmp_path)
    assert structures(found) == {"s1": ["spleen"]}
    assert found.unknown["livver"] == (1, "closest: liver")
    given = tmp_path / "names.json"
    given.write_text(json.dumps({"livver": "Liver", "junk": None}))
    found = find_cases(tmp_path, given)
    assert structures(found) == {"s1": ["liver", "spleen"]}
    assert found.unknown == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": "no such thing"}, "'a' is mapped to 'no such thing'"),
        ("missing.json", "cannot be read"),
        ("btvc", "is no label set and no file.*btcv"),
    ],
)
def test_wrong_names(given: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Names(given)


def test_names_as_values() -> None:
    for given in ({1: "liver", 2: "spleen"}, {"1": "liver", "2": "spleen"}, {"liver": 1, "spleen": 2, "background": 0}):
        assert Names(given).labels == {"liver": (1,), "spleen": (2,)}
    assert Names("totalsegmentator_v2").labels["pancreas"] == (7,)
    assert Names({"a": 1.5}).problems == ["the label 'a': 1.5 is not understood"]


def test_nnunet(tmp_path: Path) -> None:
    found = find_cases(audit_data.write_nnunet(tmp_path), {"Leber": "liver"})
    assert found.layout == "nnU-Net raw"
    assert [case.id for case in found.cases] == ["a", "b"]
    case = found.cases[0]
    assert case.image == tmp_path / "imagesTr/a_0001.nii.gz"  # the channel called CT
    assert {(mask.structure, mask.labels) for mask in case.masks} == {
        ("liver", (1,)),
        ("spleen", (2,)),
        ("kidney_left", (3,)),
        ("kidney_right", (4,)),
        ("vertebrae_L1", (1, 2)),
    }
    assert all(mask.path == tmp_path / "labelsTr/a.nii.gz" and mask.may_be_absent for mask in case.masks)


def test_numbers_that_belong_to_the_name(tmp_path: Path) -> None:
    """AMOS: nnU-Net's dataset.json, but no channel in the file names."""
    touch(tmp_path, *(f"{kind}Tr/amos_{k:04d}.nii.gz" for kind in ("images", "labels") for k in (1, 2)))
    (tmp_path / "dataset.json").write_text('{"modality": {"0": "CT"}, "labels": {"0": "background", "6": "liver"}}')
    found = find_cases(tmp_path)
    assert structures(found) == {"amos_0001": ["liver"], "amos_0002": ["liver"]}
    assert found.cases[0].masks[0].labels == (6,)


def test_decathlon(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{kind}Tr/{dot}liver_{k}.nii.gz" for kind in ("images", "labels") for k in (1, 2) for dot in ("", "._")),
    )
    touch(tmp_path, "imagesTs/liver_9.nii.gz", "imagesTr/liver_3.nii.gz", "labelsTr/liver_4.nii.gz")
    (tmp_path / "dataset.json").write_text(
        json.dumps({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"}})
    )
    found = find_cases(tmp_path)
    assert found.layout == "Medical Segmentation Decathlon"
    assert structures(found) == {"liver_1": ["liver"], "liver_2": ["liver"], "liver_3": [], "liver_4": ["liver"]}
    assert found.cases[3].image is None
    assert list(found.unknown) == ["cancer"]


def test_broken_dataset_json(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(AuditError, match=r"dataset\.json cannot be read"):
        find_cases(tmp_path)


def test_pairs(tmp_path: Path) -> None:
    touch(
        tmp_path, "p1_ct.nii.gz", "p1_liver.nii.gz", "p1_kidney_left.nii.gz", "p2_ct.nii.gz", "p2_seg.nii.gz", "x.nii"
    )
    found = find_cases(tmp_path, {"1": "spleen"})
    assert structures(found) == {"p1": ["kidney_left", "liver"], "p2": ["spleen"]}
    assert found.cases[1].masks[0].labels == (1,)
    assert found.problems == [f"{tmp_path / 'x.nii'}: belongs to no image"]


def test_numbered_pairs(tmp_path: Path) -> None:
    """LiTS."""
    found = find_cases(touch(tmp_path, "volume-12.nii", "segmentation-12.nii"), {1: "liver"})
    assert structures(found) == {"12": ["liver"]}


def test_pairs_whose_values_nobody_names(tmp_path: Path) -> None:
    audit_data.save(phantom.labelmap(), tmp_path / "p_seg.nii.gz")
    audit_data.save(audit_data.image(), tmp_path / "p_ct.nii.gz")
    found = find_cases(tmp_path)
    assert structures(found) == {"p": []}
    assert "say so with --names" in found.problems[0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_table(tmp_path: Path, delimiter: str) -> None:
    table = tmp_path / "list.csv"
    rows = [
        "image,mask,structure,label",
        "a/ct.nii.gz,a/liver.nii.gz,Liver,",
        "a/ct.nii.gz,a/labels.nii.gz,spleen,2",
        "b/ct.nii.gz,b/labels.nii.gz,kidney_left,3+5",
        "b/ct.nii.gz,b/labels.nii.gz,spleen,two",
        "b/ct.nii.gz,,spleen,",
    ]
    table.write_text("\n".join(rows).replace(",", delimiter), encoding="utf-8-sig")
    found = find_cases(table)
    assert structures(found) == {"a": ["liver", "spleen"], "b": ["kidney_left"]}
    assert found.cases[0].masks[1] == MaskFile("spleen", tmp_path / "a/labels.nii.gz", (2,), "spleen")
    assert found.cases[1].masks[0].labels == (3, 5)
    assert [problem.partition(": ")[0][-6:] for problem in found.problems] == ["line 5", "line 6"]


def test_table_of_labelmaps(tmp_path: Path) -> None:
    """Cases of one name stay apart; the table's own names hold."""
    table = tmp_path / "list.csv"
    table.write_text("case,image,labelmap\n,x/1.nii.gz,x/l.nii.gz\n,y/1.nii.gz,y/l.nii.gz\n=z,z.nii,l.nii\n")
    found = find_cases(table, {1: "liver"})
    assert list(structures(found)) == [f"1 ({tmp_path}/x/1.nii.gz)", f"1 ({tmp_path}/y/1.nii.gz)", "=z"]
    assert find_cases(table).problems[0].endswith("no structure, and no --names that tell what the values mean")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "image,structure\n1,2\n"])
def test_table_without_its_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(AuditError, match="needs the columns image and mask"):
        find_cases(tmp_path / "list.csv")


def test_table_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"image,mask\n\xff\xfe,b\n")
    with pytest.raises(AuditError, match="UTF-8"):
        find_cases(tmp_path / "list.csv")


def test_given_cases() -> None:
    cases = [Case("b", Path("b.nii"), (MaskFile("Left Kidney", Path("k.nii")),)), Case("a", None, ())]
    found = find_cases(iter(cases))
    assert structures(found) == {"a": [], "b": ["kidney_left"]}
    assert found.cases[1].masks[0].name == "Left Kidney"
    with pytest.raises(ParameterError, match="two cases have the id 'a'"):
        find_cases([cases[1], cases[1]])
    with pytest.raises(ParameterError, match=r"expected segae\.audit\.Case objects, got str"):
        find_cases(["a"])  # type: ignore[list-item]


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="has no layout that segae knows"):
        find_cases(touch(tmp_path, "readme.txt"))
    with pytest.raises(AuditError, match="cannot be listed"):
        find_cases(tmp_path / "missing")


# What people keep in folders


def test_names_with_spaces_commas_and_umlauts(tmp_path: Path) -> None:
    ids = ["a b", "a,b", "ü é 脾", "=1+1", "<b>&"]
    for case in ids:
        touch(tmp_path, f"{case}/ct.nii.gz", f"{case}/segmentations/liver.nii.gz")
    assert list(structures(find_cases(tmp_path))) == sorted(ids)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path, "s1/ct.nii.gz", "s1/segmentations/liver.nii.gz")
    try:
        (tmp_path / os.fsdecode(b"s\xff")).mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    found = find_cases(tmp_path)
    assert list(structures(found)) == ["s1"]
    assert found.problems == [f"{tmp_path}/s\\xff: the name is not UTF-8; rename it"]


def test_symbolic_links_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "s1/ct.nii.gz", "s1/segmentations/liver.nii.gz")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "again").symlink_to("s1")
    found = find_cases(tmp_path)
    assert len(found.cases) == 1
    assert sum("seen already" in problem for problem in found.problems) == 2


def test_folders_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "s2/ct.nii.gz", "s2/segmentations/liver.nii.gz")
    real = os.scandir

    def scandir(path: Any) -> Any:
        if os.fspath(path).endswith("s1"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may list anything, so rights alone would not do
    found = find_cases(tmp_path)
    assert structures(found) == {"s2": ["liver"]}
    assert found.problems == [f"{tmp_path}/s1: Permission denied"]


@pytest.mark.slow
def test_ten_thousand_cases_in_one_folder(tmp_path: Path) -> None:
    """Names only: no file is opened or asked for its state."""
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    for number in range(10_000):
        for name in (f"imagesTr/c{number:05d}_0000.nii.gz", f"labelsTr/c{number:05d}.nii.gz"):
            os.close(os.open(tmp_path / name, os.O_CREAT))
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}}')
    begin = time.process_time()
    found = find_cases(tmp_path)
    assert time.process_time() - begin < 3
    assert len(found.cases) == 10_000
    assert all(case.image is not None and len(case.masks) == 1 for case in found.cases)
