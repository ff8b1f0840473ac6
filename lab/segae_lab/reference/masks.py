"""What the built-in reference makes of the labelled scans: masks with a network's errors, for the judge to learn from.

The reference learned from these scans, so its masks of them are good. A second set is drawn of the same scans with
noise and fewer details, which a network bears less well.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from tqdm import tqdm

from segae import structures, volume
from segae.frame import Volume
from segae.reference.builtin import BuiltInReference, knows_scan
from segae.reference.network import built_in_network
from segae.threads import available_threads
from segae.train import data
from segae_lab.segmenter import save_prediction

_NOISE_HU, _BLUR_MM = 60.0, 3.0


def draw_masks(folder: Path, out: Path) -> None:
    """Write ``CASE_pred_reference.nii.gz`` and ``CASE_pred_reference-noisy.nii.gz`` of the labelled training scans.

    Files that are there are not made again. Scans too small for the reference are left out.
    """
    out.mkdir(parents=True, exist_ok=True)
    for case in tqdm(data.cases(folder, "train"), desc="reference masks", unit="case"):
        image = volume.load(case.image, "image")
        if not knows_scan(image):
            continue
        rng = np.random.default_rng([*case.name.encode()])
        for name, seen in (("reference", image), ("reference-noisy", _degraded(image, rng))):
            goal = out / f"{case.name}_pred_{name}.nii.gz"
            if not goal.exists():
                save_prediction(drawn(seen), case, goal)


def drawn(image: Volume) -> npt.NDArray[np.uint8]:
    """All structures that the reference finds, as a labelmap [z, y, x] with ids of structures.csv."""
    expected = BuiltInReference(image, built_in_network("cpu"), available_threads())
    expected.whole()
    labels = np.zeros(image.array.shape, np.uint8)
    for name in expected.names:
        labels[expected.on_image_grid(name)] = structures.get(name).id
    return labels


def _degraded(image: Volume, rng: np.random.Generator) -> Volume:
    """The scan with noise, blurred."""
    hu = image.array.astype(np.float32) * image.slope + image.intercept
    hu += rng.normal(0, _NOISE_HU, hu.shape).astype(np.float32)
    hu = ndimage.gaussian_filter(hu, [_BLUR_MM / s for s in image.spacing_mm], truncate=2.0)
    return replace(image, array=np.ascontiguousarray(hu.astype(np.int16)), slope=1.0, intercept=0.0)
