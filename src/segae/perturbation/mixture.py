"""The kind `random`: which error, alone or after another, and how bad.

The distribution, drawn in this order from the seeded generator:

1. The quality, unless the caller says it. One mask in eight is a careful expert's: the kind `rater` at a scale drawn
   evenly from [0.5, 1.5]. The others get a target Dice drawn evenly from [0.1, 0.97].
2. The kind, with the weights of `WEIGHTS`, from those whose image or labelmap is there.
3. With a probability of 0.3 another error comes first: its target Dice lies evenly between the target and 1, and the
   second error carries the result on to the target.

A kind that cannot meet the target on this mask is drawn again, up to `_DRAWS` times; then what came nearest is taken.
With a severity instead of a target one kind is drawn, and another one where that kind cannot be applied to the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segae.errors import ParameterError
from segae.perturbation.damage import Outcome
from segae.perturbation.draw import TOLERANCE, met, replay, with_severity
from segae.perturbation.kind import Kind, Params, between
from segae.perturbation.kinds import KINDS
from segae.perturbation.scene import Scene

_DRAWS = 8
_EXPERT, _COMBINED = 1.0 / 8.0, 0.3

WEIGHTS = dict.fromkeys(KINDS, 1.0) | {
    "jitter": 3.0,
    "elastic": 3.0,
    "truncate": 3.0,
    "slicewise": 2.0,
    "drop_part": 2.0,
    "leak": 2.0,
    "merge": 2.0,
    "erode": 2.0,
    "dilate": 2.0,
    "smooth": 2.0,
    "rater": 0.0,
    "scale": 0.5,
    "rotate": 0.5,
}


def draw_mixture(
    scene: Scene,
    rng: np.random.Generator,
    *,
    target_dice: float | None = None,
    severity: float | None = None,
    kinds: Sequence[str] | None = None,
) -> tuple[Outcome, Params]:
    """Damage a mask as the module's distribution says, or with one of `kinds`, evenly, alone or combined."""
    weights = _weights(scene, kinds)
    if severity is not None:
        return _severe(scene, weights, severity, rng)
    if target_dice is None:
        if "rater" in weights and kinds is None and rng.random() < _EXPERT:
            return with_severity(scene, KINDS["rater"], between(rng, 0.5, 1.5) / 3.0, rng)
        target_dice = between(rng, 0.1, 0.97)
    best: tuple[Outcome, Params] | None = None
    for _ in range(_DRAWS):
        try:
            found = _attempt(scene, weights, target_dice, rng)
        except ParameterError:  # no neighbour nearby, say: another kind will do
            continue
        if best is None or abs(found[0].dice - target_dice) < abs(best[0].dice - target_dice):
            best = found
        if abs(best[0].dice - target_dice) <= TOLERANCE:
            break
    if best is None:
        raise ParameterError(f"kinds: none of {sorted(weights)} can be applied to this mask.")
    return best


def _severe(
    scene: Scene, weights: dict[str, float], severity: float, rng: np.random.Generator
) -> tuple[Outcome, Params]:
    """One of the kinds at a severity; another one where the mask, or what lies around it, is none for the first."""
    left = dict(weights)
    while any(left.values()):
        kind = _choose(left, rng)
        try:
            return with_severity(scene, kind, severity, rng)
        except ParameterError:
            del left[kind.name]
    raise ParameterError(f"kinds: none of {sorted(weights)} can be applied to this mask.")


def replay_steps(scene: Scene, steps: Sequence[Params]) -> Outcome:
    """Apply errors one after another, each to the result of the one before."""
    outcome = replay(scene, steps[0])
    for step in steps[1:]:
        outcome = replay(_after(scene, outcome), step)
    return outcome


def _attempt(
    scene: Scene, weights: dict[str, float], target_dice: float, rng: np.random.Generator
) -> tuple[Outcome, Params]:
    steps: list[Params] = []
    current = scene
    if rng.random() < _COMBINED:
        first = _choose(weights, rng)
        outcome, params = _toward(scene, first, between(rng, target_dice, 1.0), rng)
        if outcome.counts[1] > 0 and outcome.dice > target_dice:
            steps.append(params)
            current = _after(scene, outcome)
    outcome, params = _toward(current, _choose(weights, rng), target_dice, rng)
    if not steps:
        return outcome, params
    return outcome, {"kind": "random", "steps": [*steps, params]}


def _toward(scene: Scene, kind: Kind, target_dice: float, rng: np.random.Generator) -> tuple[Outcome, Params]:
    params, strongest = kind.draw(scene, rng)
    outcome, params = met(scene, kind, params, strongest, target_dice, rng)
    return outcome, {"kind": kind.name} | params | {kind.strength: outcome.strength}


def _after(scene: Scene, outcome: Outcome) -> Scene:
    return replace(scene, mask=outcome.patch, truth=scene.truth or scene.mask, _cuts={})


def _weights(scene: Scene, kinds: Sequence[str] | None) -> dict[str, float]:
    def possible(kind: Kind) -> bool:
        return (kind.needs != "image" or scene.image is not None) and (
            kind.needs != "labelmap" or scene.labelmap is not None
        )

    weights = WEIGHTS if kinds is None else dict.fromkeys(kinds, 1.0)
    usable = {name: weight for name, weight in weights.items() if possible(KINDS[name])}
    if not usable:
        raise ParameterError(f"kinds: {list(weights)} all need an image or a labelmap; pass image= or labelmap=.")
    return usable


def _choose(weights: dict[str, float], rng: np.random.Generator) -> Kind:
    names = list(weights)
    ends = np.cumsum([weights[name] for name in names])
    return KINDS[names[int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))]]
