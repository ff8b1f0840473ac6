"""Whole chains that are numbered one off: ribs against vertebrae, one side against the other, and organs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segae.anatomy.chains import Chain
from segae.anatomy.findings import WRONG_NAME, Finding, spoken
from segae.anatomy.places import Consensus
from segae.anatomy.table import Table

Float64 = npt.NDArray[np.float64]

# Chains are compared where so many elements can be, and differ when the median is nearer to one than to none by this.
_LEAST = 3
_OFF = 0.6


def check_levels(spine: Chain, sides: Sequence[Chain], consensus: Consensus, table: Table) -> list[Finding]:
    """Findings `wrong_level`.

    Parameters
    ----------
    spine : Chain
    sides : two Chains
        Ribs of the left, of the right.
    consensus : Consensus
        Of the structures beside the chains.
    table : Table
    """
    against_spine = [_shift(_rib_offsets(ribs, spine, table)) for ribs in sides]
    apart = _shift(_side_offsets(*sides))
    if all(shift for shift in against_spine) and against_spine[0] == against_spine[1]:
        ribs = [element.name for chain in sides for element in chain.elements]
        return [_ribs_or_spine(spine, ribs, int(against_spine[0] or 0), consensus, table)]
    found = []
    for i, (chain, shift) in enumerate(zip(sides, against_spine, strict=True)):
        if not shift:
            continue
        names = [element.name for element in chain.elements]
        other = against_spine[1 - i]
        agreed = other == 0 and bool(apart)
        if other is None:
            found.append(_ribs_or_spine(spine, names, shift, consensus, table))
        else:
            found.append(_numbered(names, shift, "against the vertebrae", certain=agreed))
    if not found and apart and against_spine == [None, None]:
        names = [element.name for chain in sides for element in chain.elements]
        word = "high" if apart > 0 else "low"
        detail = (
            f"The left ribs are numbered {_count(apart)} too {word} against the right ones, or those the other way."
        )
        found.append(Finding("wrong_level", detail, tuple(names), {}))
    return found


def _count(shift: int) -> str:
    return {1: "one", 2: "two"}.get(abs(shift), str(abs(shift)))


def _shift(offsets: list[float]) -> int | None:
    """By how many numbers a chain is too high, None when too little is known."""
    if len(offsets) < _LEAST:
        return None
    median = float(np.median(offsets))
    nearest = round(median)
    return nearest if abs(median) > _OFF and abs(median - nearest) < 1 - _OFF else 0


def _rib_offsets(ribs: Chain, spine: Chain, table: Table) -> list[float]:
    """Of each rib, how much lower its vertebra's number lies than its own, in vertebrae."""
    vertebrae = {element.name: element.place for element in spine.elements}
    offsets = []
    for element in ribs.elements:
        vertebra, fact = table.levels[element.name]
        number = spine.names.index(vertebra)
        around = [name for name in spine.names[max(0, number - 1) : number + 2] if name in vertebrae]
        if vertebra not in vertebrae or len(around) < 2:
            continue
        ends = vertebrae[around[0]][0] - vertebrae[around[-1]][0]
        step = ends / (spine.names.index(around[-1]) - spine.names.index(around[0]))
        above = element.place[0] - vertebrae[vertebra][0] - spine.size * fact.mean[0]
        if step > 5.0:
            offsets.append(above / step)
    return offsets


def _side_offsets(left: Chain, right: Chain) -> list[float]:
    """Of each rib of the left, how much higher it lies than that of the right, in ribs."""
    other = {element.number: element.place[0] for element in right.elements}
    offsets = []
    for element in left.elements:
        around = [number for number in (element.number - 1, element.number + 1) if number in other]
        if element.number in other and around:
            step = abs(other[around[0]] - other[element.number])
            if step > 8.0:
                offsets.append((element.place[0] - other[element.number]) / step)
    return offsets


def _ribs_or_spine(spine: Chain, ribs: Sequence[str], shift: int, consensus: Consensus, table: Table) -> Finding:
    """Which of the two is wrong: the one that lies off from where organs put it, or that lacks its first number."""
    vertebrae = [element.name for element in spine.elements]
    off_spine = _organ_offset({element.name: element.place for element in spine.elements}, consensus, table)
    first_rib_gone = shift > 0 and not any(name.endswith("_1") for name in ribs) and "vertebrae_T1" in vertebrae
    wrong_spine = off_spine is not None and -off_spine * shift > 0.55 and not first_rib_gone
    if wrong_spine:
        return _numbered(vertebrae, -shift, "against ribs and organs", certain=True)
    sure = first_rib_gone or (off_spine is not None and abs(off_spine) < 0.45)
    return _numbered(list(ribs), shift, "against the vertebrae", certain=sure)


def _organ_offset(places: dict[str, Float64], consensus: Consensus, table: Table) -> float | None:
    """How much higher vertebrae lie than the organs put them, in vertebrae; None with few organs."""
    if len(consensus.names) < 5:
        return None
    away = []
    for name, place in places.items():
        expected = consensus.expected(name) if name in table.places else None
        if expected is not None:
            away.append(place[0] - expected[0])
    return float(np.median(away)) / 28.0 if len(away) >= _LEAST else None


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
