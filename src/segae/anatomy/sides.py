"""Left and right: pairs that are exchanged, a mirrored scan, situs inversus, one label on both organs of a pair."""

from __future__ import annotations

import numpy as np

from segae.anatomy.findings import HOLDS_TWO, WRONG_NAME, Finding, spoken
from segae.anatomy.parts import Part, Scene
from segae.anatomy.places import Consensus
from segae.anatomy.table import Table, known

# Of its usual distance, how far a pair must lie the other way round.
_EXCHANGED = -0.25
# An organ without partner that tells sides lies so far from the middle, one that tells the middle so near.
_ASIDE_MM, _CENTRAL_MM = 25.0, 12.0
# In a mirrored body all but this share of them lie on the other side.
_MIRRORED_SHARE = 0.2
# One label covers both of a pair when it has so much on either side, and so wide a gap between.
_BOTH_SHARE, _BOTH_GAP_MM = 0.2, 15.0
# What the thinnest place between has of the thickest one, at most.
_VALLEY = 0.35
# And so many times the usual volume, at most.
_MOST_VOLUMES = 5.0
# An organ is on the other side when that fits better by so many squared spreads.
_OTHER_SIDE = 16.0


def check_sides(scene: Scene, consensus: Consensus, table: Table) -> list[Finding]:
    """Findings `side_swapped` and `situs_inversus`."""
    parts = scene.parts
    right_way, exchanged = [], []
    for pair, fact in table.pairs.items():
        if pair[0] not in parts or pair[1] not in parts or not fact.tells_sides:
            continue
        share = (parts[pair[0]].middle[2] - parts[pair[1]].middle[2]) / fact.mean[2]
        if share < _EXCHANGED and _both_across(pair, parts, consensus):
            exchanged.append(pair)
        elif share > -_EXCHANGED:
            right_way.append(pair)
    singles = _singles(parts, table, enough=3 if right_way or not exchanged else 2)
    largest = max((name for name in parts if known(name).side is None), key=lambda n: parts[n].volume_ml, default="")
    return [
        *_swapped(right_way, exchanged, singles, largest),
        *(_lone(scene, consensus, table) if singles >= 0 and not exchanged else []),
    ]


def _singles(parts: dict[str, Part], table: Table, enough: int) -> int:
    """How the organs without partner lie from left to right: 1 as usual, -1 mirrored, 0 unknown.

    Those that usually lie beside the middle have a vote each; to be mirrored, `enough` must lie on the other side: two
    alone, such as liver and spleen, may have changed names.
    """
    usual_middle = float(
        np.mean([fact.mean[2] for name, fact in table.places.items() if name.startswith("vertebrae_")])
    )
    central, lateral = [], []
    for name, part in parts.items():
        if name not in table.places or not _whole_x(part):
            continue
        partner = known(name).partner
        aside = table.places[name].mean[2] - usual_middle
        if partner in parts:
            central.append((part.middle[2] + parts[partner].middle[2]) / 2)
        elif known(name).side is None and abs(aside) > max(_ASIDE_MM, 2 * table.places[name].spread[2]):
            lateral.append((part.middle[2], aside))
        elif known(name).side is None and abs(aside) < _CENTRAL_MM:
            central.append(part.middle[2])
    if not lateral:
        return 0
    if not central:  # the lateral ones tell the middle themselves, if they lie on both sides
        if len({aside > 0 for _, aside in lateral}) < 2:
            return 0
        central = [(min(x for x, _ in lateral) + max(x for x, _ in lateral)) / 2]
    middle = float(np.median(central))
    share = float(np.mean([(x - middle) * aside > 0 for x, aside in lateral]))
    if share <= _MIRRORED_SHARE and len(lateral) >= enough:
        return -1
    return 1 if share > 0.5 else 0


def _both_across(pair: tuple[str, str], parts: dict[str, Part], consensus: Consensus) -> bool:
    """Whether each of a pair fits the other's place better from left to right, as far as the other structures tell.

    Where one only does, it may have changed names with another organ than its partner.
    """
    for name, other in (pair, pair[::-1]):
        own, across = consensus.misfits([name, other], parts[name].middle, without=pair)[:, 2]
        if across > own:
            return False
    return True


def _whole_x(part: Part) -> bool:
    return not part.cut[:, 2].any()


