"""Organs that do not lie where the others put them, and what they might be instead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segae.anatomy.findings import WRONG_NAME, Finding, spoken
from segae.anatomy.parts import Part
from segae.anatomy.places import Consensus
from segae.anatomy.table import Table, known

Float64 = npt.NDArray[np.float64]

# Squared spreads of place and size: from where on a mask is looked into; by how much another name must explain it
# better, while it leaves less than the third; and from where on a place alone is told without an explanation.
_LOOK, _BETTER, _FITS, _ODD = 6.0, 9.0, 20.0, 45.0
# By that much better, and the finding is certain where enough others agree.
_SURE = 16.0
# Lengths along three axes and the volume say in part the same; unusual organs count no more than the second.
_SIZE_SHARE, _MOST_FOR_SIZE = 0.6, 14.0
_VOLUME_SD, _LEAST_MM = 0.6, 2.0
_FEW, _ENOUGH = 9, 6
# Names are mixed up among neighbours.
_NEAR_MM = 150.0


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
    if not names:
        return []
    places, sizes = looker.own(names)
    energies = dict(zip(names, places + sizes, strict=True))
    found: list[Finding] = []
    done: set[str] = set()
    odd = sorted((name for name in names if energies[name] > _LOOK), key=lambda name: -energies[name])
    for name in odd:
        if name in done:
            continue
        others = [other for other in (names if len(names) <= _FEW else odd) if other not in done]
        finding = looker.exchanged(name, others) or looker.renamed(name)
        if finding is None and places[names.index(name)] > _ODD and len(consensus.names) > _ENOUGH:
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

    def own(self, names: Sequence[str]) -> tuple[Float64, Float64]:
        """How badly masks fit their own names: place, size."""
        middles = np.array([self._parts[name].middle for name in names])
        places = np.nan_to_num(self._consensus.misfits(names, middles)) @ self._axes
        return places, self._sizes(names, [self._parts[name] for name in names])

    def _as(self, mask: str, names: Sequence[str], without: Sequence[str] = ()) -> Float64:
        """How badly a mask fits its own name, which comes first, and others."""
        part = self._parts[mask]
        places = np.nan_to_num(self._consensus.misfits(names, part.middle, (mask, *without))) @ self._axes
        sizes = self._sizes(names, [part])
        # A size that is out of all proportion rules a name out, whatever the place.
        sizes[1:][sizes[1:] >= _MOST_FOR_SIZE] = np.inf
        misfits: Float64 = places + sizes
        return misfits

    def _sizes(self, names: Sequence[str], parts: Sequence[Part]) -> Float64:
        """How badly lengths and volumes fit names; one part, or one a name."""
        facts = [self._table.sizes[name] for name in names]
        extents = np.maximum(np.array([part.extent for part in parts]), _LEAST_MM)
        lengths = np.log(extents / np.array([fact.mean for fact in facts])) / np.array([fact.spread for fact in facts])
        volumes = np.log(np.array([part.volume_ml for part in parts]) / np.array([fact.value for fact in facts]))
        squares = (lengths**2).sum(axis=1) + (volumes / _VOLUME_SD) ** 2
        misfits: Float64 = np.minimum(_SIZE_SHARE * squares, _MOST_FOR_SIZE)
        return misfits

    def exchanged(self, name: str, others: Sequence[str]) -> Finding | None:
        """The mask with which it has changed names, if there is one."""
        best: tuple[float, str] | None = None
        for other in others:
            if other == name or known(other).partner == name:
                continue
            own, swapped = self._as(name, [name, other], (other,)), self._as(other, [other, name], (name,))
            now, then = own[0] + swapped[0], own[1] + swapped[1]
            if now - then > _BETTER and then < 2 * _FITS and (best is None or now - then > best[0]):
                best = (now - then, other)
        if best is None:
            return None
        other = best[1]
        # Lobes of a lung, chambers of the heart, vessels: parts of one thing.
        shared = (self._table.holders(name) & self._table.holders(other)) - self._table.holds_all
        related = bool(shared) or known(name).group == known(other).group == "vessel"
        return Finding(
            "out_of_order" if related else "misplaced",
            f"{spoken(name).capitalize()} and {spoken(other)} are exchanged: each lies where the other should.",
            (name, other),
            {name: other, other: name},
            certain=len(self._consensus.names) >= _ENOUGH and best[0] > _SURE,
            ceiling=WRONG_NAME,
        )

    def renamed(self, name: str) -> Finding | None:
        """The absent structure in whose place it lies, if there is one."""
        group = known(name).group
        holders = self._table.holders(name)
        others = [
            other
            for other in self._table.places
            if other not in self._parts
            and other not in holders
            and name not in self._table.holders(other)
            and known(other).group == group
            and other not in self._in_chains
            and frozenset((name, other)) not in self._table.either
            and np.linalg.norm(self._table.places[other].mean - self._table.places[name].mean) < _NEAR_MM
        ]
        if not others:
            return None
        fits = self._as(name, [name, *others])
        best = 1 + int(fits[1:].argmin())
        if fits[0] - fits[best] < _BETTER or fits[best] > _FITS:
            return None
        other = others[best - 1]
        return Finding(
            self._kind(name),
            f"{spoken(name).capitalize()} lies where {spoken(other)} should, which has no label.",
            (name,),
            {name: other},
            certain=len(self._consensus.names) > _FEW and float(fits[0] - fits[best]) > _SURE,
            ceiling=WRONG_NAME,
        )

    def astray(self, name: str) -> Finding:
        """Far from where all others put it."""
        away = self._away(name)
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

    def _away(self, name: str) -> Float64:
        away: Float64 = (self._parts[name].middle - self._consensus.expected([name])[0]) * self._axes
        return away

    def _kind(self, name: str) -> str:
        away = np.abs(self._away(name))
        return "wrong_level" if away[0] >= away[1:].max() else "misplaced"
