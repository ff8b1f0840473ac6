"""Whole masks of known quality for evaluation, and which of them each protocol takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from segae.errors import ParameterError
from segae.perturbation import perturb
from segae.train.data import LabelledScan
from segae.train.spoil import Bool
from segae.train.synthesis import structure_boxes

# Kind -> masks of it per structure. The first of each kind of P1 makes up P1.
COUNTS = {
    "untouched": 1, "erode": 2, "dilate": 2, "jitter": 1, "shift": 1, "elastic": 1, "truncate": 2, "islands": 1,
    "holes": 1, "swap": 1, "mirror": 1,
}  # fmt: skip

# Kinds whose strength is no matter of degree.
_ALL_OR_NOTHING = ("swap", "mirror")


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
    "P6": Protocol("errors of segmentation networks", ("model",)),
}


def masks(scan: LabelledScan, rng: np.random.Generator) -> Iterator[tuple[str, str, int, Bool, Bool]]:
    """Yield (structure, kind, number, given mask, truth) for all structures of a scan; masks are [z, y, x].

    Errors are those of `segae.perturb`, at a Dice drawn evenly from 0.1 to 0.97
    (truncation: 0.3 to 0.85). Errors that a structure cannot have
    (a swap without a neighbour, a mirror image on the structure itself) are left out.
    """
    for name in sorted(structure_boxes(scan)):
        truth = scan.mask(name)
        for kind, count in COUNTS.items():
            for number in range(count):
                given = truth if kind == "untouched" else _spoiled(scan, truth, kind, rng)
                if given is not None and given.any():
                    yield name, kind, number, given, truth


def predictions(scan: LabelledScan) -> Iterator[tuple[str, str, int, Bool, Bool]]:
    """Yield the same for what segmentation networks made of the scan."""
    boxes = structure_boxes(scan)
    for number, labelmap in enumerate(scan.predictions):
        made = replace(scan, labelmap=labelmap)
        for name in sorted(boxes):
            given = made.mask(name)
            if given.any():
                yield name, "model", number, given, scan.mask(name)


def _spoiled(scan: LabelledScan, truth: Bool, kind: str, rng: np.random.Generator) -> Bool | None:
    low, high = (0.3, 0.85) if kind == "truncate" else (0.1, 0.97)
    whole = kind in _ALL_OR_NOTHING
    try:
        made: Bool = perturb(
            truth.view(np.uint8),
            kind,
            image=scan.image,
            labelmap=scan.labelmap,
            spacing=scan.spacing_mm,
            seed=rng,
            severity=1.0 if whole else None,
            target_dice=None if whole else rng.uniform(low, high),
        ).astype(bool)
        return made
    except ParameterError:
        return None
