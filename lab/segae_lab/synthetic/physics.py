"""The way from tissue to picture: table, metal, partial volume, kernel, noise, streaks, field of view, clipping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Field = NDArray[np.float32]


def add_table(
    rng: np.random.Generator, hu: Field, body: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> None:
    """A couch under the body: a thin shell, curved or flat, around foam; sometimes a mat."""
    columns = np.any(body, axis=0)
    if not columns.any():
        return
    lowest = int(np.flatnonzero(np.any(columns, axis=1)).max()) * spacing_mm[1]
    y, x = np.ogrid[: hu.shape[1], : hu.shape[2]]
    y, x = y * spacing_mm[1], (x - hu.shape[2] / 2) * spacing_mm[2]
    bend = rng.choice([0.0, rng.uniform(0.0004, 0.0011)])
    top = lowest + rng.uniform(1, 25) - bend * x**2
    thick, half, shell = rng.uniform(25, 70), rng.uniform(180, 270), rng.uniform(1.5, 4)
    inside = (y > top) & (y < top + thick - bend * x**2) & (np.abs(x) < half)
    rim = inside & ((y < top + shell) | (y > top + thick - bend * x**2 - shell) | (np.abs(x) > half - shell))
    foam, hard = rng.uniform(-985, -850), rng.uniform(-500, 150)
    for at in range(hu.shape[0]):
        air = ~body[at]
        hu[at][inside & air] = foam
        hu[at][rim & air] = hard
    if rng.random() < 0.5:
        mat = (y > top - rng.uniform(6, 18)) & (y <= top) & (np.abs(x) < half)
        hu[np.broadcast_to(mat, hu.shape) & ~body] = rng.uniform(-990, -930)


def add_metal(
    rng: np.random.Generator, hu: Field, where: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> None:
    """Dense fillings or implants with rays of streaks that fade with distance."""
    for at in np.flatnonzero(where.any((1, 2))):
        spots = np.argwhere(where[at])
        y, x = np.ogrid[: hu.shape[1], : hu.shape[2]]
        streak = np.zeros(hu.shape[1:], np.float32)
        for cy, cx in spots[rng.choice(len(spots), min(3, len(spots)), replace=False)]:
            dy, dx = (y - cy) * spacing_mm[1], (x - cx) * spacing_mm[2]
            angle = np.arctan2(dy, dx)
            rays = sum(np.cos(k * angle + rng.uniform(0, 6.3)) for k in (4, 7, 11, 17, 26)) / 2
            streak += rays * np.exp(-np.hypot(dy, dx) / 45) * rng.uniform(60, 350)
        hu[at] += streak
        hu[at][where[at]] = 3071


def scan(rng: np.random.Generator, hu: Field, spacing_mm: tuple[float, float, float], subslices: int) -> Field:
    """Average subslices, blur with the kernel, add noise and streaks.

    The noise has the ramp-times-apodisation spectrum of filtered backprojection; its size grows where rays cross much
    tissue, along the body's long axis where rays cross bone.
    """
    if subslices > 1:
        hu = hu.reshape(-1, subslices, *hu.shape[1:]).mean(1)
    fy = fft.fftfreq(hu.shape[1], spacing_mm[1])[:, None]
    fx = fft.rfftfreq(hu.shape[2], spacing_mm[2])[None]
    frequency = np.hypot(fy, fx).astype(np.float32)
    half = rng.uniform(0.25, 0.62)  # cycles/mm where the kernel has fallen to a half
    kernel = np.exp(-np.log(2) * (frequency / half) ** 2)
    if rng.random() < 0.25:  # edge enhancement of sharp kernels
        kernel *= 1 + rng.uniform(0.1, 0.7) * np.exp(-(((frequency - half) / (0.4 * half)) ** 2))
    spectrum = frequency**0.6 * kernel
    level = float(np.exp(rng.normal(2.6, 0.55)))
    tissue = np.clip((hu + 1000) / 1000, 0, 2.5)
    bone = np.clip((hu - 200) / 600, 0, 2)
    out = np.empty_like(hu)
    across = rng.uniform(0, 0.35) if rng.random() < 0.6 else 0.0
    for at in range(hu.shape[0]):
        white = rng.standard_normal(hu.shape[1:], np.float32)
        grain = fft.irfft2(fft.rfft2(white) * spectrum, hu.shape[1:])
        grain /= grain.std() + 1e-6
        path = tissue[at].mean(1, keepdims=True) * 0.6 + tissue[at].mean(0, keepdims=True) * 0.4 + 0.15
        smear = ndimage.gaussian_filter1d(rng.standard_normal(hu.shape[1:], np.float32), 14, axis=1) * 6
        heavy = bone[at].mean(1, keepdims=True)
        out[at] = fft.irfft2(fft.rfft2(hu[at]) * kernel, hu.shape[1:])
        out[at] += level * path * grain + across * 60 * heavy * smear
    return out


def crop_view(rng: np.random.Generator, hu: Field) -> tuple[Field, NDArray[np.bool_]]:
    """Sometimes a round field of view; scanners differ in what lies outside of it and in how they clip.

    Returns
    -------
    hu, outside
        The picture, and [y, x] what lies outside the field of view.
    """
    outside = np.zeros(hu.shape[1:], bool)
    if rng.random() < 0.5:
        y, x = np.linspace(-1, 1, hu.shape[1])[:, None], np.linspace(-1, 1, hu.shape[2])[None]
        outside = np.hypot(y, x) > rng.uniform(1.0, 1.08)
    low, high = rng.choice([-1024, -1024, -1000]), rng.choice([3071, 3071, 2000, 1500])
    hu = np.clip(hu, low, high)
    hu[:, outside] = rng.choice([-1024, -1024, -2000])
    return hu, outside
