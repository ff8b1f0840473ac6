"""Make ``src/segae/anatomy/anatomy.csv`` from label maps of people, phantoms and the atlas.

python scripts/make_anatomy.py DATA [-o FILE]

DATA holds ``labelmaps/`` (label maps with ids of structures.csv, phantoms with a JSON of their tissues), ``anatomy/``
(the meshes of the atlas, which the laboratory in ``lab/`` turns into voxels) and ``data/`` (cases of which those marked
train are used). What is measured gets the number of bodies and their sources; what is convention (how structures are
numbered, what holds what) says so.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.anatomy.chains import place_in_chain
from segae.anatomy.parts import Part, Scene
from segae.anatomy.places import Consensus, size_of
from segae.anatomy.table import COLUMNS, Fact, Table
from segae.volume import Volume, load

Float64 = npt.NDArray[np.float64]
Row = dict[str, str]

SPINE = [*(f"C{i}" for i in range(1, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6))]
# Sources whose vertebrae are a network's and known to hold mistakes.
_WRONG_VERTEBRAE = ("bdmap",)
# Spread along z, y, x before anything was measured, and the number of bodies that it counts for.
_PRIOR_SD_MM = np.array([18.0, 12.0, 12.0])
_PRIOR_N = 3
_PRIOR_LOG_SD, _LEAST_MM = 0.3, 2.0
_NO_PLACE = {
    "muscle", "fat", "abdominal_tissue", "mediastinal_tissue", "skin", "face", "cheek_left", "cheek_right", "gonads",
    "heart_tissue", "small_bowel", "costal_cartilages", "kidney_cyst_left", "kidney_cyst_right",
    "humerus_left", "humerus_right", "femur_left", "femur_right",  # scans show parts of them, arms move
}  # fmt: skip
_NEAR_MIDDLE = re.compile(r"heart|atrial|brachiocephalic|carotid|thyroid|vena|artery")
_IN_PIECES = (
    "muscle fat abdominal_tissue mediastinal_tissue skin gonads lung costal_cartilages small_bowel colon "
    "portal_vein_and_splenic_vein pulmonary_vein pulmonary_artery bronchus thyroid_gland face heart_tissue "
    "kidney_cyst_left kidney_cyst_right"
).split()
_INSIDE = {
    "lung": ["lung_left", "lung_right"],
    "lung_left": ["lung_upper_lobe_left", "lung_lower_lobe_left"],
    "lung_right": ["lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"],
    "heart": ["heart_atrium_left", "heart_atrium_right", "heart_myocardium", "heart_ventricle_left",
              "heart_ventricle_right", "heart_tissue", "atrial_appendage_left"],
    "heart_atrium_left": ["atrial_appendage_left"],
    "thyroid_gland": ["thyroid_left", "thyroid_right"],
    "brain": ["brainstem"],
    "spinal_canal": ["spinal_cord"],
    "skull": ["mandible"],
    "sternum": ["sternum_manubrium"],
    "sacrum": ["vertebrae_S1"],
    "kidney_left": ["kidney_cyst_left"],
    "kidney_right": ["kidney_cyst_right"],
    "uterocervix": ["uterus"],
    "colon": ["rectum"],
}  # fmt: skip
# Tissues that hold whatever lies in them.
_TISSUES = ("muscle", "fat", "abdominal_tissue", "mediastinal_tissue", "skin", "face")
# Boundaries where people have one element more or less: 11 to 13 thoracic, 4 to 6 lumbar vertebrae.
_VARIABLE_ENDS = [("vertebrae_T12", "vertebrae_L1")]
# Pairs that nature joins at times.
_MAY_FUSE = [("kidney_left", "kidney_right", "horseshoe kidney, about 1 in 500")]
# Of which a body has one or the other, in one place: a name is not taken for the other's.
_EITHER = [("uterus", "prostate"), ("uterocervix", "prostate")]
_TRANSPLANT_SD_MM = np.array([30.0, 30.0, 50.0])
_PHANTOM_TISSUES = {
    "adrenal_gland_left": ("Adrenal, left",), "adrenal_gland_right": ("Adrenal, right",), "trachea": ("Trachea",),
    "brain": ("Brain",), "gallbladder": ("Gall bladder",), "stomach": ("Stomach",), "heart": ("Heart",),
    "kidney_left": ("Kidney, left",), "kidney_right": ("Kidney, right",), "liver": ("Liver",),
    "lung_left": ("Lung, left",), "lung_right": ("Lung, right",), "esophagus": ("Oesophagus",),
    "pancreas": ("Pancreas",), "prostate": ("Prostate",), "spinal_cord": ("Spinal cord",), "spleen": ("Spleen",),
    "thymus": ("Thymus",), "thyroid_gland": ("Thyroid",), "urinary_bladder": ("Urinary bladder",),
    "uterus": ("Uterus",), "eyeball_left": ("Eye bulb, left", "Eye lens, left", "Eye lense, left"),
    "eyeball_right": ("Eye bulb, right", "Eye lens, right", "Eye lense, right"), "rectum": ("Rectum",),
    "mandible": ("Mandible",), "sacrum": ("Sacrum",), "sternum": ("Sternum",), "breast_left": ("Breast, left",),
    "breast_right": ("Breast, right",), "skull": ("Cranium",), "bronchus": ("Bronchi",),
    "colon": ("Ascending colon", "Transverse colon", "Descending colon", "Sigmoid colon"),
}  # fmt: skip


@dataclass(frozen=True)
class Body:
    """A person, phantom or atlas: a name, where it comes from, and where its structures lie."""

    name: str
    source: str
    scene: Scene


def read_bodies(data: Path, *, use: tuple[str, ...] = ("train",), cases: bool = True) -> list[Body]:
    """All bodies of DATA but the atlas; `use` says which cases of ``data/`` are read."""
    ids = {structures.get(name).id: name for name in structures.names()}
    found = []
    for path in sorted((data / "labelmaps").glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz").removesuffix("_seg")
        volume = load(str(path), "labelmap")
        named = ids
        if name.startswith("phantom"):
            volume, named = _phantom(volume, path.with_name(f"{name}.json"))
        found.append(Body(name, name.split("_")[0].rstrip("0123456789"), Scene.of_labelmap(volume, named, 2)))
    if not cases:
        return found
    with (data / "data" / "cases.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = data / "data" / f"{row['case']}_seg.nii.gz"
            if row["use"] in use and path.exists():
                scene = Scene.of_labelmap(load(str(path), "labelmap"), ids, 2)
                found.append(Body(row["case"], row["source"], scene))
    return found


def read_atlas(data: Path, cache: Path) -> Body:
    """The meshes, voxelised to 3 mm (half a minute, then read from `cache`)."""
    from segae_lab.synthetic.anatomy import load_atlas, union_ids

    atlas = load_atlas(cache, data / "anatomy", spacing_mm=3.0)
    parts: dict[str, Part] = {}
    for name in structures.names():
        ids = union_ids(name, atlas.names)
        mask = np.isin(atlas.labels, ids)
        if mask.any():
            spacing = (atlas.spacing_mm,) * 3
            volume = Volume(mask.astype(np.uint8), spacing, 1.0, 0.0, None, (0, 1, 2), (False,) * 3)
            parts |= Scene.of_labelmap(volume, {1: name}, 2).parts
    return Body("bodyparts3d", "atlas", Scene(parts))


def _phantom(volume: Volume, listing: Path) -> tuple[Volume, dict[int, str]]:
    """A phantom's tissues put together into structures."""
    named = dict(enumerate(_PHANTOM_TISSUES, 1))
    value_of = np.zeros(256, np.uint8)
    for number, facts in json.loads(listing.read_text(encoding="utf-8")).items():
        word = facts["name"] if isinstance(facts, dict) else facts
        for value, name in named.items():
            if word.startswith(_PHANTOM_TISSUES[name]):
                value_of[int(number)] = value
    return replace(volume, array=value_of[volume.array]), named


