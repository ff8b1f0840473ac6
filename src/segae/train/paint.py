"""Hounsfield units for a labelled body: tissues, contrast phases, contents, texture, lesions.

Ranges of soft tissue, blood and bone at 120 kVp after Lamba et al. 2014 (AJR 203:W80, unenhanced abdomen), Birnbaum et
al. 2007 (Radiology 242:109) and the phase curves of Bae 2010 (Radiology 256:32), widened on purpose: a judge must not
learn one scanner's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Phase = Literal["none", "arterial", "portal", "late"]
Field = NDArray[np.float32]

#: Unenhanced HU (low, high); names by prefix, the longest that fits wins. What is not named here is soft tissue.
_PLAIN = {
    "": (25, 55), "muscle": (40, 65), "gluteus": (35, 62), "iliopsoas": (42, 65), "autochthon": (30, 62),
    "fat": (-118, -92), "abdominal_tissue": (-112, -82), "mediastinal_tissue": (-110, -50), "skin": (-20, 40),
    "breast": (-105, -60), "cheek": (-80, 10), "liver": (35, 68), "spleen": (40, 55), "pancreas": (20, 45),
    "kidney": (25, 38), "kidney_cyst": (-2, 16), "adrenal": (10, 35), "gallbladder": (0, 20), "urinary_bladder": (-2, 14),
    "stomach": (25, 50), "small_bowel": (20, 45), "duodenum": (20, 45), "colon": (20, 45), "rectum": (20, 45),
    "esophagus": (25, 45), "prostate": (28, 48), "gonads": (15, 40), "uterus": (30, 55), "uterocervix": (30, 55),
    "thyroid": (75, 130), "thymus": (-70, 45), "brain": (26, 38), "brainstem": (24, 36), "spinal_cord": (22, 42),
    "spinal_canal": (-5, 30), "parotid": (-35, 30), "eyeball": (0, 18), "larynx": (20, 60), "nasal_cavity": (20, 50),
    "heart": (32, 48), "heart_tissue": (-90, 10), "lung": (-890, -730), "aorta": (30, 50), "ventricle": (0, 14),
    "disc": (60, 110), "cartilage": (70, 240), "costal_cartilages": (70, 150), "gland": (20, 60), "soft": (30, 60),
    "diaphragm": (35, 60), "teeth": (1400, 2700), "airway": (-1010, -960),
}  # fmt: skip
#: Added by contrast medium in each phase; blood pools and organs.
_ENHANCE: dict[Phase, dict[str, tuple[float, float]]] = {
    "arterial": {"artery": (180, 400), "right": (80, 420), "vein": (0, 60), "liver": (5, 25), "spleen": (40, 90), "pancreas": (45, 85),
                 "kidney": (60, 110), "muscle": (0, 10), "gut": (15, 50), "myocardium": (40, 90), "gland": (40, 110), "brain": (0, 4)},
    "portal": {"artery": (90, 160), "right": (90, 160), "vein": (80, 160), "liver": (40, 75), "spleen": (60, 90), "pancreas": (45, 75),
               "kidney": (110, 170), "muscle": (5, 20), "gut": (25, 60), "myocardium": (50, 85), "gland": (40, 80), "brain": (1, 6)},
    "late": {"artery": (40, 100), "right": (40, 100), "vein": (40, 100), "liver": (25, 55), "spleen": (35, 65), "pancreas": (25, 50),
             "kidney": (90, 150), "muscle": (5, 20), "gut": (15, 40), "myocardium": (35, 60), "gland": (25, 60), "brain": (1, 6)},
}  # fmt: skip
_POOLS = {
    "artery": ("aorta", "iliac_artery", "celiac_trunk", "common_carotid", "internal_carotid", "brachiocephalic_trunk",
               "subclavian", "artery", "heart_atrium_left", "heart_ventricle_left", "pulmonary_vein", "atrial_appendage"),
    "right": ("heart_atrium_right", "heart_ventricle_right", "pulmonary_artery", "superior_vena_cava", "brachiocephalic_vein"),
    "vein": ("inferior_vena_cava", "iliac_vena", "portal_vein", "internal_jugular", "vein"),
    "liver": ("liver",), "spleen": ("spleen",), "pancreas": ("pancreas", "prostate", "uterus", "uterocervix"),
    "kidney": ("kidney_left", "kidney_right"), "muscle": ("muscle", "gluteus", "iliopsoas", "autochthon", "diaphragm"),
    "gut": ("stomach", "small_bowel", "duodenum", "colon", "rectum", "esophagus"), "myocardium": ("heart_myocardium",),
    "gland": ("thyroid", "parotid", "adrenal", "gland"), "brain": ("brain", "brainstem"),
}  # fmt: skip
_BLOOD = ("artery", "right", "vein")
_BONES = ("vertebrae", "rib_", "sternum", "clavicula", "scapula", "humerus", "skull", "mandible", "hip_", "sacrum", "femur", "other_bone")
#: Strength of texture (HU) by prefix.
_TEXTURE = {"": 4, "muscle": 9, "autochthon": 14, "gluteus": 10, "fat": 7, "abdominal_tissue": 16, "mediastinal_tissue": 22, "breast": 34,
            "cheek": 40, "parotid": 15, "lung": 22, "liver": 5, "spleen": 5, "pancreas": 13, "thymus": 20, "brain": 4, "nasal_cavity": 30,
            "heart_tissue": 30, "larynx": 25, "soft": 10, "urinary_bladder": 1, "prostate": 7, "uterus": 8, "other_bone": 10}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Drawn numbers of one scan: mean and texture by label, and the contrast phase."""

    phase: Phase
    mean: Field
    texture: Field
    blood: float
    lung_blood: float


