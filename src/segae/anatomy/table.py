"""What is known of anatomy: ``anatomy.csv``, a row a fact, with how many bodies it rests on and where they come from.

``scripts/make_anatomy.py`` makes it. Directions are LPS: x to the left, y to the back, z to the head.

| kind | structure, other | x, y, z (and spread), value |
| --- | --- | --- |
| place | a structure | its middle in a common frame, in mm; |
| other_place | a structure | a second place where some people have it |
| size | a structure | lengths in mm without the outer twentieths; spreads are of the logarithm; value: volume in ml |
| step | one of a chain, the next | from one to the next (ribs: between their backs), mm; value: its length |
| level | a rib, its vertebra | from the vertebra's middle to the rib's back, mm |
| pair | left, right | from right to left, mm |
| inside | a structure, what holds it | |
| may_fuse | left, right | nature joins the two at times |
| either | a structure, another one | a body has one or the other, in one place |
| holds_all | a tissue | any structure may lie in it |
| variable_end | chain's element, the next | the number of elements before this boundary varies between people |
| in_pieces | a structure | comes in several pieces, or a scan cuts it into them |
| near_middle | a structure | left or right in its name, but it may lie at or beyond the body's middle |
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from segae import structures

Float64 = npt.NDArray[np.float64]

_CLEAR_SDS, _CLEAR_MM = 2.5, 15.0

COLUMNS = ("kind", "structure", "other", "x_mm", "y_mm", "z_mm", "x_sd", "y_sd", "z_sd", "value", "n", "source")


@dataclass(frozen=True)
class Fact:
    """A place or a direction along z, y, x in mm, its spread, a value, and the number of bodies behind it."""

    mean: Float64
    sd: Float64
    value: float
    n: int

    @cached_property
    def spread(self) -> Float64:
        """How far another body may lie off: people differ, and the mean of few is not known well."""
        spread: Float64 = self.sd * np.sqrt(1 + 1 / self.n)
        return spread

    @property
    def tells_sides(self) -> bool:
        """Whether a pair lies so far apart, against its spread, that it tells left from right."""
        return bool(self.mean[2] > max(_CLEAR_MM, _CLEAR_SDS * self.sd[2]))


@dataclass(frozen=True)
class Table:
    """All facts; see the module."""

    places: dict[str, Fact] = field(default_factory=dict)
    sizes: dict[str, Fact] = field(default_factory=dict)
    other_places: dict[str, Fact] = field(default_factory=dict)
    steps: dict[tuple[str, str], Fact] = field(default_factory=dict)
    levels: dict[str, tuple[str, Fact]] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Fact] = field(default_factory=dict)
    inside: dict[str, frozenset[str]] = field(default_factory=dict)
    may_fuse: frozenset[tuple[str, str]] = frozenset()
    either: frozenset[frozenset[str]] = frozenset()
    holds_all: frozenset[str] = frozenset()
    variable_ends: frozenset[tuple[str, str]] = frozenset()
    in_pieces: frozenset[str] = frozenset()
    near_middle: frozenset[str] = frozenset()

    @staticmethod
    def of(rows: Iterable[Mapping[str, str]]) -> Table:
        """Read rows of the file."""
        table = Table()
        either = set[frozenset[str]]()
        pieces, middle, tissues = set[str](), set[str](), set[str]()
        ends, fused, inside = set[tuple[str, str]](), set[tuple[str, str]](), dict[str, set[str]]()
        for row in rows:
            kind, name, other = row["kind"], row["structure"], row["other"]
            if kind == "in_pieces":
                pieces.add(name)
            elif kind == "near_middle":
                middle.add(name)
            elif kind == "either":
                either.add(frozenset((name, other)))
            elif kind == "may_fuse":
                fused.add((name, other))
            elif kind == "holds_all":
                tissues.add(name)
            elif kind == "variable_end":
                ends.add((name, other))
            elif kind == "inside":
                inside.setdefault(name, set()).add(other)
            else:
                mean = np.array([float(row[f"{axis}_mm"]) for axis in "zyx"])
                sd = np.array([float(row[f"{axis}_sd"]) for axis in "zyx"])
                fact = Fact(mean, sd, float(row["value"] or "nan"), int(row["n"]))
                if kind == "place":
                    table.places[name] = fact
                elif kind == "other_place":
                    table.other_places[name] = fact
                elif kind == "size":
                    table.sizes[name] = fact
                elif kind == "step":
                    table.steps[name, other] = fact
                elif kind == "level":
                    table.levels[name] = (other, fact)
                else:
                    table.pairs[name, other] = fact
        return Table(
            table.places, table.sizes, table.other_places, table.steps, table.levels, table.pairs,
            {k: frozenset(v) for k, v in inside.items()},
            frozenset(fused), frozenset(either), frozenset(tissues), frozenset(ends), frozenset(pieces),
            frozenset(middle),
        )  # fmt: skip

    @cached_property
    def chains(self) -> list[list[str]]:
        """Sequences of structures, each from head to feet, as the steps give them."""
        after = dict(self.steps.keys())
        firsts = [name for name in after if name not in set(after.values())]
        found = []
        for first in firsts:
            chain = [first]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            found.append(chain)
        return found

    def may_overlap(self, a: str, b: str) -> bool:
        """Whether one holds the other, in one or several steps."""
        return a in self.holds_all or b in self.holds_all or b in self.holders(a) or a in self.holders(b)

    def holders(self, name: str) -> set[str]:
        """All that hold a structure."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for other in self.inside.get(waiting.pop(), ()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return found


#: A structure by its canonical name, without the search that `segae.structures.get` makes for spellings.
known = cache(structures.get)


@cache
def load_table() -> Table:
    """The table in the package."""
    from importlib.resources import files  # here, because it is slow to import

    with (files("segae.anatomy") / "anatomy.csv").open(encoding="utf-8") as file:
        return Table.of(csv.DictReader(file))