def make_rows(bodies: Iterable[Body]) -> list[Row]:
    """All rows of the table."""
    bodies = list(bodies)
    return [*_place_rows(bodies), *_chain_rows(bodies), *_pair_rows(bodies), *_convention_rows()]


def _whole(part: Part) -> bool:
    return not part.cut[:, 0].any()


def _points(body: Body) -> dict[str, Float64]:
    return {
        name: part.middle
        for name, part in body.scene.parts.items()
        if name not in _NO_PLACE and _whole(part) and _trusted(body, name)
    }


def _trusted(body: Body, name: str) -> bool:
    return not (body.source in _WRONG_VERTEBRAE and name.startswith("vertebrae"))


def _place_rows(bodies: list[Body]) -> list[Row]:
    points = {body.name: _points(body) for body in bodies}
    places: dict[str, Fact] = {}
    for body in sorted(bodies, key=lambda body: -len(points[body.name])):  # the fullest one is the first frame
        if not places:
            places = {name: Fact(p, _PRIOR_SD_MM, np.nan, 1) for name, p in points[body.name].items()}
    for _ in range(6):
        told = defaultdict(list)
        for own in points.values():
            common = [name for name in own if name in places]
            if len(common) < 2:
                continue
            size = size_of(own, places)
            shift = np.median([own[name] - size * places[name].mean for name in common], axis=0)
            for name, place in own.items():
                told[name].append((place - shift) / size)
        places = {name: Fact(np.median(seen, axis=0), _PRIOR_SD_MM, np.nan, len(seen)) for name, seen in told.items()}
    residuals = defaultdict(list)
    for own in points.values():
        consensus = Consensus(own, Table(places))
        for name in consensus.names:
            expected = consensus.expected([name])[0]
            if np.isfinite(expected).all():
                residuals[name].append(own[name] - expected)
    rows = _transplants(places)
    for name, fact in sorted(places.items()):
        seen = np.array(residuals[name]).reshape(-1, 3)
        sd = np.sqrt(((seen**2).sum(axis=0) + _PRIOR_N * _PRIOR_SD_MM**2) / (len(seen) + _PRIOR_N))
        having = [body for body in bodies if name in points[body.name]]
        rows.append(_row("place", name, "", fact.mean, sd, np.nan, having))
        parts = [body.scene.parts[name] for body in having]
        lengths = np.log(np.maximum([part.extent for part in parts], _LEAST_MM))
        mean = np.median(lengths, axis=0)
        sd = np.sqrt((((lengths - mean) ** 2).sum(axis=0) + _PRIOR_N * _PRIOR_LOG_SD**2) / (len(parts) + _PRIOR_N))
        volume = float(np.median([part.volume_ml for part in parts]))
        rows.append(_row("size", name, "", np.exp(mean), sd, volume, having, digits=2))
    return rows


