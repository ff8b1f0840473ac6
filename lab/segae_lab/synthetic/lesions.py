"""Lesions: cysts, metastases, nodules, calcifications. They change the picture, not the organ's mask."""

from __future__ import annotations

import numpy as np

from segae_lab.synthetic.paint import Canvas

_HOSTS = (
    "liver", "liver", "spleen", "pancreas", "kidney_left", "kidney_right", "prostate", "thyroid_left", "parotid_left",
    "vertebrae_L3", "vertebrae_T8", "brain", "lung_upper_lobe_left", "lung_lower_lobe_right", "lung_middle_lobe_right",
    "muscle", "hip_left", "uterus", "aorta", "aorta",
)  # fmt: skip


def add_lesions(canvas: Canvas) -> None:
    """Paint a few lesions; small scans, which hold few of the hosts, get fewer."""
    for _ in range(int(canvas.rng.poisson(3.5))):
        _add(canvas, str(canvas.rng.choice(_HOSTS)))


def _add(c: Canvas, host: str) -> None:
    """One lesion: a ball with a rough border."""
    step = 3
    few = c.labels[::step, ::step, ::step]
    flat = np.flatnonzero(few == c.names[host])
    if not flat.size:
        return
    centre = np.array(np.unravel_index(int(c.rng.choice(flat)), few.shape)) * step
    radius_mm = float(c.rng.uniform(1, 3)) if host == "aorta" else float(np.exp(c.rng.normal(1.9, 0.6)))
    reach = np.ceil(radius_mm * 1.4 / np.array(c.spacing_mm)).astype(int)
    place = tuple(
        slice(max(0, int(m - r)), min(n, int(m + r) + 1)) for m, r, n in zip(centre, reach, c.labels.shape, strict=True)
    )
    axes = [((np.arange(p.start, p.stop) - m) * s) ** 2 for p, m, s in zip(place, centre, c.spacing_mm, strict=True)]
    away = np.sqrt(sum(np.ix_(*axes))) + 0.18 * radius_mm * c.fine[place]
    share = np.clip((radius_mm - away) / 1.5, 0, 1) * (c.labels[place] == c.names[host])
    c.hu[place] += share * (_value(c.rng, host) + 6 * c.fine[place] - c.hu[place])


def _value(rng: np.random.Generator, host: str) -> float:
    """HU: nodules in lungs, lytic or dense in bone, plaques in the aorta, else cystic, solid, enhancing, calcified."""
    if host.startswith("lung"):
        return float(rng.uniform(-200, 60))
    if host.startswith(("vertebrae", "hip")):
        return float(rng.choice([30.0, 700.0]))
    if host == "aorta":
        return float(rng.uniform(400, 900))
    return float(rng.choice([8.0, 35.0, 110.0, 500.0], p=[0.35, 0.4, 0.2, 0.05]))
