"""Sequences: vertebrae along the spine's own curve, ribs along each side.

The elements of a chain are put in order of their places. Dynamic programming then finds the numbers, rising along the
chain, that agree best with the distances between neighbours and with the names that the labels give: so two that are
exchanged, or a run that is numbered one too high, are renamed at less cost than distances would have to be stretched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from segae.anatomy.findings import HOLDS_TWO, WRONG_NAME, Finding, spoken
from segae.anatomy.parts import Part
from segae.anatomy.table import Table

Float64 = npt.NDArray[np.float64]

# Spread of the logarithm of a distance against the table's, and what no distance costs more than.
_DISTANCE_SD = 0.17
_MOST_FOR_DISTANCE = 20.0
# What a name costs that differs from the label's: one that another label has, one that none has.
_RENAMED, _NEW_NAME = 2.0, 5.0
# And one that belongs to a label whose place is not known.
_KEPT = 8.0
# People differ in the number of elements there.
_VARIANT = 2.0
_SIZES = (0.75, 1.35)
# An element of which the scan may hide the end that counts.
_NEAR_CUT_MM = 25.0
# Of a vertebra's usual volume: what is left of it lies near its middle.
_GOOD_PART = 0.4
# Logarithm of how much nearer it may lie for that.
_CUT = 0.4
# A single label covers two elements when it has so many times its neighbours' volume.
_TWO_VOLUMES = 1.6
_MOST_MISSING = 0.34
# Ribs that the upper border cuts lie in order when they are so far apart from front to back.
_APART_MM = 12.0
# Another element fits between two that lie so many times the usual distance apart; less, where the scan cuts one.
_ROOM, _ROOM_CUT = 1.4, 1.15


@dataclass(frozen=True)
class Element:
    """One of a chain: its name, number in the chain, place along z, y, x in mm, and whether the scan cuts it."""

    name: str
    number: int
    place: Float64
    cut: bool = False


@dataclass(frozen=True)
class Chain:
    """The elements of a chain that lie in the scan, from head to feet.

    Attributes
    ----------
    names : list of str
        Of the whole chain.
    elements : list of Element
    numbers : list of int
        Those that agree best with places and labels.
    double : list of str
        Labels that seem to cover two elements; not among the elements.
    size : float
        Distances against the table's.
    """

    names: list[str]
    elements: list[Element]
    numbers: list[int]
    double: list[str]
    size: float


def place_in_chain(part: Part) -> Float64:
    """What stands for an element: a rib's back, which hangs on the spine, or a vertebra's middle."""
    return part.back if part.name.startswith("rib_") else part.middle


def read_chain(names: Sequence[str], parts: dict[str, Part], table: Table) -> Chain:
    """Find a chain's elements and number them."""
    seen = [name for name in names if name in parts and _seen(parts[name], table)]
    double = _double(seen, names, parts, table)
    elements = [
        Element(name, names.index(name), place_in_chain(parts[name]), bool(parts[name].cut[:, 0].any()))
        for name in seen
        if name not in double
    ]
    kept = [number for number, name in enumerate(names) if name in parts and (name not in seen or name in double)]
    # Where the spine is steep its elements follow each other downwards, above the shoulders backwards as well.
    elements.sort(key=lambda element: -element.place[0] + 0.5 * element.place[1])
    steps = np.array([table.steps[pair].value for pair in pairwise(names)])
    along = np.concatenate([[0.0], np.cumsum(steps)])
    apart = [float(np.linalg.norm(b.place[:2] - a.place[:2])) for a, b in pairwise(elements)]
    ratios = [
        distance / (along[b.number] - along[a.number])
        for a, b, distance in zip(elements, elements[1:], apart, strict=False)
        if b.number > a.number and not a.cut and not b.cut
    ]
    size = float(np.clip(np.median(ratios), *_SIZES)) if len(ratios) >= 3 else 1.0
    variable = [i + 1 for i, pair in enumerate(pairwise(names)) if pair in table.variable_ends]
    numbers = _number(elements, apart, along * size, variable, kept)
    return Chain(list(names), elements, numbers, double, size)


def _seen(part: Part, table: Table) -> bool:
    """Whether the scan shows the place that counts: a rib's back, a good part of a vertebra."""
    if not part.name.startswith("rib_"):
        return not part.cut[:, 0].any() or part.volume_ml > _GOOD_PART * table.sizes[part.name].value
    height = (part.grid.shape[0] - 1) * part.grid.step_mm[0]
    place = part.back[0]
    return not (part.cut[0, 0] and place < _NEAR_CUT_MM) and not (part.cut[1, 0] and place > height - _NEAR_CUT_MM)


