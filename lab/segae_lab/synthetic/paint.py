"""Hounsfield units for a labelled body: tissues, contents, texture, vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from segae_lab.synthetic.tissues import Look

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Triple = tuple[float, float, float]

#: Bones by prefix: thickness of the cortex (mm), HU of cortex and of spongy bone.
_BONES: tuple[tuple[tuple[str, ...], float, float, float], ...] = (
    (("vertebrae", "sacrum", "sternum"), 1.6, 480, 170),
    (("rib_", "clavicula", "scapula"), 1.8, 800, 220),
    (("hip_",), 2.0, 750, 170),
    (("femur", "humerus", "other_bone"), 4.0, 1250, 60),
    (("skull",), 2.2, 1250, 650),
    (("mandible",), 2.4, 1250, 350),
)
#: Hollow organs: thickness of the wall (mm), share filled with gas, chance of stool.
_HOLLOW = {
    "stomach": (3.5, 0.5, 0.0),
    "duodenum": (2.5, 0.12, 0.0),
    "small_bowel": (2.2, 0.12, 0.0),
    "colon": (2.4, 0.5, 0.8),
    "rectum": (3.0, 0.3, 0.7),
    "esophagus": (4.5, 0.2, 0.0),
}


def noise(rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: tuple[float, ...], grain_mm: float) -> Field:
    """Smooth noise of about unit variance with grains of a size in mm."""
    coarse = [max(2, int(np.ceil(n * s / grain_mm)) + 1) for n, s in zip(shape, spacing_mm, strict=True)]
    field = torch.from_numpy(rng.standard_normal(coarse, np.float32))[None, None]
    fine = functional.interpolate(field, shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    return np.asarray(fine * 1.5)


@dataclass
class Canvas:
    """A scan in the making, all arrays [z, y, x].

    Attributes
    ----------
    labels, depth, vessel
        uint8 ids, mm to the label's border, filled fraction, from `segae_lab.synthetic.sampling.sample`.
    hu
        The picture so far.
    fine, rough
        Noise of unit variance with grains of 2 and 9 mm, shared by all textures.
    """

    rng: np.random.Generator
    labels: NDArray[np.uint8]
    depth: Field
    vessel: Field
    names: dict[str, int]
    spacing_mm: Triple
    look: Look
    hu: Field
    fine: Field
    rough: Field

    def where(self, *prefixes: str) -> Mask:
        """Voxels of the names that start with one of these."""
        table = np.zeros(256, bool)
        table[[at for name, at in self.names.items() if name.startswith(prefixes)]] = True
        return np.asarray(table[self.labels])


def paint(rng: np.random.Generator, labels: NDArray[np.uint8], maps: Field, names: dict[str, int],
          spacing_mm: Triple, look: Look) -> Canvas:  # fmt: skip
    """Paint every sample of a scan; `maps` as from `segae_lab.synthetic.sampling.sample`."""
    fine, rough = noise(rng, labels.shape, spacing_mm, 2.2), noise(rng, labels.shape, spacing_mm, 9)
    hu = look.mean[labels]
    hu += look.texture[labels] * (0.6 * fine + 0.6 * rough)
    canvas = Canvas(rng, labels, maps[0], maps[2], names, spacing_mm, look, hu, fine, rough)
    for part in (_soft_tissue, _bones, _lungs, _liver, _airways, _kidneys, _brain, _hollow_organs):
        part(canvas)
    return canvas


def _soft_tissue(c: Canvas) -> None:
    """Fat between muscle fibres, small vessels in fat, glands in the breast, the eye's lens and wall."""
    grain = 0.8 * c.fine + c.rough
    marbled = c.where("muscle", "autochthon", "gluteus") & (grain > c.rng.uniform(1.6, 3.2))
    c.hu[marbled] -= c.rng.uniform(40, 110)
    strands = c.where("abdominal_tissue", "mediastinal_tissue") & (c.fine + 0.5 * c.rough > c.rng.uniform(1.5, 2.6))
    c.hu[strands] = c.look.blood * 0.6
    gland = c.where("breast") & (c.rough > c.rng.uniform(0, 1.6))
    c.hu[gland] += c.rng.uniform(80, 140)
    c.hu[c.where("eyeball") & (c.depth < 1.6)] += 35