def _transplants(places: Mapping[str, Fact]) -> list[Row]:
    """A transplanted kidney lies in either iliac fossa, a dystopic one in the pelvis: about the hip bones' level."""
    if "hip_left" not in places or "hip_right" not in places:
        return []
    left, right = places["hip_left"].mean, places["hip_right"].mean
    rows = []
    for name in ("kidney_left", "kidney_right"):
        row = _row("other_place", name, "", (left + right) / 2, _TRANSPLANT_SD_MM, np.nan, [])
        rows.append({**row, "n": "1", "source": "transplanted or pelvic kidney, by the places of the hip bones"})
    return rows


def _chain_rows(bodies: list[Body]) -> list[Row]:
    rows = []
    spine = [f"vertebrae_{level}" for level in SPINE]
    ribs = [[f"rib_{side}_{i}" for i in range(1, 13)] for side in ("left", "right")]
    for chain in [spine, *ribs]:
        for name, other in itertools.pairwise(chain):
            seen = [
                (body, place_in_chain(body.scene.parts[other]) - place_in_chain(body.scene.parts[name]))
                for body in bodies
                if all(
                    n in body.scene.parts and _whole(body.scene.parts[n]) and _trusted(body, n) for n in (name, other)
                )
            ]
            rows.append(_measured("step", name, other, seen, length=True))
    for chain in ribs:
        for i, name in enumerate(chain, 1):
            vertebra = f"vertebrae_T{i}"
            seen = [
                (body, place_in_chain(body.scene.parts[name]) - body.scene.parts[vertebra].middle)
                for body in bodies
                if all(
                    n in body.scene.parts and _whole(body.scene.parts[n]) and _trusted(body, n)
                    for n in (name, vertebra)
                )
                and body.source not in _WRONG_VERTEBRAE
            ]
            rows.append(_measured("level", name, vertebra, seen, length=False))
    return rows


