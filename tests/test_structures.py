"""The structure table and its name matching."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segae import structures
from segae.errors import ParameterError, SegaeError, UnknownStructureError

ALL = [structures.get(name) for name in structures.names()]

FIELD_SPELLINGS = {
    # AbdomenAtlas, CLIP-driven universal model, PanTS
    "postcava": "inferior_vena_cava",
    "gall_bladder": "gallbladder",
    "celiac_truck": "celiac_trunk",
    "celiac_aa": "celiac_trunk",
    "intestine": "small_bowel",
    # BTCV, AMOS, FLARE, WORD
    "right kidney": "kidney_right",
    "portal vein and splenic vein": "portal_vein_and_splenic_vein",
    "right adrenal gland": "adrenal_gland_right",
    "arota": "aorta",
    "bladder": "urinary_bladder",
    "Inferior Vena Cava (IVC)": "inferior_vena_cava",
    "Left Adrenal Gland (LAG)": "adrenal_gland_left",
    "left_kidney": "kidney_left",
    # SegTHOR, StructSeg, OpenKBP, head and neck
    "Esophagus": "esophagus",
    "brain stem": "brainstem",
    "left eye": "eyeball_left",
    "RightParotid": "parotid_right",
    "LeftParotid": "parotid_left",
    "parotid gland R": "parotid_right",
    "Parotid-Lt": "parotid_left",
    "SpinalCord": "spinal_cord",
    "Spinal-Canal": "spinal_canal",
    "Larynx": "larynx",
    "Bone_Mandible": "mandible",
    # TG-263
    "A_Aorta": "aorta",
    "Bowel_Small": "small_bowel",
    "Clavicle_R": "clavicula_right",
    "Eye_L": "eyeball_left",
    "Glnd_Adrenal_L": "adrenal_gland_left",
    "Glnd_Thyroid": "thyroid_gland",
    "Kidney_L": "kidney_left",
    "Lung_RML": "lung_middle_lobe_right",
    "Lungs": "lung",
    "Rib05_L": "rib_left_5",
    "V_Venacava_I": "inferior_vena_cava",
    "V_Venacava_S": "superior_vena_cava",
    # TotalSegmentator, VISTA3D, CADS, VerSe
    "left lung upper lobe": "lung_upper_lobe_left",
    "Upper lobe of lung L": "lung_upper_lobe_left",
    "left heart atrium": "heart_atrium_left",
    "left iliac vena": "iliac_vena_left",
    "left rib 5": "rib_left_5",
    "rib 5 left": "rib_left_5",
    "right.rib.10": "rib_right_10",
    "L1": "vertebrae_L1",
    "vertebra L1": "vertebrae_L1",
    "Vertebra T07": "vertebrae_T7",
    "Th12": "vertebrae_T12",
    # The DAP Atlas counts its ribs from below.
    "costa 1 left": "rib_left_12",
    "LV": "heart_ventricle_left",
}


@pytest.mark.parametrize("structure", ALL, ids=lambda structure: structure.name)
def test_every_spelling_means_its_structure(structure: structures.Structure) -> None:
    # Two structures that claim one spelling would fail here for one of them.
    for spelling in structure.spellings:
        assert structures.get(spelling) is structure, spelling


@pytest.mark.parametrize(("spelling", "name"), FIELD_SPELLINGS.items())
def test_spellings_of_the_field(spelling: str, name: str) -> None:
    assert structures.get(spelling).name == name


@given(st.data())
def test_case_and_separators_do_not_matter(data: st.DataObject) -> None:
    structure = data.draw(st.sampled_from(ALL))
    words = data.draw(st.sampled_from(structure.spellings)).replace(" ", "_").split("_")
    separators = st.sampled_from([" ", "_", "-", ".", "  "])
    spelling = words[0]
    for word in words[1:]:
        spelling += data.draw(separators) + word
    upper = data.draw(st.lists(st.booleans(), min_size=len(spelling), max_size=len(spelling)))
    spelling = "".join(c.upper() if up else c.lower() for c, up in zip(spelling, upper, strict=True))
    assert structures.get(spelling) is structure


@given(st.sampled_from([s for s in ALL if s.side]), st.sampled_from(["first", "last"]), st.booleans())
def test_the_side_may_stand_first_or_last(structure: structures.Structure, place: str, short: bool) -> None:
    assert structure.side is not None
    rest = [word for word in structure.name.split("_") if word != structure.side]
    side = [structure.side[0] if short else structure.side]
    assert structures.get("_".join(side + rest if place == "first" else rest + side)) is structure


def test_sides_and_partners() -> None:
    for structure in ALL:
        assert (structure.side is not None) == (f"_{structure.side}" in structure.name)
        if structure.partner:
            partner = structures.get(structure.partner)
            assert partner.partner == structure.name
            assert {partner.side, structure.side} == {"left", "right"}
            assert partner.volume_ml == structure.volume_ml
    assert [s.name for s in ALL if s.side and not s.partner] == [
        "lung_middle_lobe_right",
        "atrial_appendage_left",
    ]


def test_the_table_is_complete() -> None:
    assert len(ALL) == 160
    assert len({structure.id for structure in ALL}) == 160
    assert set(structures.groups()) == {"organ", "bone", "muscle", "vessel", "tissue"}
    assert sum(map(len, structures.groups().values())) == 160
    text = (files("segae") / "structures.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        filled = {bool(row[column]) for column in ("volume_ml_min", "volume_ml_max", "volume_source")}
        assert len(filled) == 1, row["name"]


def test_volumes_hold_the_reference_adult() -> None:
    # ICRP 89, grams of the reference woman and man, at 1.05 g/ml.
    for name, grams in {"liver": (1400, 1800), "spleen": (130, 150), "kidney_left": (138, 155)}.items():
        low, high = structures.get(name).volume_ml or (0.0, 0.0)
        assert 0 < low < min(grams) / 1.05 / 2 < max(grams) / 1.05 * 2 < high
    for structure in ALL:
        if structure.volume_ml:
            assert 0 < structure.volume_ml[0] * 4 < structure.volume_ml[1]


def test_label_schemes() -> None:
    dap = structures.labels("dap")
    assert len(dap) == 142
    assert dap[17] == "urinary_bladder"
    assert dap[67] == "rib_left_12"
    for scheme, count in (("totalsegmentator_v1", 104), ("totalsegmentator_v2", 117)):
        numbers = structures.labels(scheme)
        assert sorted(numbers) == list(range(1, count + 1))
        assert len(set(numbers.values())) == count
        named = {s.name for s in ALL if getattr(s, scheme)}
        assert set(numbers.values()) == named
    v1, v2 = structures.labels("totalsegmentator_v1"), structures.labels("totalsegmentator_v2")
    anchors_v1 = {1: "spleen", 7: "aorta", 18: "vertebrae_L5", 42: "esophagus", 58: "rib_left_1", 93: "face"}
    anchors_v2 = {
        7: "pancreas",
        15: "esophagus",
        26: "vertebrae_S1",
        51: "heart",
        92: "rib_left_1",
        79: "spinal_cord",
    }
    assert anchors_v1.items() <= v1.items()
    assert anchors_v2.items() <= v2.items()
    assert v1[104] == "urinary_bladder"
    assert v2[117] == "costal_cartilages"


def test_labels_are_the_callers_own() -> None:
    structures.labels("dap").clear()
    assert structures.labels("dap")


def test_plain_totalsegmentator_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"totalsegmentator_v1.*totalsegmentator_v2"):
        structures.labels("totalsegmentator")
    with pytest.raises(ParameterError, match=r"scheme='btvc'.*'dap'.*v1.*v2.*'btcv'"):
        structures.labels("btvc")


@pytest.mark.parametrize("name", ["kidney", "Kidneys", "parotid_gland", "rib 5", "upper_lobe", "adrenal"])
def test_a_missing_side_is_not_guessed(name: str) -> None:
    with pytest.raises(UnknownStructureError, match=r"_left.* or .*right|rib_left_5' or 'rib_right_5'"):
        structures.get(name)


@pytest.mark.parametrize(
    "name",
    [
        "liver_left",
        "left right kidney",
        "Femur_Head_L",
        "VB_L1",
        "T1-2",
        "rib_1_2_left",
        "Lungs-GTV",
        "portal_vein",
        "",
        "l",
    ],
)
def test_other_structures_are_not_taken_for_known_ones(name: str) -> None:
    with pytest.raises(UnknownStructureError):
        structures.get(name)


def test_unknown_names_say_what_to_do() -> None:
    with pytest.raises(UnknownStructureError) as caught:
        structures.get("kidny_left")
    assert isinstance(caught.value, SegaeError)
    assert isinstance(caught.value, ValueError)
    for part in ("structure='kidny_left'", "closest: kidney_left", "`segae structures QUERY`"):
        assert part in str(caught.value)
    with pytest.raises(UnknownStructureError, match=r"got 7; .*labels"):
        structures.get(7)  # type: ignore[arg-type]


def test_close_matches() -> None:
    assert structures.close_matches("kidny")[:2] == ["kidney_left", "kidney_right"]
    assert structures.close_matches("kidny r")[0] == "kidney_right"
    assert "kidney_left" not in structures.close_matches("kidny r")
    assert structures.close_matches("splen", n=1) == ["spleen"]
    assert "vertebrae_L1" in structures.close_matches("VB_L1")
    assert structures.close_matches("xyzzy") == []
    # No structure is spelled like these, though all their letters occur in some.
    for name in ("lesion", "tumor", "mass", "nodule", "hepar"):
        assert structures.close_matches(name) == []


def test_search() -> None:
    def found(query: str) -> list[str]:
        return [structure.name for structure in structures.search(query)]

    assert found("kidney") == ["kidney_left", "kidney_right", "kidney_cyst_left", "kidney_cyst_right"]
    assert found("Left Kidney") == ["kidney_left", "kidney_cyst_left"]
    assert found("postcava") == ["inferior_vena_cava"]
    assert found("carotid internal R") == ["internal_carotid_artery_right"]
    assert found("muscle left") == [s.name for s in ALL if s.group == "muscle" and s.side == "left"]
    assert found("") == structures.names()
    assert found("xyzzy") == []
