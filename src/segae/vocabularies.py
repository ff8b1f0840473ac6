"""Names and numbers that public data sets use, and the structure that each means.

The facts are in ``vocabularies.csv``, one row a name, each with its public source. A row without a structure is a label
that segae has no structure for, or one whose meaning is not certain (a femoral head, "prostate/uterus", both kidneys):
it is known, and left out. Rows without a value belong to nomenclatures that have names only (TG-263).

Numbers are never guessed from: a caller names the vocabulary. Names may be recognised, but only when a data set uses a
vocabulary as a whole, since an abbreviation such as ``T1`` or ``lad`` means different things in different data sets.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

__all__ = ["Vocabulary", "recognise", "unanimous", "vocabularies"]

_FEWEST_NAMES, _FEWEST_OF_A_SMALL_ONE = 5, 3


@dataclass(frozen=True)
class Vocabulary:
    """The labels of one data set or nomenclature.

    Attributes
    ----------
    name : str
        What users call it: "btcv", "flare22", "totalsegmentator_v3", ...
    labels : dict
        Value of its labelmaps -> name there; empty for a nomenclature without numbers.
    meanings : dict
        Name there -> canonical name of the structure, None where segae has none.
    """

    name: str
    labels: dict[int, str] = field(default_factory=dict)
    meanings: dict[str, str | None] = field(default_factory=dict)

    def structures(self) -> dict[int, str]:
        """Value -> canonical name, without the labels that segae has no structure for."""
        known = {value: self.meanings[name] for value, name in self.labels.items()}
        return {value: meaning for value, meaning in known.items() if meaning is not None}


@cache
def vocabularies() -> dict[str, Vocabulary]:
    """Return all vocabularies by name, in the order of the table."""
    from importlib.resources import files  # here, because it is slow to import

    found: dict[str, Vocabulary] = {}
    with (files("segae") / "vocabularies.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            vocabulary = found.setdefault(row["vocabulary"], Vocabulary(row["vocabulary"]))
            if row["value"]:
                vocabulary.labels.setdefault(int(row["value"]), row["name"])
            vocabulary.meanings[row["name"]] = row["structure"] or None
    return found


@cache
def unanimous() -> dict[str, str]:
    """Return the names on which all vocabularies that have them agree -> canonical name; spelled exactly so."""
    said: dict[str, set[str]] = {}
    for vocabulary in vocabularies().values():
        for name, meaning in vocabulary.meanings.items():
            said.setdefault(name, set()).add(meaning or "")
    return {name: meanings.pop() for name, meanings in said.items() if len(meanings) == 1 and "" not in meanings}


def recognise(names: Iterable[str]) -> list[Vocabulary]:
    """Return the vocabularies that a data set with these names uses as a whole.

    That is when at least five of the names (or all that a smaller vocabulary has) are a vocabulary's, spelled exactly
    as there, and they are either all the names of the data set or at least half of the vocabulary's labels.
    """
    used = set(names)
    found = []
    for vocabulary in vocabularies().values():
        common = used & vocabulary.meanings.keys()
        labels = len(vocabulary.labels) or len(vocabulary.meanings)
        if len(common) >= max(_FEWEST_OF_A_SMALL_ONE, min(_FEWEST_NAMES, labels)) and (
            common == used or 2 * len(common) >= labels
        ):
            found.append(vocabulary)
    return found
