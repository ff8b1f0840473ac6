"""An error with everything drawn but its strength: applied at any strength, or at the one that meets a Dice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from segae import _core
from segae.perturb.scene import Bytes, Floats, Patch, Scene

# Histogram bins between no error and the strongest: the Dice of two neighbours hardly differs.
_BINS = 1 << 16

Counts = tuple[int, int, int]  # voxels of both, of the result, of the truth


@dataclass(frozen=True)
class Outcome:
    """A damaged mask and how it agrees with the truth."""

    strength: float
    patch: Patch
    counts: Counts

    @property
    def dice(self) -> float:
        """Against the truth; nan when both are empty."""
        return dice_of(self.counts)


def dice_of(counts: Counts) -> float:
    """Dice from the voxels of both, of the result and of the truth."""
    both, result, truth = counts
    return 2.0 * both / (result + truth) if result + truth else float("nan")


class Error(Protocol):
    """What every family of errors can do. Strengths beyond `most` cannot be applied."""

    most: float

    def apply(self, strength: float) -> Outcome:
        """Damage the mask; strength 0 leaves it as it is."""

    def nearest(self, target_dice: float) -> Outcome:
        """Damage the mask so that its Dice comes as near to the target as the strengths up to `most` allow."""


@dataclass
class LevelError:
    """An error whose voxels each flip at a level of their own (csrc/perturb/levels.h)."""

    scene: Scene
    box: _core.Box
    level: Floats
    most: float

    def apply(self, strength: float) -> Outcome:
        """See `Error`."""
        if strength <= 0:
            return untouched(self.scene, self.box)
        mask, truth = self.scene.mask_in(self.box), self.scene.truth_in(self.box)
        result, (both, voxels, _) = _core.flip(self.box, mask, self.level, strength, truth, self.scene.threads)
        return Outcome(strength, Patch(self.box, result), (both, voxels, self.scene.truth_voxels))

    def nearest(self, target_dice: float) -> Outcome:
        """See `Error`. One histogram of the levels gives the Dice of every strength."""
        mask, truth = self.scene.mask_in(self.box), self.scene.truth_in(self.box)
        counts = _core.level_histogram(self.box, mask, self.level, truth, self.most, _BINS, self.scene.threads)
        flipped = counts.cumsum(axis=0)
        start = untouched(self.scene, self.box).counts
        both = start[0] + flipped[:, 1, 0] - flipped[:, 1, 1]
        voxels = start[1] + flipped[:, :, 0].sum(axis=1) - flipped[:, :, 1].sum(axis=1)
        miss = np.abs(2.0 * both / np.maximum(voxels + start[2], 1) - target_dice)
        if miss.min() >= abs(dice_of(start) - target_dice):
            return self.apply(0.0)
        # Just below the bin's end: levels at the end itself belong to the next bin, and ties are wide.
        return self.apply(_short((int(miss.argmin()) + 1) * self.most / _BINS * (1 - 1.5e-6)))


@dataclass
class RenderedError:
    """An error that has to be computed for every strength that is tried.

    `render(strength, stride)` gives the outcome; a stride above 1 looks at every so many rows only, for the counts.
    `rough` says that the Dice does not fall steadily with the strength, so that it must be looked for everywhere.
    """

    scene: Scene
    render: Callable[[float, int], Outcome]
    most: float
    rough: bool = False
    strided: bool = False

    def apply(self, strength: float) -> Outcome:
        """See `Error`."""
        return self.render(strength, 1) if strength > 0 else untouched(self.scene, self.scene.box())

    def nearest(self, target_dice: float) -> Outcome:
        """See `Error`. Brackets the target on a few rows, then closes in on it with all of them."""
        stride = self._stride() if self.strided else 1
        low, high = self._scan(target_dice, stride) if self.rough else self._bracket(target_dice, stride)
        if stride > 1:
            low, high = self._halve(low, high, target_dice, stride, 8)
            width = max(high - low, 0.02 * high)  # the estimate may be off: leave the whole mask some room
            low, high = max(0.0, low - width), min(self.most, high + width)
        return self._close_in(low, high, target_dice)

    def _stride(self) -> int:
        rows = self.scene.box().shape[0] * self.scene.box().shape[1]
        return int(np.clip(np.sqrt(rows / 2000.0), 1, 6))

    def _estimate(self, strength: float, stride: int) -> float:
        return dice_of(self.render(strength, stride).counts)

    def _bracket(self, target: float, stride: int) -> tuple[float, float]:
        low, high = 0.0, self.most / 16.0
        while high < self.most and self._estimate(high, stride) > target:
            low, high = high, min(2.0 * high, self.most)
        return low, high

    def _scan(self, target: float, stride: int) -> tuple[float, float]:
        strengths = np.linspace(0.0, self.most, 25)[1:]
        missed = [abs(self._estimate(float(s), stride) - target) for s in strengths]
        best = int(np.argmin(missed))
        return float(strengths[best] - strengths[0]), float(min(strengths[best] + strengths[0], self.most))

    def _halve(self, low: float, high: float, target: float, stride: int, steps: int) -> tuple[float, float]:
        for _ in range(steps):
            middle = (low + high) / 2.0
            if self._estimate(middle, stride) > target:
                low = middle
            else:
                high = middle
        return low, high

    def _close_in(self, low: float, high: float, target: float) -> Outcome:
        """Regula falsi with all rows, until within 0.002 or nothing is gained."""
        ends = [self.apply(_short(low)), self.apply(_short(high))]
        tried = list(ends)
        for step in range(12):
            best = min(tried, key=lambda outcome: abs(outcome.dice - target))
            if abs(best.dice - target) < 0.002:
                break
            gap = ends[0].dice - ends[1].dice
            share = (ends[0].dice - target) / gap if gap > 0 and step % 3 != 2 else 0.5
            share = min(max(share, 0.05), 0.95)
            middle = self.apply(_short(ends[0].strength + share * (ends[1].strength - ends[0].strength)))
            tried.append(middle)
            ends[0 if middle.dice > target else 1] = middle
        return min(tried, key=lambda outcome: abs(outcome.dice - target))


def untouched(scene: Scene, box: _core.Box) -> Outcome:
    """The mask as it is: every kind's result at strength 0."""
    mask, truth = scene.mask_in(box), scene.truth_in(box)
    both = _core.compare(box, mask, truth, scene.threads)[0]
    return Outcome(0.0, Patch(box, mask), (both, scene.voxels, scene.truth_voxels))


def _short(number: float) -> float:
    """Nine digits: what is written to JSON is what was applied."""
    return float(f"{number:.9g}")
