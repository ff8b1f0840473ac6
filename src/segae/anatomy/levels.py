"""Whole chains that are numbered one off: ribs against vertebrae, one side against the other, and organs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from segae.anatomy.chains import Chain
from segae.anatomy.findings import WRONG_NAME, Finding, spoken
from segae.anatomy.parts import Part
from segae.anatomy.places import Consensus
from segae.anatomy.table import Table

Float64 = npt.NDArray[np.float64]

# Chains are compared where so many elements can be; ribs lie higher or lower by posture, but less than this.
_LEAST = 3
_OFF = 0.75
# A vertebra that the scan's border cuts is placed by one that is no further away.
_NEAR = 2
# More than that between the sides is no tilt.
_TILT, _LEVEL = 0.85, 0.4
# Vertebrae are wrong, and not the ribs, when organs put them off by so much.
_WRONG_SPINE = 0.55
# From one vertebra of the trunk to the next.
_VERTEBRA_MM = 28.0


def check_levels(
    spine: Chain, sides: Sequence[Chain], parts: dict[str, Part], consensus: Consensus, table: Table
) -> list[Finding]:
    """Findings `wrong_level`.

    Parameters
    ----------
    spine : Chain
    sides : two Chains
        Ribs of the left, of the right.
    parts : dict name -> Part
    consensus : Consensus
        Of the structures beside the chains.
    table : Table
    """
    offsets = [_rib_offsets(ribs, spine, table) for ribs in sides]
    labelled = [[name for name in chain.names if name in parts] for chain in sides]
    vertebrae = [name for name in spine.names if name in parts]
    if all(len(side) >= 1 for side in offsets):
        left, right = (float(np.median(side)) for side in offsets)
        both = (left + right) / 2  # a tilted body raises one side and lowers the other
        shift = _nearest(both)
        if shift and abs(left - right) < _TILT and sum(map(len, offsets)) >= 2:
            ribs = [name for side in labelled for name in side]
            sure = min(map(len, offsets)) >= _LEAST
            return [_ribs_or_spine(spine, vertebrae, ribs, shift, consensus, table, sure=sure)]
        if min(map(len, offsets)) >= _LEAST and abs(left - right) > _TILT:
            wrong = 0 if abs(left) > abs(right) else 1
            other, own = (right, left) if wrong == 0 else (left, right)
            if abs(other) < _LEVEL and _nearest(own):
                return [
                    _numbered(labelled[wrong], _nearest(own), "against the vertebrae and the other side", certain=True)
                ]
        return []
    for names, side in zip(labelled, offsets, strict=True):
        shift = _nearest(float(np.median(side))) if len(side) >= _LEAST else 0
        if shift:
            return [_ribs_or_spine(spine, vertebrae, names, shift, consensus, table, sure=True)]
    apart = _side_offsets(*sides)
    shift = _nearest(float(np.median(apart))) if len(apart) >= _LEAST else 0
    if not shift:
        return []
    word = "high" if shift > 0 else "low"
    detail = f"The left ribs are numbered {_count(shift)} too {word} against the right ones, or those the other way."
    return [Finding("wrong_level", detail, tuple(name for side in labelled for name in side), {})]


def _nearest(offset: float) -> int:
    """The number by which a chain is off, 0 when it is nearly none."""
    return int(np.sign(offset)) * math.floor(abs(offset) + 1 - _OFF)


def _count(shift: int) -> str:
    return {1: "one", 2: "two"}.get(abs(shift), str(abs(shift)))


def _rib_offsets(ribs: Chain, spine: Chain, table: Table) -> list[float]:
    """Return how much higher each rib lies than its number says, in vertebrae."""
    vertebrae = [element for element in spine.elements if not element.cut]
    if not vertebrae:
        return []
    steps = np.array([table.steps[pair].mean[0] for pair in pairwise(spine.names)]) * spine.size
    heights = np.concatenate([[0.0], np.cumsum(steps)])
    offsets = []
    for element in ribs.elements:
        vertebra, fact = table.levels[element.name]
        number = spine.names.index(vertebra)
        nearest = min(vertebrae, key=lambda other: abs(other.number - number))
        if abs(nearest.number - number) > _NEAR:
            continue
        place = nearest.place[0] + heights[number] - heights[nearest.number] + spine.size * fact.mean[0]
        offsets.append(float((element.place[0] - place) / -steps[number]))
    return offsets


def _side_offsets(left: Chain, right: Chain) -> list[float]:
    """Return how much higher each left rib lies than its partner on the right, in ribs."""
    other = {element.number: element.place[0] for element in right.elements}
    offsets = []
    for element in left.elements:
        around = [number for number in (element.number - 1, element.number + 1) if number in other]
        if element.number in other and around:
            step = abs(other[around[0]] - other[element.number])
            if step > 8.0:
                offsets.append((element.place[0] - other[element.number]) / step)
    return offsets


def _ribs_or_spine(
    spine: Chain,
    vertebrae: Sequence[str],
    ribs: Sequence[str],
    shift: int,
    consensus: Consensus,
    table: Table,
    *,
    sure: bool,
) -> Finding:
    """Which of the two is wrong: the one that lies off from where organs put it, or that lacks its first number."""
    off_spine = _organ_offset({element.name: element.place for element in spine.elements}, consensus, table)
    first_rib_gone = shift > 0 and not any(name.endswith("_1") for name in ribs) and "vertebrae_T1" in vertebrae
    if off_spine is not None and -off_spine * shift > _WRONG_SPINE and not first_rib_gone:
        return _numbered(vertebrae, -shift, "against ribs and organs", certain=sure)
    agreed = first_rib_gone or (off_spine is not None and abs(off_spine) < 1 - _WRONG_SPINE)
    return _numbered(ribs, shift, "against the vertebrae", certain=sure and agreed)


def _organ_offset(places: dict[str, Float64], consensus: Consensus, table: Table) -> float | None:
    """How much higher vertebrae lie than the organs put them, in vertebrae; None with few organs."""
    if len(consensus.names) < 5:
        return None
    names = [name for name in places if name in table.places]
    if len(names) < _LEAST:
        return None
    away = np.array([places[name][0] for name in names]) - consensus.expected(names)[:, 0]
    return float(np.median(away)) / _VERTEBRA_MM


def _numbered(names: Sequence[str], shift: int, against: str, *, certain: bool) -> Finding:
    word = "high" if shift > 0 else "low"
    what = "ribs" if names[0].startswith("rib_") else "vertebrae"
    sides = {name.split("_")[1] for name in names} if what == "ribs" else set()
    side = f"{next(iter(sides))} " if len(sides) == 1 else ""
    example = names[len(names) // 2]
    really = {name: other for name in names if (other := _moved(name, -shift)) is not None}
    place = f": {spoken(example)} lies at the level of {spoken(really[example])}" if example in really else ""
    return Finding(
        "wrong_level",
        f"All {side}{what} are numbered {_count(shift)} too {word} {against}{place}.",
        tuple(names),
        really,
        certain=certain,
        ceiling=WRONG_NAME,
    )


def _moved(name: str, by: int) -> str | None:
    """The element of the chain that many numbers further down."""
    from segae.anatomy.table import load_table

    for chain in load_table().chains:
        if name in chain and 0 <= chain.index(name) + by < len(chain):
            return chain[chain.index(name) + by]
    return None
