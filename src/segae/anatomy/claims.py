"""Voxels that two masks claim, parts outside of what must hold them, two labels on one organ."""

from __future__ import annotations

import numpy as np

from segae.anatomy.findings import Finding, spoken
from segae.anatomy.parts import Scene
from segae.anatomy.table import Table

# Of the smaller mask: borders that two readers draw differ by less.
_OVERLAP = 0.1
_INSIDE = 0.5
# Of a label that reaches beyond the middle of its partner, on the other side.
_ASTRAY = 0.05


def check_claims(scene: Scene, table: Table) -> list[Finding]:
    """Findings `overlaps` and `misplaced`."""
    found = []
    for (a, b), shared in scene.overlap_ml.items():
        smaller, larger = sorted((a, b), key=lambda name: scene.parts[name].volume_ml)
        share = shared / scene.parts[smaller].volume_ml
        if share > _OVERLAP and not table.may_overlap(a, b):
            found.append(
                Finding(
                    "overlaps",
                    f"{100 * share:.0f} % of {spoken(smaller)} lie in the mask of {spoken(larger)} as well.",
                    (smaller, larger),
                    {},
                )
            )
    found += _two_labels_on_one(scene, table)
    masks = {name for pair in scene.overlap_ml for name in pair}
    for name in sorted(masks & scene.parts.keys()):
        for holder in table.inside.get(name, frozenset()) & masks:
            share = scene.overlap_ml.get((min(name, holder), max(name, holder)), 0.0) / scene.parts[name].volume_ml
            if share < _INSIDE:
                found.append(
                    Finding(
                        "misplaced",
                        f"{100 * (1 - share):.0f} % of {spoken(name)} lie outside of {spoken(holder)}.",
                        (name,),
                        {},
                    )
                )
    return found


def _two_labels_on_one(scene: Scene, table: Table) -> list[Finding]:
    """Labels of a pair that touch, one of which reaches beyond the middle of the other.

    A horseshoe kidney's halves touch as well, but each stays on its side.
    """
    found = []
    for (left, right), fact in table.pairs.items():
        if (left, right) not in scene.contact_mm2 or not fact.tells_sides:
            continue
        for name, other, towards in ((left, right, -1), (right, left, 1)):
            part, partner = scene.parts[name], scene.parts[other]
            counts = part.moments[2][:, 0]
            places = np.arange(len(counts)) * part.grid.step_mm[2]
            share = float(counts[(places - partner.middle[2]) * towards > 0].sum() / counts.sum())
            if _ASTRAY < share < 0.5:
                found.append(
                    Finding(
                        "misplaced",
                        f"{100 * share:.0f} % of {spoken(name)} lie on the other side, and touch {spoken(other)}: "
                        f"two labels on one organ.",
                        (name, other),
                        {},
                    )
                )
    return found
