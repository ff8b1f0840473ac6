"""A labelled scan -> the same anatomy in another patient, posture, scanner and protocol."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from segae.train.data import LabelledScan

Float32 = npt.NDArray[np.float32]

_AIR_HU = -1024
# A scan that shows any of these is not mirrored: a judge that sees livers on both sides takes a spleen for one.
_ONE_SIDED = frozenset({
    "liver", "spleen", "stomach", "pancreas", "gallbladder", "duodenum", "colon", "heart", "aorta",
    "inferior_vena_cava", "lung_left", "lung_right", "kidney_left", "kidney_right", "adrenal_gland_left",
    "adrenal_gland_right",
})  # fmt: skip
# Larger scans are drawn with larger voxels: memory, and time a visit.
_MOST_VOXELS = 6_000_000


def augmented(scan: LabelledScan, rng: np.random.Generator, *, shape_changes: bool = True) -> LabelledScan:
    """Return a randomly resampled, warped and re-exposed copy of `scan`; mirrored half of the time, where it may be.

    Parameters
    ----------
    scan : LabelledScan
    rng : Generator
    shape_changes : bool
        False leaves the anatomy alone (synthetic scans vary by themselves) and changes intensities only.
    """
    if shape_changes:
        scan = _warped(scan, rng)
        if scan.parts.keys().isdisjoint(_ONE_SIDED) and rng.random() < 0.5:
            scan = scan.mirrored()
    return replace(scan, image=_exposed(scan, rng))


def _warped(scan: LabelledScan, rng: np.random.Generator) -> LabelledScan:
    """Rotate, scale, bend and resample in one interpolation."""
    old_spacing = np.array(scan.spacing_mm)
    coarsest = np.array([5.0, 2.0, 2.0])
    spacing = old_spacing * np.exp(rng.uniform(0, 1, 3) * np.log(np.maximum(coarsest / old_spacing, 1.0)))
    spacing[1:] = spacing[1]
    extent_mm = np.array(scan.image.shape) * old_spacing
    spacing *= max(1.0, float(np.prod(extent_mm / spacing)) / _MOST_VOXELS) ** (1 / 3)
    shape = np.maximum((extent_mm / spacing).astype(int), 1)
    matrix = _rotation(np.deg2rad(rng.normal(0, [7, 3, 3]))) @ np.diag(np.exp(rng.normal(0, 0.08, 3)))
    axes = [
        (np.arange(n, dtype=np.float32) + 0.5) * s - e / 2 for n, s, e in zip(shape, spacing, extent_mm, strict=True)
    ]
    place = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    source = np.tensordot(matrix.astype(np.float32), place, axes=1)
    source += _bend(tuple(shape), tuple(spacing), rng)
    source += (extent_mm / 2).astype(np.float32)[:, None, None, None]
    source /= old_spacing.astype(np.float32)[:, None, None, None]
    source -= 0.5
    blur = np.sqrt(np.maximum((spacing / old_spacing) ** 2 - 1, 0)) * 0.4
    image = scan.image.astype(np.float32)
    for axis, sigma in enumerate(blur):
        if sigma > 0.2:
            image = ndimage.gaussian_filter1d(image, sigma, axis, truncate=2.5)
    image = ndimage.map_coordinates(image, source, order=1, cval=_AIR_HU)
    labelmap, *predictions = (
        ndimage.map_coordinates(labels, source, order=0, cval=0) for labels in (scan.labelmap, *scan.predictions)
    )
    return replace(
        scan,
        image=image.astype(np.int16),
        labelmap=labelmap,
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        predictions=tuple(predictions),
    )


def _rotation(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """About z, y, x, in the axis order z, y, x."""
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        total = total @ turn
    return total


def _bend(shape: tuple[int, ...], spacing: tuple[float, ...], rng: np.random.Generator) -> Float32:
    """Smooth displacement in mm [3, z, y, x] with wavelengths of 6 cm and more."""
    knots = [max(2, round(n * s / 60)) + 1 for n, s in zip(shape, spacing, strict=True)]
    amplitude = rng.uniform(0, 5)
    return np.stack([smooth_noise(shape, tuple(knots), rng) * amplitude for _ in range(3)])


def smooth_noise(shape: tuple[int, ...], knots: tuple[int, ...], rng: np.random.Generator) -> Float32:
    """Unit normal knots, evenly spread over the array, joined linearly."""
    field = rng.standard_normal(knots).astype(np.float32)
    for axis, n in enumerate(shape):
        at = np.linspace(0, knots[axis] - 1, n, dtype=np.float32)
        low = np.minimum(at.astype(int), max(knots[axis] - 2, 0))
        weight = (at - low).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        high = np.minimum(low + 1, knots[axis] - 1)
        field = field.take(low, axis) * (1 - weight) + field.take(high, axis) * weight
    return field


def _exposed(scan: LabelledScan, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Contrast agent in some structures, the scanner's HU error, kernel and noise."""
    image = scan.image.astype(np.float32)
    if scan.stored.step_hu > 2:  # rounded so coarsely that the steps would tell the source
        half = np.float32(scan.stored.step_hu / 2)
        image += (2 * rng.random(image.shape, np.float32) - 1) * half
    shift = np.zeros(max(int(scan.labelmap.max()), 0) + 1, np.float32)
    chosen = rng.random(len(shift)) < rng.uniform(0, 0.5)
    shift[chosen] = rng.normal(0, rng.uniform(5, 45), chosen.sum())
    shift[0] = 0
    soft = (image > -150) & (image < 300)
    image += np.where(soft, shift[scan.labelmap], 0)
    image += (image + 1000) * rng.normal(0, 0.015) + rng.normal(0, 6)
    kernel = rng.uniform(-0.6, 0.8)
    if abs(kernel) > 0.25:
        blurred = ndimage.gaussian_filter(image, (0, abs(kernel), abs(kernel)), truncate=2.5)
        image = blurred if kernel > 0 else image + 0.7 * (image - blurred)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    grain = rng.uniform(0, 1.0)
    if grain > 0.3:
        noise = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(noise, grain, 1, truncate=2), grain, 2, truncate=2)
        noise /= noise.std() + 1e-6
    image += noise * rng.exponential(10)
    # What was clipped stays clipped, noise and all, as in a user's scan that was windowed before.
    low, high = max(scan.stored.low_hu, _AIR_HU), min(scan.stored.high_hu, 3071)
    return np.clip(image, low, high).astype(np.int16)
