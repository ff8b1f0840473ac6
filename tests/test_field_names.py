"""What public bug reports say of names, vocabularies and tables of labels; each test names the thread it stems from."""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import audit_data
import nibabel as nib
import numpy as np
import phantom
import pytest

from segae import structures
from segae.cli import main
from segae.datasets import find_cases
from segae.datasets.names import Names
from segae.errors import ParameterError, UnknownStructureError
from segae.label_names import read_header, read_table
from segae.vocabularies import recognise, unanimous, vocabularies

ROWS = list(csv.DictReader((files("segae") / "vocabularies.csv").read_text(encoding="utf-8").splitlines()))

# Labels for which a structure of the registry would be wrong: part of it, more than it, both sides, or something else.
NOT_OURS = (
    "prostate/uterus", "Head_of_femur_L", "adrenal", "kidney", "tumor", "Esophagus_S", "Larynx_SG", "Eye_AL", "Glottis",
    "hepatic_vessel", "L6", "T13", "cocygis", "vertebrae_L6", "Psoas major muscle R", "Femur_Head_L", "V_Portal",
    "Bowel_Large", "optic_nerve_left", "nasal_cavity_left", "lung_nodules", "Cervical esophagus", "Carotid artery L",
)  # fmt: skip


def test_no_row_contradicts_the_registry() -> None:
    for row in ROWS:
        assert row["source"].startswith("https://"), row
        if row["structure"]:
            assert row["structure"] in structures.names(), row
            assert structures.get(row["name"]).name == row["structure"], row


def test_what_is_no_structure_of_ours_is_left_out() -> None:
    assert {row["name"] for row in ROWS if not row["structure"]} >= set(NOT_OURS)
    for name in NOT_OURS:
        assert name not in unanimous()
        with pytest.raises(UnknownStructureError):
            structures.meaning_in_dataset(name)