def _by_prefix(name: str, table: dict[str, object]) -> str:
    return max((p for p in table if name.startswith(p)), key=len)


def draw_look(rng: np.random.Generator, names: dict[str, int]) -> Look:
    """Draw HU for every label; left and right of a pair get nearly the same."""
    phase: Phase = rng.choice(["none", "arterial", "portal", "late"], p=[0.35, 0.2, 0.35, 0.1])  # type: ignore[assignment]
    drawn = {p: float(rng.uniform(*r)) for p, r in _PLAIN.items()}
    plain_blood = float(rng.uniform(32, 48))
    if rng.random() < 0.15:  # fatty liver
        drawn["liver"] -= float(rng.uniform(10, 50))
    gain = {pool: float(rng.uniform(*r)) for pool, r in _ENHANCE[phase].items()} if phase != "none" else {}
    mean, texture = np.zeros(256, np.float32), np.zeros(256, np.float32)
    mean[0] = -1000
    for name, at in names.items():
        prefix = _by_prefix(name, dict(_PLAIN))
        value = drawn[prefix] + float(rng.normal(0, 2))
        for pool, members in _POOLS.items():
            if name.startswith(members) and not name.startswith(("kidney_cyst", "brachiocephalic_vein") if pool == "artery" else "kidney_cyst"):
                value = (plain_blood if pool in _BLOOD else value) + gain.get(pool, 0.0) + float(rng.normal(0, 4))
                break
        mean[at], texture[at] = value, _TEXTURE[_by_prefix(name, dict(_TEXTURE))]
    blood = {p: plain_blood + gain.get(p, 0.0) for p in _BLOOD}
    return Look(phase, mean, texture * float(rng.uniform(0.6, 1.4)), blood["vein"], blood["right"])


