"""Voxels that two masks claim, parts outside of what must hold them, two labels on one organ."""

from __future__ import annotations

from segae.anatomy.findings import Finding, spoken
from segae.anatomy.parts import Scene
from segae.anatomy.table import Table

# Of the smaller mask: borders that two readers draw differ by less.
_OVERLAP = 0.1
_INSIDE = 0.5


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
