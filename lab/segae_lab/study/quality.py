"""How good is a predicted mask? Four answers that need no truth, and the truth for comparison. Higher is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

import segae
from segae import Engine
from segae_lab.study.network import StudyNet, probabilities
from segae_lab.study.scans import NAMES, Bool, StudyScan
from segae_lab.study.sizes import Size

Float64 = npt.NDArray[np.float64]

# Uncertainty is averaged over the voxels that may belong to the structure.
_PERHAPS = 0.1

METHODS = ("random", "entropy", "mc dropout", "segae", "true dice")


class Judges:
    """The ways to rate predictions of one network.

    Every method returns float [structures] for a scan. A structure that was not found at all has the lowest rating
    that the method can give, but for "random".
    """

    def __init__(self, net: StudyNet, engine: Engine, size: Size, seed: int) -> None:
        self.net = net
        self.engine = engine
        self.size = size
        self.rng = np.random.default_rng(seed)

    def rate(self, method: str, scan: StudyScan, said: npt.NDArray[np.float32]) -> Float64:
        """Rate a prediction, probabilities [structures, z, side, side]."""
        how: dict[str, Callable[[StudyScan, npt.NDArray[np.float32]], Float64]] = {
            "random": lambda *_: self.rng.random(len(NAMES)),
            "entropy": self._entropy,
            "mc dropout": self._dropout,
            "segae": self._segae,
            "true dice": self._true,
        }
        return how[method](scan, said)

    def _entropy(self, _: StudyScan, said: npt.NDArray[np.float32]) -> Float64:
        p = said.clip(1e-6, 1 - 1e-6)
        bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        return -_mean_where(bits, said, none=1.0)

    def _dropout(self, scan: StudyScan, _: npt.NDArray[np.float32]) -> Float64:
        passes = probabilities(self.net, scan, self.size.passes)
        return -_mean_where(passes.var(axis=0), passes.mean(axis=0), none=0.25)

    def _segae(self, scan: StudyScan, said: npt.NDArray[np.float32]) -> Float64:
        found = said > 0.5
        return np.array(
            [
                self.engine.score(scan.image, mask.view(np.uint8), name, spacing=tuple(scan.spacing_mm))
                if mask.any()
                else 0.0
                for name, mask in zip(NAMES, found, strict=True)
            ]
        )

    def _true(self, scan: StudyScan, said: npt.NDArray[np.float32]) -> Float64:
        return np.where(scan.known, dices(scan, said > 0.5), np.nan)


def _mean_where(values: npt.NDArray[np.float32], said: npt.NDArray[np.float32], *, none: float) -> Float64:
    """Mean [structures] over the voxels that may belong to each, `none` where there are none."""
    perhaps = said > _PERHAPS
    count = perhaps.sum(axis=(1, 2, 3))
    total = (values * perhaps).sum(axis=(1, 2, 3), dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), none)


def dices(scan: StudyScan, found: Bool) -> Float64:
    """Dice [structures] of the whole scan; 1 where neither mask nor truth has a voxel."""
    shared = (found & scan.truth).sum(axis=(1, 2, 3))
    total = found.sum(axis=(1, 2, 3)) + scan.truth.sum(axis=(1, 2, 3))
    return np.where(total > 0, 2 * shared / np.maximum(total, 1), 1.0)


def tested(net: StudyNet, scans: list[StudyScan]) -> tuple[float, float]:
    """Dice and NSD at one voxel's tolerance, means over scans of the means over labelled structures."""
    dice, nsd = [], []
    for scan in scans:
        found = probabilities(net, scan)[0] > 0.5
        rows = [
            segae.measure(
                found[row].view(np.uint8),
                scan.truth[row].view(np.uint8),
                spacing=tuple(scan.spacing_mm),
                tolerance_mm=float(scan.spacing_mm[1]),
                threads=1,
            )
            for row in np.flatnonzero(scan.known & scan.truth.any(axis=(1, 2, 3)))
        ]
        dice.append(np.mean([row.dice for row in rows]))
        nsd.append(np.mean([row.nsd for row in rows]))
    return float(np.mean(dice)), float(np.mean(nsd))