def _pair_rows(bodies: list[Body]) -> list[Row]:
    rows = []
    for name in structures.names():
        structure = structures.get(name)
        if structure.side != "left" or structure.partner is None:
            continue
        right = structure.partner
        seen = [
            (body, body.scene.parts[name].middle - body.scene.parts[right].middle)
            for body in bodies
            if name in body.scene.parts and right in body.scene.parts and name not in _NO_PLACE
        ]
        if seen:
            rows.append(_measured("pair", name, right, seen, length=False))
    return rows


def _measured(kind: str, name: str, other: str, seen: list[tuple[Body, Float64]], *, length: bool) -> Row:
    vectors = np.array([vector for _, vector in seen]).reshape(-1, 3)
    mean = np.median(vectors, axis=0)
    prior = _PRIOR_SD_MM / 2
    sd = np.sqrt((((vectors - mean) ** 2).sum(axis=0) + _PRIOR_N * prior**2) / (len(seen) + _PRIOR_N))
    value = float(np.median(np.linalg.norm(vectors[:, :2], axis=1))) if length else np.nan
    return _row(kind, name, other, mean, sd, value, [body for body, _ in seen])


def _convention_rows() -> list[Row]:
    rows = []
    for name, parts in _INSIDE.items():
        rows += [_convention("inside", part, name, "anatomical nomenclature") for part in parts]
    rows += [_convention("holds_all", name, "", "tissues hold organs") for name in _TISSUES]
    rows += [_convention("may_fuse", name, other, source) for name, other, source in _MAY_FUSE]
    rows += [_convention("either", name, other, "women and men") for name, other in _EITHER]
    rows += [_convention("variable_end", name, other, "11 to 13 pairs of ribs occur") for name, other in _VARIABLE_ENDS]
    rows += [_convention("in_pieces", name, "", "anatomical nomenclature") for name in _IN_PIECES]
    for name in structures.names():
        if structures.get(name).side is not None and _NEAR_MIDDLE.search(name):
            rows.append(_convention("near_middle", name, "", "vessels, heart chambers and thyroid cross the midline"))
    return rows


def _row(
    kind: str, name: str, other: str, mean: Float64, sd: Float64, value: float, bodies: list[Body], digits: int = 1
) -> Row:
    z, y, x = (f"{v:.1f}" for v in mean)
    z_sd, y_sd, x_sd = (f"{v:.{digits}f}" for v in sd)
    counts: dict[str, int] = defaultdict(int)
    for body in bodies:
        counts[body.source] += 1
    source = " ".join(f"{source}:{count}" for source, count in sorted(counts.items()))
    told = "" if np.isnan(value) else f"{value:.1f}"
    values = (kind, name, other, x, y, z, x_sd, y_sd, z_sd, told, str(len(bodies)), source)
    return dict(zip(COLUMNS, values, strict=True))


def _convention(kind: str, name: str, other: str, source: str) -> Row:
    return {**dict.fromkeys(COLUMNS, ""), "kind": kind, "structure": name, "other": other, "n": "0", "source": source}


def write(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """Write the table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("src/segae/anatomy/anatomy.csv"))
    parser.add_argument("--cache", type=Path, default=Path("atlas_3mm.npz"), help="voxelised atlas")
    args = parser.parse_args()
    write(make_rows([*read_bodies(args.data), read_atlas(args.data, args.cache)]), args.out)


if __name__ == "__main__":
    main()