def _bones(c: Canvas) -> None:
    """A bright cortex over spongy bone; age thins both."""
    density = float(c.rng.uniform(0.6, 1.25))
    for prefixes, cortex_mm, cortex_hu, spongy_hu in _BONES:
        bone = c.where(*prefixes)
        if bone.any():
            edge = np.clip(1.35 - c.depth[bone] / (cortex_mm * c.rng.uniform(0.8, 1.4)), 0, 1)
            spongy = density * spongy_hu * (1 + 0.22 * c.fine[bone] + 0.2 * c.rough[bone])
            c.hu[bone] = spongy + edge * (density * cortex_hu * c.rng.uniform(0.85, 1.1) - spongy)


def _lungs(c: Canvas) -> None:
    """Vessels, and denser parenchyma towards the back, where the blood sinks to."""
    lung = c.where("lung_")
    if lung.any():
        sinking = np.linspace(-1, 1, c.hu.shape[1], dtype=np.float32)[None, :, None] * c.rng.uniform(0, 60)
        air = (c.hu + sinking)[lung]
        c.hu[lung] = air + c.vessel[lung] * (c.look.lung_blood + c.rng.uniform(-60, 20) - air)


def _liver(c: Canvas) -> None:
    liver = c.where("liver")
    c.hu[liver] += c.vessel[liver] * (c.look.blood - c.look.mean[c.names["liver"]])


def _airways(c: Canvas) -> None:
    tube = c.where("airway", "trachea", "bronchus")
    c.hu[tube] = np.where(c.depth[tube] > c.rng.uniform(0.6, 1.6), -1000 + 8 * c.fine[tube], 20)
    nose = c.where("nasal_cavity")
    c.hu[nose] = np.where((c.rough + 0.7 * c.fine)[nose] > c.rng.uniform(-0.9, 0.4), -990, c.hu[nose])


def _kidneys(c: Canvas) -> None:
    """Cortex, medulla that fills later, and a pelvis of fat, urine or excreted contrast medium."""
    kidney = c.where("kidney_left", "kidney_right")
    if not kidney.any():
        return
    early = {"none": 3.0, "arterial": float(c.rng.uniform(40, 90)), "portal": float(c.rng.uniform(0, 20)), "late": -5.0}
    excreted = c.look.phase == "late" and c.rng.random() < 0.5
    pelvis = float(c.rng.uniform(200, 900)) if excreted else float(c.rng.uniform(-60, 10))
    depth = c.depth[kidney] + 1.5 * c.rough[kidney]
    tissue = c.hu[kidney] - np.where(depth > 6, early[c.look.phase], 0)
    c.hu[kidney] = np.where(depth > c.rng.uniform(13, 18), pelvis, tissue)


def _brain(c: Canvas) -> None:
    """Liquor between the gyri, grey matter around white."""
    brain = c.where("brain")
    if brain.any():
        depth = c.depth[brain] + 2.2 * c.rough[brain]
        tissue = c.hu[brain] + np.where(depth > 8, -float(c.rng.uniform(4, 9)), 3)
        sulcus = (np.abs(c.rough[brain]) < 0.10) & (c.depth[brain] < 14)
        c.hu[brain] = np.where((depth < c.rng.uniform(-1, 3)) | sulcus, c.rng.uniform(4, 18), tissue)


def _hollow_organs(c: Canvas) -> None:
    """Wall, then gas in front, fluid, stool or swallowed contrast medium behind."""
    swallowed = c.rng.random() < 0.25
    blobs = noise(c.rng, c.hu.shape, c.spacing_mm, 28)
    level = blobs - 2 * np.linspace(-1, 1, c.hu.shape[1], dtype=np.float32)[None, :, None]
    for name, (wall_mm, gas_share, stool_chance) in _HOLLOW.items():
        lumen = (c.labels == c.names[name]) & (c.depth > wall_mm * c.rng.uniform(0.7, 1.3))
        if not lumen.any():
            continue
        grain, fill = c.fine[lumen], c.rng.uniform(5, 35) + 4 * c.fine[lumen]
        if swallowed and name != "esophagus":
            fill += c.rng.uniform(80, 350) * np.clip(1 + 0.3 * blobs[lumen], 0, 2)
        if c.rng.random() < stool_chance:
            fill += 30 + 90 * np.clip(grain, -2, 1) - np.where(grain < -1.2, 500, 0)
        share = np.clip(gas_share * c.rng.uniform(0, 1.8), 0, 1)
        gas = level[lumen] > np.quantile(level[lumen], 1 - share)
        c.hu[lumen] = np.where(gas, -1000, fill)
