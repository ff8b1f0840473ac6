"""Draws a damaged mask from a kind and how bad it shall be, with the parameters that make it again."""

from __future__ import annotations

import numpy as np

from segae.errors import UnreachableError
from segae.perturbation.damage import Outcome, dice_of, untouched
from segae.perturbation.kind import Kind, Params, short
from segae.perturbation.kinds import KINDS
from segae.perturbation.scene import Scene

TOLERANCE = 0.01  # of a target Dice
_DRAWS = 5  # of the other parameters, until the target is met: another place or order may do


def with_severity(scene: Scene, kind: Kind, severity: float, rng: np.random.Generator) -> tuple[Outcome, Params]:
    """Draw an error and apply it at a share of its strongest."""
    params, strongest = kind.draw(scene, rng)
    strength = short(severity * strongest)
    outcome = _applied(scene, kind, params, strength)
    return outcome, {"kind": kind.name} | params | {kind.strength: outcome.strength}


def with_dice(scene: Scene, kind: Kind, target_dice: float, rng: np.random.Generator) -> tuple[Outcome, Params]:
    """Draw an error and apply it as strongly as the target Dice asks.

    Raises
    ------
    UnreachableError
        When no strength comes within 0.01 of the target; says what can be reached.
    """
    best: tuple[Outcome, Params, float] | None = None
    for _ in range(_DRAWS):
        params, strongest = kind.draw(scene, rng)
        outcome, params = met(scene, kind, params, strongest, target_dice, rng)
        if abs(outcome.dice - target_dice) <= TOLERANCE:
            return outcome, {"kind": kind.name} | params | {kind.strength: outcome.strength}
        if best is None or abs(outcome.dice - target_dice) < abs(best[0].dice - target_dice):
            best = outcome, params, strongest
    assert best is not None
    raise UnreachableError(_unreachable(scene, kind, *best, target_dice))


def met(
    scene: Scene, kind: Kind, params: Params, strongest: float, target_dice: float, rng: np.random.Generator
) -> tuple[Outcome, Params]:
    """Apply an error as near to a Dice as it can come, without its steps where they are in the way."""
    outcome = nearest(scene, kind, params, strongest, target_dice)
    if kind.finer is None or abs(outcome.dice - target_dice) <= TOLERANCE or outcome.strength >= strongest:
        return outcome, params
    finer = kind.finer(scene, params, rng)
    return nearest(scene, kind, finer, strongest, target_dice), finer


def nearest(scene: Scene, kind: Kind, params: Params, strongest: float, target_dice: float) -> Outcome:
    """Apply an error as near to a Dice as it can come. A weak error is prepared first: that costs less."""
    first = kind.enough(scene, params, target_dice) if kind.enough else 0.3 * strongest
    if first < strongest:
        outcome = kind.build(scene, params, first).nearest(target_dice)
        if abs(outcome.dice - target_dice) <= TOLERANCE:
            return outcome
    return kind.build(scene, params, strongest).nearest(target_dice)


def replay(scene: Scene, params: Params) -> Outcome:
    """Apply fully given parameters."""
    kind = KINDS[params["kind"]]
    kind.check(params)
    return _applied(scene, kind, params, float(params[kind.strength]))


def _applied(scene: Scene, kind: Kind, params: Params, strength: float) -> Outcome:
    if strength <= 0:
        return untouched(scene, scene.box())
    return kind.build(scene, params, strength).apply(strength)


def _unreachable(
    scene: Scene, kind: Kind, outcome: Outcome, params: Params, strongest: float, target_dice: float
) -> str:
    most = kind.build(scene, params, strongest).apply(strongest)
    start = dice_of(untouched(scene, scene.box()).counts)
    return (
        f"target_dice: {kind.name!r} did not meet {target_dice:g} within {TOLERANCE:g} on this mask of {scene.voxels} "
        f"voxels: it reaches from {start:.3f} to {min(most.dice, outcome.dice):.3f}, and {outcome.dice:.3f} came "
        f"nearest. Ask for a Dice in that range, another seed or another kind."
    )