def _swapped(
    right_way: list[tuple[str, str]], exchanged: list[tuple[str, str]], singles: int, largest: str
) -> list[Finding]:
    if singles < 0 and len(exchanged) >= len(right_way):
        either = "" if exchanged else " (or situs inversus)"
        return [
            Finding(
                "side_swapped",
                f"All structures lie mirrored from left to right{either}: the scan, or the orientation in its header, "
                f"is mirrored.",
                (largest,),
                {},
            )
        ]
    if singles < 0 and right_way and not exchanged:
        return [
            Finding(
                "situs_inversus",
                "Organs without partner lie mirrored, pairs as they should: situs inversus, or sides named by place.",
                (largest,),
                {},
            )
        ]
    found = []
    for left, right in exchanged:
        agreed = singles > 0 or len(right_way) >= 2
        others = f", against {len(right_way)} pairs that are right" if right_way else ""
        found.append(
            Finding(
                "side_swapped",
                f"{spoken(left).capitalize()} and {spoken(right)} are exchanged: the left one lies to the patient's "
                f"right of the other{others}.",
                (left, right),
                {left: right, right: left},
                certain=agreed,
                ceiling=WRONG_NAME,
            )
        )
    return found


def _lone(scene: Scene, consensus: Consensus, table: Table) -> list[Finding]:
    """A structure of a pair whose partner is absent, in the partner's place."""
    found = []
    for left, right in table.pairs:
        for name, other in ((left, right), (right, left)):
            if name not in scene.parts or other in scene.parts or name not in consensus.names:
                continue
            own, across = consensus.misfits([name, other], scene.parts[name].middle, without=(name,))
            if not own[2] - across[2] > _OTHER_SIDE:
                continue
            if across[2] < 6.0 and across.sum() < own.sum():
                found.append(
                    Finding(
                        "side_swapped",
                        f"{spoken(name).capitalize()} lies where {spoken(other)} should; {spoken(other)} has no label.",
                        (name,),
                        {name: other},
                        certain=len(consensus.names) >= 6,
                        ceiling=WRONG_NAME,
                    )
                )
    return found


def check_halves(scene: Scene, table: Table) -> list[Finding]:
    """Findings `merged`: one label on both of a pair."""
    found = []
    for (left, right), fact in table.pairs.items():
        if fact.mean[2] < 2 * _BOTH_GAP_MM or known(left).group == "vessel":
            continue  # vessels are drawn in pieces
        for name, other in ((left, right), (right, left)):
            part = scene.parts.get(name)
            if part is None or not _two_blobs(part, fact.mean[2], may_fuse=(left, right) in table.may_fuse):
                continue
            if other in scene.parts and scene.parts[other].volume_ml > 0.2 * part.volume_ml:
                continue
            if part.volume_ml > _MOST_VOLUMES * table.sizes[name].value:
                continue  # another, larger organ
            found.append(
                Finding(
                    "merged",
                    f"The label of {spoken(name)} lies on both sides: it covers {spoken(other)} as well.",
                    (name,),
                    {name: other},
                    certain=True,
                    ceiling=HOLDS_TWO,
                )
            )
    return found


def _two_blobs(part: Part, usual_mm: float, *, may_fuse: bool) -> bool:
    """Whether a structure's voxels fall into two parts from left to right, about as far apart as the pair.

    Between them there is next to nothing; nothing at all for pairs that nature joins at times.
    """
    counts = part.moments[2][:, 0].astype(np.float64)
    step = part.grid.step_mm[2]
    index = np.arange(len(counts))
    below = np.cumsum(counts)
    share = below / below[-1]
    middle = np.flatnonzero((share > _BOTH_SHARE) & (share < 1 - _BOTH_SHARE))
    if not len(middle):  # one slice holds most
        return False
    width = min(max(1, round(_BOTH_GAP_MM / step)), len(counts))
    smooth = np.convolve(counts, np.ones(width) / width, "same")
    valley = int(middle[smooth[middle].argmin()])
    if smooth[valley] > (0.0 if may_fuse else _VALLEY) * smooth.max():
        return False
    low = np.average(index[: valley + 1], weights=counts[: valley + 1])
    high = np.average(index[valley + 1 :], weights=counts[valley + 1 :])
    return bool((high - low) * step > 0.6 * usual_mm)
