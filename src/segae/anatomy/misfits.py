"""Organs that do not lie where the others put them, and what they might be instead."""

from __future__ import annotations

import numpy as np

from segae import structures
from segae.anatomy.findings import WRONG_NAME, Finding, spoken
from segae.anatomy.parts import Part
from segae.anatomy.places import Consensus
from segae.anatomy.table import Table

# Squared spreads, volume included: from where on a place is looked into; told without an explanation; and by how much
# another name must explain it better, while it leaves less than the last.
_LOOK, _ODD, _BETTER, _FITS = 9.0, 45.0, 16.0, 14.0
# Spread of the logarithm of an organ's volume among people, and what a volume counts at most.
_VOLUME_SD, _MOST_FOR_VOLUME = 0.8, 12.0
_FEW, _ENOUGH = 9, 6


def check_places(
    parts: dict[str, Part], consensus: Consensus, table: Table, explained: set[str], *, sides_known: bool
) -> list[Finding]:
    """Findings `misplaced` and `wrong_level`.

    Parameters
    ----------
    parts : dict name -> Part
    consensus : Consensus
        Of those that lie in the scan as a whole.
    table : Table
    explained : set of str
        Elements of chains, and what other checks have found already.
    sides_known : bool
        Whether left and right of the scan are those of the common frame.
    """
    looker = _Looker(parts, consensus, table, sides_known)
    names = [name for name in consensus.names if name not in explained]
    energies = {name: looker.energy(name, name) for name in names}
    found: list[Finding] = []
    done: set[str] = set()
    odd = sorted((name for name in names if energies[name] > _LOOK), key=lambda name: -energies[name])
    for name in odd:
        if name in done:
            continue
        finding = looker.exchanged(name, names if len(names) <= _FEW else odd, done) or looker.renamed(name)
        if finding is None and energies[name] > _ODD and len(consensus.names) > _ENOUGH:
            finding = looker.astray(name)
        if finding is not None:
            found.append(finding)
            done.update(finding.structures)
    return found


class _Looker:
    def __init__(self, parts: dict[str, Part], consensus: Consensus, table: Table, sides_known: bool) -> None:
        self._parts, self._consensus, self._table = parts, consensus, table
        self._in_chains = {name for chain in table.chains for name in chain}
        self._axes = np.array([1.0, 1.0, 1.0 if sides_known else 0.0])

    def energy(self, name: str, place_of: str, without: tuple[str, ...] = ()) -> float:
        """How badly `place_of`'s mask fits the name `name`; 0 where nothing tells."""
        part = self._parts[place_of]
        away = self._consensus.misfit(name, part.middle, (place_of, *without))
        if away is None:
            return 0.0
        volume = self._table.places[name].value
        wrong_volume = (np.log(part.volume_ml / volume) / _VOLUME_SD) ** 2 if volume > 0 else 0.0
        return float(away @ self._axes + min(wrong_volume, _MOST_FOR_VOLUME))

    def exchanged(self, name: str, others: list[str], done: set[str]) -> Finding | None:
        """The mask with which it has changed names, if there is one."""
        best: tuple[float, str] | None = None
        for other in others:
            if other == name or other in done or structures.get(other).partner == name:
                continue
            now = self.energy(name, name, (other,)) + self.energy(other, other, (name,))
            then = self.energy(name, other, (name,)) + self.energy(other, name, (other,))
            if now - then > _BETTER and then < 2 * _FITS and (best is None or now - then > best[0]):
                best = (now - then, other)
        if best is None:
            return None
        other = best[1]
        return Finding(
            "misplaced",
            f"{spoken(name).capitalize()} and {spoken(other)} are exchanged: each lies where the other should.",
            (name, other),
            {name: other, other: name},
            certain=len(self._consensus.names) >= _ENOUGH,
            ceiling=WRONG_NAME,
        )

    def renamed(self, name: str) -> Finding | None:
        """The absent structure in whose place it lies, if there is one."""
        own = self.energy(name, name)
        best: tuple[float, str] | None = None
        related = self._table.holders(name) | {name}
        group = structures.get(name).group
        for other in self._table.places:
            if other in self._parts or other in related or name in self._table.holders(other):
                continue
            if structures.get(other).group != group or other in self._in_chains:
                continue
            fits = self.energy(other, name)
            if own - fits > _BETTER and fits < _FITS and (best is None or fits < best[0]):
                best = (fits, other)
        if best is None:
            return None
        other = best[1]
        return Finding(
            self._kind(name),
            f"{spoken(name).capitalize()} lies where {spoken(other)} should, which has no label.",
            (name,),
            {name: other},
            certain=len(self._consensus.names) > _FEW,
            ceiling=WRONG_NAME,
        )

    def astray(self, name: str) -> Finding | None:
        """Far from where all others put it."""
        expected = self._consensus.expected(name)
        if expected is None:
            return None
        away = (self._parts[name].middle - expected) * self._axes
        words = []
        for axis, (low, high) in enumerate((("below", "above"), ("in front of", "behind"), ("right of", "left of"))):
            if abs(away[axis]) > 0.5 * np.abs(away).max():
                words.append(f"{abs(away[axis]):.0f} mm {low if away[axis] < 0 else high}")
        return Finding(
            self._kind(name),
            f"{spoken(name).capitalize()} lies {' and '.join(words)} the place where the other structures put it.",
            (name,),
            {},
        )

    def _kind(self, name: str) -> str:
        expected = self._consensus.expected(name)
        if expected is None:
            return "misplaced"
        away = np.abs(self._parts[name].middle - expected) * self._axes
        return "wrong_level" if away[0] >= away[1:].max() else "misplaced"
