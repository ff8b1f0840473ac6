"""Hounsfield units of tissues, without contrast medium and in three phases of it.

Ranges of soft tissue, blood and bone at 120 kVp after Lamba et al. 2014 (AJR 203:1013, unenhanced abdomen), Birnbaum et
al. 2007 (Radiology 242:109) and the phase curves of Bae 2010 (Radiology 256:32), widened on purpose: a judge must not
learn one scanner's numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Phase = Literal["none", "arterial", "portal", "late"]
Field = NDArray[np.float32]

#: Unenhanced HU (low, high); names by prefix, the longest that fits wins. What is not named here is soft tissue.
_PLAIN = {
    "": (25, 55), "muscle": (40, 65), "gluteus": (35, 62), "iliopsoas": (42, 65), "autochthon": (30, 62),
    "fat": (-118, -92), "abdominal_tissue": (-112, -82), "mediastinal_tissue": (-110, -50), "skin": (-20, 40),
    "breast": (-105, -60), "cheek": (-80, 10), "liver": (35, 68), "spleen": (40, 55), "pancreas": (20, 45),
    "kidney": (25, 38), "kidney_cyst": (-2, 16), "adrenal": (10, 35), "gallbladder": (0, 20),
    "urinary_bladder": (-2, 14), "stomach": (25, 50), "small_bowel": (20, 45), "duodenum": (20, 45),
    "colon": (20, 45), "rectum": (20, 45), "esophagus": (25, 45), "prostate": (28, 48), "gonads": (15, 40),
    "uterus": (30, 55), "uterocervix": (30, 55),
    "thyroid": (75, 130), "thymus": (-70, 45), "brain": (26, 38), "brainstem": (24, 36), "spinal_cord": (22, 42),
    "spinal_canal": (-5, 30), "parotid": (-35, 30), "eyeball": (0, 18), "larynx": (20, 60), "nasal_cavity": (20, 50),
    "heart": (32, 48), "heart_tissue": (-90, 10), "lung": (-890, -730), "aorta": (30, 50), "ventricle": (0, 14),
    "disc": (60, 110), "cartilage": (70, 240), "costal_cartilages": (70, 150), "gland": (20, 60), "soft": (30, 60),
    "diaphragm": (35, 60), "teeth": (1400, 2700), "airway": (-1010, -960),
}  # fmt: skip
#: Added by contrast medium in each phase; blood pools and organs.
_ENHANCE: dict[Phase, dict[str, tuple[float, float]]] = {
    "arterial": {
        "artery": (180, 400), "right": (80, 420), "vein": (0, 60), "liver": (5, 25), "spleen": (40, 90),
        "pancreas": (45, 85), "kidney": (60, 110), "muscle": (0, 10), "gut": (15, 50), "myocardium": (40, 90),
        "gland": (40, 110), "brain": (0, 4),
    },
    "portal": {
        "artery": (90, 160), "right": (90, 160), "vein": (80, 160), "liver": (40, 75), "spleen": (60, 90),
        "pancreas": (45, 75), "kidney": (110, 170), "muscle": (5, 20), "gut": (25, 60), "myocardium": (50, 85),
        "gland": (40, 80), "brain": (1, 6),
    },
    "late": {
        "artery": (40, 100), "right": (40, 100), "vein": (40, 100), "liver": (25, 55), "spleen": (35, 65),
        "pancreas": (25, 50), "kidney": (90, 150), "muscle": (5, 20), "gut": (15, 40), "myocardium": (35, 60),
        "gland": (25, 60), "brain": (1, 6),
    },
}  # fmt: skip
#: Who takes up how the blood of which pool, by prefix.
_POOLS = {
    "artery": (
        "aorta", "iliac_artery", "celiac_trunk", "common_carotid", "internal_carotid", "brachiocephalic_trunk",
        "subclavian", "artery", "heart_atrium_left", "heart_ventricle_left", "pulmonary_vein", "atrial_appendage",
    ),
    "right": (
        "heart_atrium_right", "heart_ventricle_right", "pulmonary_artery", "superior_vena_cava", "brachiocephalic_vein",
    ),
    "vein": ("inferior_vena_cava", "iliac_vena", "portal_vein", "internal_jugular", "vein"),
    "liver": ("liver",), "spleen": ("spleen",), "pancreas": ("pancreas", "prostate", "uterus", "uterocervix"),
    "kidney": ("kidney_left", "kidney_right"), "muscle": ("muscle", "gluteus", "iliopsoas", "autochthon", "diaphragm"),
    "gut": ("stomach", "small_bowel", "duodenum", "colon", "rectum", "esophagus"), "myocardium": ("heart_myocardium",),
    "gland": ("thyroid", "parotid", "adrenal", "gland"), "brain": ("brain", "brainstem"),
}  # fmt: skip
_BLOOD = ("artery", "right", "vein")
#: Strength of texture (HU) by prefix.
_TEXTURE = {
    "": 4, "muscle": 9, "autochthon": 14, "gluteus": 10, "fat": 7, "abdominal_tissue": 16, "mediastinal_tissue": 22,
    "breast": 34, "cheek": 40, "parotid": 15, "lung": 22, "liver": 5, "spleen": 5, "pancreas": 13, "thymus": 20,
    "brain": 4, "nasal_cavity": 30, "heart_tissue": 30, "larynx": 25, "soft": 10, "urinary_bladder": 1, "prostate": 7,
    "uterus": 8, "other_bone": 10,
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Drawn HU of one scan: mean and texture by label, contrast phase, blood of liver and lung vessels."""

    phase: Phase
    mean: Field
    texture: Field
    blood: float
    lung_blood: float


def _by_prefix(name: str, prefixes: Iterable[str]) -> str:
    return max((p for p in prefixes if name.startswith(p)), key=len)


def _pool(name: str) -> str | None:
    """The longest prefix decides: "kidney_cyst" takes up nothing, "brachiocephalic_vein" is no artery."""
    if name.startswith("kidney_cyst"):
        return None
    found = [(len(prefix), pool) for pool, prefixes in _POOLS.items() for prefix in prefixes if name.startswith(prefix)]
    return max(found)[1] if found else None


def draw_look(rng: np.random.Generator, names: dict[str, int]) -> Look:
    """Draw HU for every label; left and right of a pair get nearly the same."""
    phases: list[Phase] = ["none", "arterial", "portal", "late"]
    phase = phases[int(rng.choice(4, p=[0.35, 0.2, 0.35, 0.1]))]
    drawn = {p: float(rng.uniform(*r)) for p, r in _PLAIN.items()}
    plain_blood = float(rng.uniform(32, 48))
    if rng.random() < 0.15:  # fatty liver
        drawn["liver"] -= float(rng.uniform(10, 50))
    gain = {pool: float(rng.uniform(*r)) for pool, r in _ENHANCE[phase].items()} if phase != "none" else {}
    mean, texture = np.zeros(256, np.float32), np.zeros(256, np.float32)
    mean[0] = -1000
    for name, at in names.items():
        pool = _pool(name)
        value = plain_blood if pool in _BLOOD else drawn[_by_prefix(name, _PLAIN)]
        mean[at] = value + gain.get(pool or "", 0.0) + float(rng.normal(0, 3))
        texture[at] = _TEXTURE[_by_prefix(name, _TEXTURE)]
    veins, lungs = (plain_blood + gain.get(pool, 0.0) for pool in ("vein", "right"))
    return Look(phase, mean, texture * float(rng.uniform(0.6, 1.4)), veins, lungs)