# Facts looked up by hand in the public sources, a few of every vocabulary.
ANCHORS = {
    "btcv": {1: "spleen", 8: "aorta", 10: "portal_vein_and_splenic_vein", 13: "adrenal_gland_left"},
    "amos22": {2: "kidney_right", 6: "liver", 9: "inferior_vena_cava", 14: "urinary_bladder"},
    "flare22": {1: "liver", 2: "kidney_right", 3: "spleen", 7: "adrenal_gland_right", 13: "kidney_left"},
    "word": {1: "liver", 3: "kidney_left", 4: "kidney_right", 11: "small_bowel", 13: "rectum"},
    "chaos_ct": {255: "liver"},
    "chaos_mr": {63: "liver", 126: "kidney_right", 189: "kidney_left", 252: "spleen"},
    "han_seg": {4: "mandible", 27: "parotid_left", 28: "parotid_right", 30: "spinal_cord"},
    "cads_554": {1: "humerus_left", 16: "gluteus_minimus_left", 19: "autochthon_right"},
    "cads_555": {1: "rib_left_1", 13: "rib_right_1", 24: "rib_right_12"},
    "visceral": {58: "liver", 1302: "lung_right", 29193: "vertebrae_L1", 29662: "kidney_right"},
    "verse": {1: "vertebrae_C1", 8: "vertebrae_T1", 19: "vertebrae_T12", 20: "vertebrae_L1", 26: "sacrum"},
    "abdomenatlas_1_0": {1: "aorta", 7: "inferior_vena_cava", 9: "stomach"},
    "abdomenatlas_1_1": {2: "gallbladder", 13: "celiac_trunk", 20: "small_bowel", 25: "rectum"},
    "totalsegmentator_v3": {25: "sacrum", 27: "vertebrae_L5", 79: "spinal_cord", 117: "costal_cartilages"},
    "totalsegmentator_heartchambers_highres": {1: "heart_myocardium", 3: "heart_ventricle_left", 7: "pulmonary_artery"},
}  # fmt: skip
WITHOUT = {
    "verse": (25, 27, 28),
    "word": (12, 15, 16),
    "amos22": (15,),
    "totalsegmentator_v3": (26,),
    "han_seg": (11, 22),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_numbers_of_public_data_sets(name: str) -> None:
    labels = structures.labels(name)
    assert ANCHORS[name].items() <= labels.items()
    assert not labels.keys() & set(WITHOUT.get(name, ()))


@pytest.mark.parametrize(
    ("name", "meaning"),
    {
        "gall": "gallbladder", "eso": "esophagus", "sto": "stomach", "rad": "adrenal_gland_right",
        "veins": "portal_vein_and_splenic_vein", "RK": "kidney_right", "LK": "kidney_left",
        "OAR_Parotid_R": "parotid_right", "OAR_Brainstem": "brainstem",
        "Gluteus medius muscle R": "gluteus_medius_right",
        "Deep muscle of back L": "autochthon_left", "second thoracic vertebra": "vertebrae_T2",
        "A_Carotid_R": "common_carotid_artery_right", "V. cava superior": "superior_vena_cava",
        "KidneyR": "kidney_right", "ParotidL": "parotid_left",
    }.items(),
)  # fmt: skip
def test_names_that_people_say(name: str, meaning: str) -> None:
    """FLARE22, AMOS22, CADS, HaN-Seg, VISCERAL; nnUNet#1952."""
    assert structures.get(name).name == meaning


@pytest.mark.parametrize(
    "name", ["T1", "t2", "T12", "L1", "C2", "S1", "Th1", "atlas", "axis", "LA", "RV", "lad", "rad", "RK"]
)
def test_abbreviations_are_no_names_of_files(tmp_path: Path, name: str) -> None:
    """T1 beside a CT is an MR sequence, LAD an artery (nnUNet#1481, #2651)."""
    for file in ("ct", f"segmentations/{name}", "segmentations/liver"):
        path = tmp_path / "s1" / f"{file}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_cases(tmp_path)
    assert [mask.structure for mask in found.cases[0].masks] == ["liver"]
    assert "if it is meant" in found.unknown[name][1]
    assert len(find_cases(tmp_path, {name: structures.get(name).name}).cases[0].masks) == 2


def test_a_vocabulary_counts_where_a_data_set_uses_it_whole(tmp_path: Path) -> None:
    (tmp_path / "s1/segmentations").mkdir(parents=True)
    (tmp_path / "s1/ct.nii.gz").touch()
    for name in ("L1", "L2", "L3", "L4", "L5", "L6"):
        (tmp_path / f"s1/segmentations/{name}.nii.gz").touch()
    found = find_cases(tmp_path)
    assert [mask.structure for mask in found.cases[0].masks] == [f"vertebrae_L{k}" for k in range(1, 6)]
    assert "L6" in found.unknown
    assert "btcv" in {vocabulary.name for vocabulary in recognise(vocabularies()["btcv"].meanings)}
    assert recognise(["liver", "T1", "T2"]) == []


def test_abbreviations_may_name_labels_and_what_a_person_says(tmp_path: Path) -> None:
    assert [mask.structure for mask in Names({"1": "T1", "2": "LA"}).parts(tmp_path, {"T1": (1,), "LA": (2,)})] == [
        "vertebrae_T1", "heart_atrium_left",
    ]  # fmt: skip
    assert Names().parts(tmp_path, {"lad": (1,), "liver": (2,)})[0].structure == "liver"
    (tmp_path / "t.csv").write_text("image,mask,structure\nct.nii.gz,a.nii.gz,T1\nct.nii.gz,b.nii.gz,RK\n")
    found = find_cases(tmp_path / "t.csv")
    assert [mask.structure for mask in found.cases[0].masks] == ["vertebrae_T1", "kidney_right"]


def test_a_vocabulary_chosen_by_name() -> None:
    names = Names("flare22")
    assert names.labels["RK"] == (2,)
    assert names.structure("RK") == "kidney_right"
    assert Names("tg263").structure("A_Carotid_L") == "common_carotid_artery_left"
    with pytest.raises(ParameterError, match=r"no label set and no file.*flare22"):
        Names("flare99")


@pytest.mark.parametrize(
    ("table", "labels"),
    [
        (
            {"labels": {"background": 0, "liver": [1, 2], "spleen": 2}},
            {"liver": (1, 2), "spleen": (2,)},
        ),  # nnUNet regions
        ({"1": "liver", "2": None, "0": "background"}, {"liver": (1,)}),
        ({"liver": "1", "spleen": 2.0, "x": True}, {"liver": (1,), "spleen": (2,)}),
        ({"1.0": "liver", "2": "liver"}, {"liver": (1, 2)}),
    ],
)
def test_tables_of_labels(table: dict[str, Any], labels: dict[str, tuple[int, ...]]) -> None:
    assert read_table(table).labels == labels


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "names.json"
    path.write_text('{"1": "liver", "2": null}', encoding=encoding)
    assert read_table(path).labels == {"liver": (1,)}
    assert read_table(path).silent == {2}


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    audit_data.save(audit_data.image(), tmp_path / "ct.nii.gz")
    audit_data.save(phantom.labelmap(), tmp_path / "labels.nii.gz")
    return tmp_path


def labels(scan: Path, model: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, set[str], str]:
    code = main(
        ["labels", str(scan / "ct.nii.gz"), str(scan / "labels.nii.gz"), "--json", "--model", str(model), *more]
    )
    told = capsys.readouterr()
    return code, set(json.loads(told.out)) if code == 0 else set(), told.err


@pytest.mark.parametrize("other", ["prostate/uterus", "ignore", "liver_tumor", "lung_vessels", "lad"])
def test_one_unknown_name_does_not_end_all(
    scan: Path, tiny_model: Path, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """AMOS22 dataset.json; nnUNet#1952."""
    (scan / "d.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "spleen": 2, other: 3}}))
    code, found, told = labels(scan, tiny_model, capsys, "--names", str(scan / "d.json"))
    assert (code, found) == (0, {"liver", "spleen"})
    assert f"{other}: left out" in told


def test_regions_are_unions(scan: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scan / "d.json").write_text(json.dumps({"labels": {"liver": [1, 2], "spleen": 2}, "regions_class_order": [1, 2]}))
    main(["labels", str(scan / "ct.nii.gz"), str(scan / "labels.nii.gz"), "--names", str(scan / "d.json"), "--json",
          "--model", str(tiny_model)])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    whole = phantom.labelmap()
    each = np.count_nonzero(np.isin(whole, (1, 2))) / np.count_nonzero(whole == 2)
    assert found["liver"]["volume_ml"] / found["spleen"]["volume_ml"] == pytest.approx(each)


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_headers_of_totalsegmentator(
    scan: Path, tiny_model: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of any version, one of which segae has no structure for (v3: vertebrae_L6)."""
    image = nib.load(scan / "labels.nii.gz")
    entries = '<Label Key="1"><![CDATA[liver]]></Label><Label Key="2"><![CDATA[vertebrae_L6]]></Label>'
    header = (
        f"<CaretExtension><VolumeInformation><LabelTable>{entries}</LabelTable></VolumeInformation></CaretExtension>"
    )
    mark = {"v1": b"", "v2": b"\xef\xbb\xbf", "v3": b"\n  "}[version]
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, mark + header.encode() + b"\0" * 7))
    nib.save(image, scan / "labels.nii.gz")
    assert read_header(scan / "labels.nii.gz").labels == {"liver": (1,), "vertebrae_L6": (2,)}
    code, found, told = labels(scan, tiny_model, capsys)
    assert (code, found) == (0, {"liver"})
    assert "vertebrae_L6" in told


def test_names_as_json_in_a_header(scan: Path) -> None:
    image = nib.load(scan / "labels.nii.gz")
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, b'{"1": "liver", "2": "spleen"}\0\0'))
    nib.save(image, scan / "labels.nii.gz")
    assert read_header(scan / "labels.nii.gz").labels == {"liver": (1,), "spleen": (2,)}


def test_a_folder_of_masks(scan: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scan / "masks").mkdir()
    for value, name in ((1, "liver"), (2, "Spleen"), (2, "my_lesion")):
        audit_data.save((phantom.labelmap() == value).astype(np.uint8), scan / f"masks/{name}.nii.gz")
    arguments = ["labels", str(scan / "ct.nii.gz"), str(scan / "masks"), "--json", "--model", str(tiny_model)]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert set(json.loads(told.out)) == {"liver", "spleen"}
    assert "my_lesion: left out" in told.err
