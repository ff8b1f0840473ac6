"""The anatomical atlas: triangle meshes of one adult, as a labelmap that random bodies are drawn from.

Meshes: BodyParts3D, (c) The Database Center for Life Science, CC BY 4.0. What they lack comes from `gaps.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segae import structures
from segae.errors import ParameterError
from segae_lab.synthetic.gaps import fill_gaps
from segae_lab.synthetic.voxelise import voxelise

#: Materials that are no structure but look like something in CT; ids that structures.csv leaves free.
MATERIALS = {
    "other_bone": 145, "disc": 146, "artery": 147, "vein": 148, "airway": 149, "cartilage": 150, "gland": 151,
    "soft": 152, "ventricle": 153, "teeth_upper": 154, "teeth_lower": 155, "diaphragm": 156,
}  # fmt: skip

#: A union is its own voxels and those of its parts.
UNIONS = {
    "heart": ("heart_tissue", "heart_atrium_left", "heart_atrium_right", "heart_myocardium", "heart_ventricle_left",
              "heart_ventricle_right", "atrial_appendage_left"),
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
    "lung": ("lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
             "lung_lower_lobe_right"),
    "thyroid_gland": ("thyroid_left", "thyroid_right"), "spinal_canal": ("spinal_cord",), "brain": ("brainstem",),
    "skull": ("mandible",), "sternum": ("sternum_manubrium",), "sacrum": ("vertebrae_S1",),
    "kidney_left": ("kidney_cyst_left",), "kidney_right": ("kidney_cyst_right",),
    "heart_atrium_left": ("atrial_appendage_left",),
}  # fmt: skip

#: Meshes of no structure, by words of their names, first match wins. Brain parts are listed because the brain's own
#: list holds them too, and the ventricles and the brainstem must show.
_BY_NAME = (
    ("superior_vena_cava", ("superior vena cava",)),
    ("pulmonary_vein", ("pulmonary vein",)),
    ("brainstem", ("medulla oblongata", "pons", "midbrain", "peduncle of midbrain")),
    ("ventricle", ("lateral ventricle", "third ventricle", "fourth ventricle")),
    ("mandible", ("mandible",)),
    ("gland", ("submandibular", "sublingual", "pituitary", "seminal vesicle", "epididymis")),
    ("cartilage", ("cartilage", "epiglottis")),
    ("diaphragm", ("diaphragm",)),
    ("soft", ("tongue", "ureter", "corpus cavernosum", "cavernous", "glans", "lip")),
    ("artery", ("artery", "circumflex femoral artery")),
    ("vein", ("vein", "coronary sinus")),
    ("other_bone", ("hyoid", "radius", "ulna", "metacarpal", "phalanx", "capitate", "hamate", "lunate", "pisiform",
                    "scaphoid", "trape", "triquetral")),
)  # fmt: skip
_INSIDE_ORGANS = ("hepatic", "segment", "tributary", "biliary", "suprarenal")

_VERSION = 3  # of the cache; raised when an atlas built from the same meshes would differ
_LOW_MM = (690.0, -306.0, -330.0)  # the grid's first voxel, LPS (z, y, x); below lie the legs
_HIGH_MM = (1800.0, 90.0, 330.0)


@dataclass(frozen=True)
class Atlas:
    """One body in voxels, all arrays [z, y, x] in LPS.

    Attributes
    ----------
    labels
        uint8 ids: of structures, and of `MATERIALS`.
    depth
        uint8, distance to the border of the voxel's own label in 0.1 mm, at most 25.5 mm.
    skin
        uint8, ``128 + 2 * s`` with the signed distance s in mm to the surface of the body
        without its arms, positive outside.
    vessel
        uint8, filled fraction (of 255) of the vessels inside lungs and liver.
    arm
        bool, arms from the shoulder joint down.
    names
        id of each name in `labels`.
    spacing_mm, origin_mm
        (z, y, x).
    """

    labels: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    skin: NDArray[np.uint8]
    vessel: NDArray[np.uint8]
    arm: NDArray[np.bool_]
    names: dict[str, int]
    spacing_mm: float
    origin_mm: tuple[float, float, float]


def union_ids(name: str, names: dict[str, int]) -> list[int]:
    """Ids whose voxels make up a structure in a labelmap of `segae_lab.synthetic.ct.generate`."""
    return [names[n] for n in (name, *UNIONS.get(name, ())) if n in names]


def load_atlas(cache: Path, anatomy_dir: Path, *, spacing_mm: float = 1.5) -> Atlas:
    """Read the atlas, or build it (minutes) and write it, also where an older version of segae wrote it.

    Parameters
    ----------
    cache
        Compressed npz of the atlas; written where it is missing.
    anatomy_dir
        Folder of bodyparts3d.npz and .json.
    spacing_mm
        Voxel size of an atlas that has to be built.
    """
    if cache.exists():
        with np.load(cache, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"]))
            if meta.get("version") == _VERSION:
                labels = stored["labels"]
                arm = np.unpackbits(stored["arm"], count=labels.size).reshape(labels.shape).astype(bool)
                return Atlas(labels, stored["depth"], stored["skin"], stored["vessel"], arm, meta["names"],
                             float(meta["spacing_mm"]), tuple(meta["origin_mm"]))  # fmt: skip
    atlas = build_atlas(anatomy_dir, spacing_mm)
    cache.parent.mkdir(parents=True, exist_ok=True)
    meta = {"version": _VERSION, "names": atlas.names, "spacing_mm": atlas.spacing_mm, "origin_mm": atlas.origin_mm}
    partial = cache.with_suffix(".partial.npz")
    np.savez_compressed(
        partial, labels=atlas.labels, depth=atlas.depth, skin=atlas.skin, vessel=atlas.vessel,
        arm=np.packbits(atlas.arm), meta=np.array(json.dumps(meta)),
    )  # fmt: skip
    partial.replace(cache)
    return atlas


def build_atlas(anatomy_dir: Path, spacing_mm: float) -> Atlas:
    """Voxelise the meshes, fill the gaps and add the distance maps (see `load_atlas`)."""
    listing, stored_path = anatomy_dir / "bodyparts3d.json", anatomy_dir / "bodyparts3d.npz"
    for path in (listing, stored_path):
        if not path.exists():
            raise ParameterError(f"anatomy_dir: {path} is missing; expected the folder of bodyparts3d.npz and .json")
    names = {name: structures.get(name).id for name in structures.names()} | MATERIALS
    index = json.loads(listing.read_text())
    shape = tuple(round((b - a) / spacing_mm) for a, b in zip(_LOW_MM, _HIGH_MM, strict=True))
    labels = np.zeros(shape, np.uint8)
    body = np.zeros(shape, bool)
    bronchi: dict[str, NDArray[np.float64]] = {}
    with np.load(stored_path) as stored:
        for name, mesh_ids in _in_painting_order(index):
            for mesh in mesh_ids:
                corners = _corners_vox(stored, mesh, spacing_mm)
                if name.startswith("lung_"):
                    points = corners.mean(1)
                    bronchi[name] = np.concatenate([bronchi.get(name, points[:0]), points])
                    continue
                inside, place = voxelise(corners, (shape[0], shape[1], shape[2]))
                if not inside.any():
                    continue
                inside = ndimage.binary_closing(np.pad(inside, 2))[2:-2, 2:-2, 2:-2] | inside
                if name == "skin":
                    body[place] |= inside
                else:
                    labels[place][inside] = names[name]
    body |= ndimage.binary_closing(labels > 0)
    for at in range(shape[0]):
        body[at] = ndimage.binary_fill_holes(body[at])
    vessel, arm = fill_gaps(labels, body, bronchi, names, spacing_mm, _LOW_MM)
    return Atlas(
        labels, _depth(labels, spacing_mm), _skin(body & ~arm, spacing_mm), vessel, arm, names, spacing_mm, _LOW_MM
    )


def _in_painting_order(index: dict[str, dict[str, list[str]]]) -> Iterator[tuple[str, Iterable[str]]]:
    """Structures and materials with their meshes; what comes later paints over what came before."""
    structures = dict(index["structures"])
    structures["brain"] = [m for m in structures["brain"] if "hepatic" not in index["meshes"][m]["name"]]  # type: ignore[call-overload]
    taken = {m for meshes in structures.values() for m in meshes}
    extra: dict[str, list[str]] = {"skin": []}
    for mesh, facts in index["meshes"].items():
        word = facts["name"]  # type: ignore[call-overload]
        if word == "skin":
            extra["skin"].append(mesh)
            continue
        for name, parts in _BY_NAME:
            if any(p in word for p in parts) and (name in ("brainstem", "ventricle", "mandible") or mesh not in taken):
                if not any(p in word for p in _INSIDE_ORGANS):
                    extra.setdefault(name, []).append(mesh)
                break
    early = ("skin", "muscle", "diaphragm", "soft", "gland", "cartilage", "artery", "vein")
    for name in early:
        yield name, structures.pop(name, []) + extra.pop(name, [])
    yield from structures.items()
    yield from extra.items()


def _corners_vox(stored: np.lib.npyio.NpzFile, mesh: str, spacing_mm: float) -> NDArray[np.float64]:
    """Corners [triangles, 3, (z, y, x)] in voxels, from quantised RAS mm."""
    ras = (stored[f"{mesh}/v"].astype(np.float64) + stored[f"{mesh}/o"]) * 0.05
    lps = ras[:, ::-1] * np.array([1.0, -1.0, -1.0])
    return np.asarray(((lps - np.array(_LOW_MM)) / spacing_mm)[stored[f"{mesh}/f"]])


def _depth(labels: NDArray[np.uint8], spacing_mm: float) -> NDArray[np.uint8]:
    """Distance to the nearest other label, in 0.1 mm, a slab at a time to spare memory."""
    reach, slab = round(26 / spacing_mm), 64
    out = np.empty(labels.shape, np.uint8)
    for start in range(0, labels.shape[0], slab):
        low, high = max(0, start - reach), min(labels.shape[0], start + slab + reach)
        part = labels[low:high]
        inner = np.ones(part.shape, bool)
        for axis in range(3):
            ahead = [slice(None)] * 3
            behind = [slice(None)] * 3
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            same = part[tuple(ahead)] == part[tuple(behind)]
            inner[tuple(ahead)] &= same
            inner[tuple(behind)] &= same
        far = (ndimage.distance_transform_edt(inner)[start - low : start - low + slab] + 0.5) * spacing_mm
        out[start : start + slab] = np.minimum(far * 10, 255)
    return out


def _skin(body: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.uint8]:
    """Signed distance to the body's surface, ``128 + 2 mm``."""
    coarse = body[::2, ::2, ::2]
    signed = ndimage.distance_transform_edt(~coarse).astype(np.float32)
    signed -= ndimage.distance_transform_edt(coarse).astype(np.float32)
    signed = ndimage.gaussian_filter(signed * (2 * spacing_mm), 0.7)
    fine = ndimage.zoom(
        signed, [n / m for n, m in zip(body.shape, coarse.shape, strict=True)], order=1, grid_mode=False
    )
    skin: NDArray[np.uint8] = np.clip(np.round(128 + 2 * fine), 0, 255).astype(np.uint8)
    return skin