def _double(seen: Sequence[str], names: Sequence[str], parts: dict[str, Part], table: Table) -> list[str]:
    """Labels far too large for one element, beside a number that no label has."""
    ratio = {name: parts[name].volume_ml / table.sizes[name].value for name in seen if name in table.sizes}
    if len(ratio) < 3:
        return []
    usual = float(np.median(list(ratio.values())))
    found = []
    for name, value in ratio.items():
        number = names.index(name)
        beside = [names[i] for i in (number - 1, number + 1) if 0 <= i < len(names)]
        if value > _TWO_VOLUMES * usual and any(other not in parts for other in beside):
            found.append(name)
    return found


def _number(
    elements: Sequence[Element],
    apart: Sequence[float],
    along: Float64,
    variable: Sequence[int],
    kept: Sequence[int],
) -> list[int]:
    """Rising numbers of least cost; those in `kept` belong to labels whose places are not known."""
    if not elements:
        return []
    n = len(along)
    free = np.full(n, _NEW_NAME)
    free[[element.number for element in elements]] = _RENAMED
    free[list(kept)] = _KEPT
    own = np.array([np.where(np.arange(n) == element.number, 0.0, free) for element in elements])
    expected = along[None, :] - along[:, None]  # from number i to number j
    rising = np.triu(np.ones((n, n), bool), 1)
    cost, came = own[0].copy(), []
    for i, (distance, names) in enumerate(zip(apart, own[1:], strict=True)):
        shorter = elements[i].cut or elements[i + 1].cut
        step = _stretch(distance, expected, rising, shorter=shorter)
        for first in variable:  # one element less, or one more, before number `first`
            across = rising & (np.arange(n)[:, None] < first) & (np.arange(n)[None, :] >= first)
            one = along[first] - along[first - 1]
            for other in (expected - one, expected + one):
                step = np.where(
                    across, np.minimum(step, _stretch(distance, other, across, shorter=shorter) + _VARIANT), step
                )
        total = cost[:, None] + step
        came.append(total.argmin(axis=0))
        cost = total.min(axis=0) + names
    numbers = [int(cost.argmin())]
    for back in reversed(came):
        numbers.append(int(back[numbers[-1]]))
    return numbers[::-1]


def _stretch(distance: float, expected: Float64, allowed: npt.NDArray[np.bool_], *, shorter: bool) -> Float64:
    """Cost of a distance; `shorter`: to what the scan cuts, which may well be less."""
    logarithm = np.log(max(distance, 1.0) / np.maximum(expected, 1.0))
    if shorter:
        logarithm = np.where(logarithm < 0, np.minimum(logarithm + _CUT, 0.0), logarithm)
    cost = np.minimum((logarithm / _DISTANCE_SD) ** 2, _MOST_FOR_DISTANCE)
    return np.where(allowed, cost, np.inf)


def check_chain(chain: Chain, parts: dict[str, Part]) -> list[Finding]:
    """Findings on one chain: `out_of_order`, `missing_part` and `merged`."""
    really = {
        element.name: chain.names[number]
        for element, number in zip(chain.elements, chain.numbers, strict=True)
        if number != element.number
    }
    return [*_renamed(chain, really), *_gaps(chain, parts), *_hidden(chain, parts)]


def _renamed(chain: Chain, really: dict[str, str]) -> list[Finding]:
    found = []
    left = dict(really)
    enough = len(chain.elements) - len(really) >= 2
    for name, other in really.items():
        if name in left and left.get(other) == name:
            del left[name], left[other]
            upper, lower = sorted((name, other), key=chain.names.index)
            found.append(
                Finding(
                    "out_of_order",
                    f"{spoken(upper)} and {spoken(lower)} are exchanged: {spoken(lower)} lies above {spoken(upper)}.",
                    (upper, lower),
                    {upper: lower, lower: upper},
                    certain=enough,
                    ceiling=WRONG_NAME,
                )
            )
    for run, shift in _runs(chain, left):
        first, last = spoken(run[0]), spoken(run[-1])
        which = f"{first} is" if len(run) == 1 else f"{first} to {last} are"
        by = {1: "one", 2: "two"}.get(abs(shift), str(abs(shift)))
        places = ", ".join(spoken(left[name]) for name in (run if len(run) < 3 else [run[0]]))
        found.append(
            Finding(
                "out_of_order",
                f"{which} numbered {by} too {'high' if shift > 0 else 'low'}: {first} lies in the place of {places}.",
                tuple(run),
                {name: left[name] for name in run},
                certain=enough and len(chain.elements) >= 2 * len(run) + 2,
                ceiling=WRONG_NAME,
            )
        )
    return found


