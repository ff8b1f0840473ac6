"""Make the synthetic patient of `segae demo`: ``python lab/make_demo.py -o src/segae/demo/patient.npz``.

A trunk of the generator, brought to the demo's voxels, cropped to the abdomen, in steps of 8 HU: about a megabyte.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from scipy import ndimage

from segae import structures
from segae.demo import SPACING_MM, STRUCTURES
from segae_lab.synthetic.anatomy import load_atlas
from segae_lab.synthetic.ct import generate

_MARGIN_MM = 21.0
_BODY_HU = -300


def main() -> None:
    """Draw, resample, crop and write the patient."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=107)
    parser.add_argument("--data", type=Path, default=os.environ.get("SEGAE_DATA"), help="folder that holds anatomy/")
    parser.add_argument("--cache", type=Path, default=Path("work/atlas.npz"), help="the voxelised atlas")
    given = parser.parse_args()
    made = generate(given.seed, load_atlas(given.cache, given.data / "anatomy"), region="trunk", max_voxels=6_000_000)
    factors = [old / new for old, new in zip(made.spacing_mm, SPACING_MM, strict=True)]
    hu = ndimage.zoom(
        ndimage.gaussian_filter(made.ct.astype(np.float32), [0.42 / f for f in factors]), factors, order=1
    )
    numbers = np.zeros(256, np.uint8)
    for value, name in enumerate(STRUCTURES, start=1):
        numbers[structures.get(name).id] = value
    labels = ndimage.zoom(numbers[made.labels], factors, order=0)
    low, high = _box(labels > 0, hu > _BODY_HU)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    stored = np.clip(np.round((hu[window] + 1024) / 8), 0, 255).astype(np.uint8)
    np.savez_compressed(given.output, hu=stored, labels=labels[window])


def _box(organs: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box from below to above the organs, across the whole body."""
    low, high = np.zeros(3, int), np.array(organs.shape)
    margin = round(_MARGIN_MM / SPACING_MM[0])
    z = np.flatnonzero(organs.any(axis=(1, 2)))
    low[0], high[0] = max(0, z[0] - margin), min(high[0], z[-1] + 1 + margin)
    for axis, others in ((1, (0, 2)), (2, (0, 1))):
        found = np.flatnonzero(body.mean(axis=others) > 0.01)
        low[axis], high[axis] = max(0, found[0] - 3), min(high[axis], found[-1] + 4)
    return low, high


if __name__ == "__main__":
    main()
