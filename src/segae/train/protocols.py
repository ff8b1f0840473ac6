"""Whole masks of known quality for evaluation, and which of them each protocol takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from segae import structures
from segae.train.data import LabelledScan
from segae.train.spoil import Bool, Target, spoil, target_of
from segae.train.synthesis import structure_boxes

# Kind -> masks of it per structure. The first of each kind of P1 makes up P1.
COUNTS = {
    "untouched": 1, "erode": 2, "dilate": 2, "jitter": 1, "shift": 1, "elastic": 1, "truncate": 2, "islands": 1,
    "holes": 1, "swap": 1, "mirror": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """Kinds that count, and whether the AUROC tells spoiled masks from untouched ones (else Dice below 0.7)."""

    title: str
    kinds: tuple[str, ...]
    first_only: bool = False
    finds_spoiled: bool = False


PROTOCOLS = {
    "P1": Protocol("mixed errors", tuple(kind for kind in COUNTS if kind != "mirror"), first_only=True),
    "P2": Protocol("erosion", ("erode",)),
    "P3": Protocol("dilation", ("dilate",)),
    "P4": Protocol("swap and wrong side", ("swap", "mirror", "untouched"), finds_spoiled=True),
    "P5": Protocol("truncation", ("truncate", "untouched"), finds_spoiled=True),
}


def masks(scan: LabelledScan, rng: np.random.Generator) -> Iterator[tuple[str, str, int, Bool, Bool]]:
    """Yield (structure, kind, number, given mask, truth) for all structures of a scan; masks are [z, y, x]."""
    boxes = structure_boxes(scan)
    for name in sorted(boxes):
        target = target_of(scan, name, boxes[name])
        truth = _paste(scan, target, target.mask)
        for kind, count in COUNTS.items():
            for number in range(count):
                given = _given(scan, target, kind, boxes, rng)
                if given is not None and given.any():
                    yield name, kind, number, given, truth


def _given(
    scan: LabelledScan, target: Target, kind: str, boxes: dict[str, np.ndarray], rng: np.random.Generator
) -> Bool | None:
    if kind == "swap":
        others = [n for n in boxes if not set(scan.parts[n]) & set(scan.parts[target.name])]
        alike = [n for n in others if structures.get(n).group == structures.get(target.name).group]
        pool = alike or others
        return scan.mask(pool[rng.integers(len(pool))]) if pool else None
    if kind == "mirror":
        given = np.ascontiguousarray(_paste(scan, target, target.mask)[:, :, ::-1])
        same = np.count_nonzero(given & scan.mask(target.name)) > 0.3 * np.count_nonzero(given)
        return None if same else given
    if kind == "truncate":
        return _paste(scan, target, _truncated(target, rng))
    planes = np.arange(len(target.mask))
    return _paste(scan, target, spoil(target, planes, kind, rng.uniform(0.05, 0.98), rng, whole=True))


def _truncated(target: Target, rng: np.random.Generator) -> Bool:
    """Lose 30 to 80 percent of the slices that are filled, at one end or both."""
    filled = np.flatnonzero(target.mask.any(axis=(1, 2)))
    lost = round(len(filled) * rng.uniform(0.3, 0.8))
    below = int(rng.choice([0, lost, lost // 2]))
    given = target.mask.copy()
    given[filled[:below]] = False
    given[filled[len(filled) - (lost - below) :]] = False
    return given


def _paste(scan: LabelledScan, target: Target, box: Bool) -> Bool:
    whole = np.zeros(scan.image.shape, bool)
    (z, y, x), (d, h, w) = target.low, box.shape
    whole[z : z + d, y : y + h, x : x + w] = box
    return whole