def noise(rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: tuple[float, ...], grain_mm: float) -> Field:
    """Smooth noise of about unit variance with grains of a size in mm."""
    coarse = [max(2, int(np.ceil(n * s / grain_mm)) + 1) for n, s in zip(shape, spacing_mm, strict=True)]
    field = torch.from_numpy(rng.standard_normal(coarse, np.float32))[None, None]
    fine = functional.interpolate(field, shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    return np.asarray(fine * 1.5)


def paint(rng: np.random.Generator, labels: NDArray[np.uint8], maps: Field, names: dict[str, int], spacing_mm: tuple[float, float, float],
          look: Look) -> Field:  # fmt: skip
    """HU of every sample.

    Parameters
    ----------
    labels, maps
        From `segae.train.sampling.sample`.
    spacing_mm
        Of the samples.
    """
    depth, _, vessel = maps
    hu = look.mean[labels]
    fine, rough = noise(rng, labels.shape, spacing_mm, 2.2), noise(rng, labels.shape, spacing_mm, 9)
    hu += look.texture[labels] * (0.6 * fine + 0.6 * rough)

    def chosen(*prefixes: str) -> NDArray[np.bool_]:
        table = np.zeros(256, bool)
        table[[at for name, at in names.items() if name.startswith(prefixes)]] = True
        return table[labels]

    _bones(rng, hu, depth, fine, rough, chosen)
    lung = chosen("lung_")
    if lung.any():
        back = np.linspace(-1, 1, labels.shape[1], dtype=np.float32)[None, :, None] * rng.uniform(0, 60)
        air = (hu + np.broadcast_to(back, hu.shape))[lung]
        hu[lung] = air + vessel[lung] * (look.lung_blood + rng.uniform(-60, 20) - air)
    liver = chosen("liver")
    hu[liver] += vessel[liver] * (look.blood - look.mean[names.get("liver", 0)])
    hollow = chosen("airway", "trachea", "bronchus")
    hu[hollow] = np.where(depth[hollow] > rng.uniform(0.6, 1.6), -1000 + 8 * fine[hollow], 20)
    nose = chosen("nasal_cavity")
    hu[nose] = np.where((rough + 0.7 * fine)[nose] > rng.uniform(-0.9, 0.4), -990, hu[nose])
    _kidneys(rng, hu, depth, rough, look, chosen)
    _brain(rng, hu, depth, rough, chosen)
    _bowel(rng, hu, labels, depth, names, spacing_mm, fine)
    eye = chosen("eyeball")
    hu[eye & (depth < 1.6)] += 35
    breast = chosen("breast")
    hu[breast] += np.where(rough[breast] > rng.uniform(0, 1.6), rng.uniform(80, 140), 0)
    flesh = chosen("muscle", "autochthon", "gluteus")
    marbled = flesh & ((0.8 * fine + rough) > rng.uniform(1.6, 3.2))
    hu[marbled] -= rng.uniform(40, 110)
    mesentery = chosen("abdominal_tissue", "mediastinal_tissue") & ((fine + 0.5 * rough) > rng.uniform(1.5, 2.6))
    hu[mesentery] = look.blood * 0.6
    _lesions(rng, hu, labels, names, spacing_mm, fine)
    return hu


def _bones(rng, hu, depth, fine, rough, chosen) -> None:  # type: ignore[no-untyped-def]
    """A bright cortex of a few mm over spongy bone; age thins both."""
    dense = float(rng.uniform(0.6, 1.25))
    for prefixes, cortex_mm, cortex, core in (
        (("vertebrae", "sacrum", "sternum"), 1.6, 480, 170), (("rib_", "clavicula", "scapula"), 1.8, 800, 220),
        (("hip_",), 2.0, 750, 170), (("femur", "humerus", "other_bone"), 4.0, 1250, 60),
        (("skull",), 2.2, 1250, 650), (("mandible",), 2.4, 1250, 350),
    ):  # fmt: skip
        bone = chosen(*prefixes)
        if not bone.any():
            continue
        edge = np.clip(1.35 - depth[bone] / (cortex_mm * rng.uniform(0.8, 1.4)), 0, 1)
        spongy = dense * core * (1 + 0.22 * fine[bone] + 0.2 * rough[bone])
        hu[bone] = spongy + edge * (dense * cortex * rng.uniform(0.85, 1.1) - spongy)


def _kidneys(rng, hu, depth, rough, look, chosen) -> None:  # type: ignore[no-untyped-def]
    kidney = chosen("kidney_left", "kidney_right")
    if not kidney.any():
        return
    d = depth[kidney] + 1.5 * rough[kidney]
    medulla = {"none": -3.0, "arterial": -float(rng.uniform(40, 90)), "portal": -float(rng.uniform(0, 20)), "late": 5.0}[look.phase]
    pelvis = float(rng.uniform(200, 900)) if look.phase == "late" and rng.random() < 0.5 else float(rng.uniform(-60, 10))
    value = hu[kidney] + np.where(d > 6, medulla, 0)
    hu[kidney] = np.where(d > rng.uniform(13, 18), pelvis, value)


def _brain(rng, hu, depth, rough, chosen) -> None:  # type: ignore[no-untyped-def]
    """Liquor between the gyri, grey matter around white."""
    brain = chosen("brain")
    if not brain.any():
        return
    d = depth[brain] + 2.2 * rough[brain]
    hu[brain] += np.where(d > 8, -float(rng.uniform(4, 9)), 3)
    sulcus = (np.abs(rough[brain]) < 0.10) & (depth[brain] < 14)
    hu[brain] = np.where((d < rng.uniform(-1, 3)) | sulcus, rng.uniform(4, 18), hu[brain])


def _bowel(rng, hu, labels, depth, names, spacing_mm, fine) -> None:  # type: ignore[no-untyped-def]
    """Wall, then gas in front, fluid, stool or swallowed contrast behind."""
    oral = rng.random() < 0.25
    blobs = noise(rng, labels.shape, spacing_mm, 28)
    rise = -np.linspace(-1, 1, labels.shape[1], dtype=np.float32)[None, :, None] * 2.0
    for name, wall, gas_share, stool in (("stomach", 3.5, 0.5, 0.0), ("duodenum", 2.5, 0.12, 0.0), ("small_bowel", 2.2, 0.12, 0.0),
                                         ("colon", 2.4, 0.5, 0.8), ("rectum", 3.0, 0.3, 0.7), ("esophagus", 4.5, 0.2, 0.0)):  # fmt: skip
        inside = (labels == names.get(name, 255)) & (depth > wall * rng.uniform(0.7, 1.3))
        if not inside.any():
            continue
        level = (blobs + rise)[inside]
        fill = np.full(level.shape, rng.uniform(5, 35), np.float32) + 4 * fine[inside]
        if oral and name != "esophagus":
            fill += rng.uniform(80, 350) * np.clip(1 + 0.3 * blobs[inside], 0, 2)
        if rng.random() < stool:
            fill += 30 + 90 * np.clip(fine[inside], -2, 1) - np.where(fine[inside] < -1.2, 500, 0)
        gas = level > np.quantile(level, 1 - np.clip(gas_share * rng.uniform(0, 1.8), 0, 1))
        hu[inside] = np.where(gas, -1000, fill)


def _lesions(rng, hu, labels, names, spacing_mm, fine) -> None:  # type: ignore[no-untyped-def]
    """Round lesions, cystic, solid or calcified, in organs; nodules in lungs. They stay part of the organ."""
    host = [n for n in ("liver", "spleen", "pancreas", "kidney_left", "kidney_right", "prostate", "thyroid_left", "parotid_left",
                        "vertebrae_L3", "vertebrae_T8", "brain", "lung_upper_lobe_left", "lung_lower_lobe_right", "lung_middle_lobe_right",
                        "muscle", "hip_left", "uterus", "aorta", "aorta") if n in names]  # fmt: skip
    for _ in range(int(rng.poisson(2.5))):
        name = str(rng.choice(host))
        flat = np.flatnonzero(labels[::3, ::3, ::3] == names[name])
        if not flat.size:
            continue
        coarse = tuple((n + 2) // 3 for n in labels.shape)
        centre = np.array(np.unravel_index(int(rng.choice(flat)), coarse)) * 3
        radius = float(np.exp(rng.normal(1.9, 0.6))) if name != "aorta" else float(rng.uniform(1, 3))
        reach = np.ceil(radius * 1.4 / np.array(spacing_mm)).astype(int)
        place = tuple(slice(max(0, c - r), c + r + 1) for c, r in zip(centre, reach, strict=True))
        axes = [((np.arange(p.start, min(p.stop, n)) - c) * s) ** 2
                for p, n, c, s in zip(place, labels.shape, centre, spacing_mm, strict=True)]  # fmt: skip
        away = np.sqrt(sum(np.ix_(*axes))) + 0.18 * radius * fine[place]
        inside = np.clip((radius - away) / 1.5, 0, 1) * (labels[place] == names[name])
        value = {"lung": float(rng.uniform(-200, 60)), "vert": float(rng.choice([30.0, 700.0])), "hip_": float(rng.choice([30.0, 700.0])),
                 "aort": float(rng.uniform(400, 900))}.get(name[:4], float(rng.choice([8.0, 35.0, 110.0, 500.0], p=[0.35, 0.4, 0.2, 0.05])))  # fmt: skip
        hu[place] += inside * (value + 6 * fine[place] - hu[place])
