"""An error with everything drawn but its strength: applied at any strength, or at the one that meets a Dice."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from segae import _core
from segae.perturbation.scene import Floats, Patch, Scene

# Histogram bins between no error and the strongest, so many that the Dice of two neighbours hardly differs: about as
# many as the box has voxels, within these bounds. Summing up the bins is what a small mask costs most.
_FEWEST_BINS, _MOST_BINS = 1 << 12, 1 << 16

# A search ends this near to its target. Estimates from a part of the voxels may be this far off.
_GOOD, _ESTIMATE_OFF = 0.005, 0.015

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


class Damage(Protocol):
    """What every family of errors can do. Strengths beyond `most` cannot be applied."""

    most: float

    def apply(self, strength: float) -> Outcome:
        """Damage the mask; strength 0 leaves it as it is."""

    def nearest(self, target_dice: float) -> Outcome:
        """Damage the mask so that its Dice comes as near to the target as the strengths up to `most` allow."""


@dataclass
class LevelDamage:
    """An error whose voxels each flip at a level of their own (csrc/perturb/levels.h)."""

    scene: Scene
    box: _core.Box
    level: Floats
    most: float

    def apply(self, strength: float) -> Outcome:
        """See `Damage`."""
        if strength <= 0:
            return untouched(self.scene, self.box)
        mask, truth = self.scene.mask_in(self.box), self.scene.truth_in(self.box)
        result, (both, voxels, _) = _core.flip(self.box, mask, self.level, strength, truth, self.scene.threads)
        return Outcome(strength, Patch(self.box, result), (both, voxels, self.scene.truth_voxels))

    def largest_level(self) -> float:
        """Upper bound, within 1 %, of the finite levels up to `most`: a stronger error changes nothing more."""
        mask = self.scene.mask_in(self.box)
        counts = _core.level_histogram(self.box, mask, self.level, mask, self.most, 1024, self.scene.threads)
        found = np.flatnonzero(counts.sum(axis=(1, 2)))
        return _short((int(found[-1]) + 1) * self.most / 1024) if len(found) else self.most

    def nearest(self, target_dice: float) -> Outcome:
        """See `Damage`. One histogram of the levels gives the Dice of every strength."""
        mask, truth = self.scene.mask_in(self.box), self.scene.truth_in(self.box)
        bins = 1 << int(np.clip(math.prod(self.box.shape), _FEWEST_BINS, _MOST_BINS)).bit_length() - 1
        counts = _core.level_histogram(self.box, mask, self.level, truth, self.most, bins, self.scene.threads)
        flipped = counts.cumsum(axis=0)
        start = untouched(self.scene, self.box).counts
        both = start[0] + flipped[:, 1, 0] - flipped[:, 1, 1]
        voxels = start[1] + flipped[:, :, 0].sum(axis=1) - flipped[:, :, 1].sum(axis=1)
        miss = np.abs(2.0 * both / np.maximum(voxels + start[2], 1) - target_dice)
        if miss.min() >= abs(dice_of(start) - target_dice):
            return self.apply(0.0)
        # Just below the bin's end: levels at the end itself belong to the next bin, and ties are wide.
        return self.apply(_short((int(miss.argmin()) + 1) * self.most / bins * (1 - 1.5e-6)))


@dataclass
class RenderedDamage:
    """An error that has to be computed for every strength that is tried.

    Attributes
    ----------
    render : (strength) -> Outcome
    estimate : (strength) -> float
        The Dice from a part of the voxels, for less.
    most : float
    rough : bool
        The Dice does not fall steadily with the strength, so it must be looked for everywhere.
    """

    scene: Scene
    render: Callable[[float], Outcome]
    estimate: Callable[[float], float]
    most: float
    rough: bool = False

    def apply(self, strength: float) -> Outcome:
        """See `Damage`."""
        return self.render(strength) if strength > 0 else untouched(self.scene, self.scene.box())

    def nearest(self, target_dice: float) -> Outcome:
        """See `Damage`. Estimates find the place, the whole mask decides."""
        if not self.rough and self.estimate(self.most) > target_dice + 2.0 * _ESTIMATE_OFF:
            return self.apply(self.most)
        low, high = self._scan(target_dice) if self.rough else self._bracket(target_dice)
        for _ in range(7):
            middle = (low + high) / 2.0
            if self.estimate(middle) > target_dice:
                low = middle
            else:
                high = middle
        return self._settle((low + high) / 2.0, target_dice)

    def _bracket(self, target: float) -> tuple[float, float]:
        low, high = 0.0, self.most / 16.0
        while high < self.most and self.estimate(high) > target:
            low, high = high, min(2.0 * high, self.most)
        return low, high

    def _scan(self, target: float) -> tuple[float, float]:
        strengths = np.linspace(0.0, self.most, 25)[1:]
        missed = [abs(self.estimate(float(s)) - target) for s in strengths]
        best, step = int(np.argmin(missed)), strengths[0]
        return float(strengths[best] - step), float(min(strengths[best] + step, self.most))

    def _settle(self, start: float, target: float) -> Outcome:
        """Try the whole mask at the estimate; where it misses, step over the target and close in."""
        tried = [self.apply(_short(start))]
        step = 0.08 * start
        low = high = None
        for _ in range(10):
            last = tried[-1]
            if abs(last.dice - target) <= _GOOD:
                return last
            if last.dice > target:
                low = last
            else:
                high = last
            if low is not None and high is not None:
                if low.dice <= high.dice:
                    break
                share = (low.dice - target) / (low.dice - high.dice)
                strength = low.strength + min(max(share, 0.1), 0.9) * (high.strength - low.strength)
            else:
                strength = min(max(last.strength + (step if last.dice > target else -step), 0.0), self.most)
                step *= 1.5
            if strength == last.strength:
                break
            tried.append(self.apply(_short(strength)))
        return min(tried, key=lambda outcome: abs(outcome.dice - target))


def untouched(scene: Scene, box: _core.Box) -> Outcome:
    """The mask as it is: every kind's result at strength 0."""
    mask, truth = scene.mask_in(box), scene.truth_in(box)
    both = _core.compare(box, mask, truth, scene.threads)[0]
    return Outcome(0.0, Patch(box, mask), (both, scene.voxels, scene.truth_voxels))


def _short(number: float) -> float:
    """Nine digits: what is written to JSON is what was applied."""
    return float(f"{number:.9g}")