def _runs(chain: Chain, really: dict[str, str]) -> list[tuple[list[str], int]]:
    """Renamed elements that follow each other with one shift of their numbers."""
    found: list[tuple[list[str], int]] = []
    before = -2
    for i, (element, number) in enumerate(zip(chain.elements, chain.numbers, strict=True)):
        if element.name not in really:
            continue
        shift = element.number - number
        if found and i == before + 1 and found[-1][1] == shift:
            found[-1][0].append(element.name)
        else:
            found.append(([element.name], shift))
        before = i
    return found


def _gaps(chain: Chain, parts: dict[str, Part]) -> list[Finding]:
    """Labels that cover two elements, and numbers that nothing has, between others."""
    found = []
    by_number = {number: element.name for number, element in zip(chain.numbers, chain.elements, strict=True)}
    # What the scan's border cuts keeps the number of its label.
    seen = {element.name for element in chain.elements}
    taken = set(chain.numbers) | {i for i, name in enumerate(chain.names) if name in parts and name not in seen}
    for name in chain.double:
        number = chain.names.index(name)
        free = [i for i in (number - 1, number + 1) if 0 <= i < len(chain.names) and i not in taken]
        if not free:
            continue
        other = free[0] if len(free) == 1 else _leaning(chain, parts[name], number)
        taken.add(other)
        found.append(
            Finding(
                "merged",
                f"{spoken(name)} covers {spoken(chain.names[other])} as well, which has no label.",
                (name,),
                {name: chain.names[other]},
                certain=min(taken) < min(number, other) and max(number, other) < max(taken),
                ceiling=HOLDS_TWO,
            )
        )
    if len(taken) < 3:
        return found
    missing = [number for number in range(min(taken), max(taken)) if number not in taken]
    if len(missing) > _MOST_MISSING * (max(taken) - min(taken)):
        return found  # such labels were made for some of the elements only
    for number in missing:
        above, below = by_number.get(number - 1), by_number.get(number + 1)
        if above is not None and below is not None and _room(chain, above, below):
            found.append(
                Finding(
                    "missing_part",
                    f"{spoken(chain.names[number])} has no label between {spoken(above)} and {spoken(below)}.",
                    (above, below),
                    {},
                )
            )
    return found


def _hidden(chain: Chain, parts: dict[str, Part]) -> list[Finding]:
    """Neighbours exchanged among ribs whose backs lie above the scan.

    Ribs slope down to the front, so that the scan's upper border cuts them in their order from front to back.
    """
    seen = {element.name for element in chain.elements}
    hidden = [
        name
        for name in chain.names
        if name.startswith("rib_") and name in parts and name not in seen and parts[name].cut[1, 0]
    ]
    by_place = sorted(hidden, key=lambda name: parts[name].back[1])
    found = []
    for i, (front, behind) in enumerate(pairwise(by_place)):
        exchanged = hidden[i : i + 2] == [behind, front]
        if exchanged and parts[behind].back[1] - parts[front].back[1] > _APART_MM:
            found.append(
                Finding(
                    "out_of_order",
                    f"{spoken(behind)} and {spoken(front)} are exchanged: the scan's upper border cuts {spoken(front)} "
                    f"in front of {spoken(behind)}.",
                    (behind, front),
                    {behind: front, front: behind},
                    certain=len(hidden) >= 4,
                    ceiling=WRONG_NAME,
                )
            )
    return found


def _leaning(chain: Chain, part: Part, number: int) -> int:
    """Return the neighbour without a label towards which a part lies off its own place."""
    places = {element.number: element.place for element in chain.elements}
    before, after = ([i for i in places if i < number], [i for i in places if i > number])
    if not before or not after:
        return number + 1
    i, j = max(before), min(after)
    own = places[i] + (places[j] - places[i]) * (number - i) / (j - i)
    return number + 1 if place_in_chain(part)[0] < own[0] else number - 1


def _room(chain: Chain, above: str, below: str) -> bool:
    """Whether two elements lie so far apart that another one fits between them."""
    places = {element.name: element for element in chain.elements}
    apart = float(np.linalg.norm(places[below].place[:2] - places[above].place[:2]))
    around = [
        float(np.linalg.norm(b.place[:2] - a.place[:2])) / max(1, nb - na)
        for (a, na), (b, nb) in zip(
            zip(chain.elements, chain.numbers, strict=True),
            list(zip(chain.elements, chain.numbers, strict=True))[1:],
            strict=False,
        )
    ]
    cut = places[above].cut or places[below].cut
    return apart > (_ROOM_CUT if cut else _ROOM) * float(np.median(around))
