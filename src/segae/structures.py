"""The structures that segae knows: canonical names, aliases, groups, label numbers, plausible volumes.

The facts are in ``structures.csv``, read lazily. Ids up to 144 and ``dap_name`` are the DAP Atlas's, ids
from 201 segae's own. TotalSegmentator's class numbers are those of its ``map_to_binary.py`` (``total_v1`` and
``total``). The column ``volume_source`` says where volumes come from.

Two spellings are one structure when they agree after lower-casing and dropping separators, leading zeros and
a plural "s"; the side may stand anywhere: ``Kidney_L``, "left kidney" and ``LeftKidney`` are one name.
Nothing is guessed: a name that fits two structures ("kidney") is an error that names both. `get` takes what a person
says; `meaning_in_dataset` what a file or a labelmap is called, where ``T1`` is an MR sequence as often as a vertebra.

The DAP Atlas counts its "costa" from below: its "costa 1 left" is ``rib_left_12``. "Rib" counts from above.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import Literal, NamedTuple

from segae.errors import ParameterError, UnknownStructureError
from segae.vocabularies import Vocabulary, unanimous, vocabularies

__all__ = [
    "Structure",
    "close_matches",
    "get",
    "groups",
    "labels",
    "meaning_in_dataset",
    "names",
    "register",
    "schemes",
    "search",
]

Side = Literal["left", "right"]

_FIRST_EXTRA_ID = 201
_FIRST_REGISTERED_ID = 1001
# Names that were registered, so that processes that this one starts know them too.
_REGISTERED = "SEGAE_STRUCTURES"
_REGISTRABLE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MIN_SIMILARITY = 0.6
# Spellings that mean something else in names of files as often: an MR sequence, a subject, a brain atlas, an axis.
# As `_key` leaves them, without a final s.
_SHORT = re.compile(r"(?:[ctls]|th)\d{1,2}|l[av]|r[av]|atla|axi")
_SIDE_WORDS = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}


@dataclass(frozen=True)
class Structure:
    """One row of the table.

    ``volume_ml`` is the smallest and largest plausible volume in ml of a complete adult structure, None where
    there is no meaningful range. ``side`` is the side in the name; heart chambers and great vessels need not
    lie on that side of the midline. ``partner`` is the canonical name of the other side. ``dap_name``,
    ``totalsegmentator_v1`` and ``totalsegmentator_v2`` are the names used there, None where they lack it.
    """

    name: str
    id: int
    dap_name: str | None
    totalsegmentator_v1: str | None
    totalsegmentator_v2: str | None
    group: str
    aliases: tuple[str, ...]
    volume_ml: tuple[float, float] | None
    side: Side | None
    partner: str | None

    @property
    def spellings(self) -> tuple[str, ...]:
        """All names of the structure, the canonical one first."""
        known = (self.name, self.dap_name, self.totalsegmentator_v1, self.totalsegmentator_v2, *self.aliases)
        return tuple(dict.fromkeys(spelling for spelling in known if spelling))


class _Table(NamedTuple):
    by_name: dict[str, Structure]
    by_key: dict[tuple[str, str], Structure]
    labels: dict[str, dict[int, str]]


def _key(text: str) -> tuple[str, str]:
    """Return (side, rest) of a spelling; side is "left", "right", "" or, where it names the two, "both"."""
    # "KidneyL" ends with a side, "OAR_Parotid_L" begins with what all organs at risk are called.
    text = re.sub(r"(?<=[a-z])([LR])$", r" \1", text.strip())
    words = re.findall(r"[^\W_]+", text.lower())
    words = words[1:] if words[:1] == ["oar"] else words
    sides = {_SIDE_WORDS[word] for word in words if word in _SIDE_WORDS}
    rest = " ".join(word for word in words if word not in _SIDE_WORDS)
    # Numbers stay apart: "T1-2" must not become T12.
    rest = re.sub(r"(?<!\d) | (?!\d)", "", rest)
    rest = re.sub(r"(?<!\d)0+(?=\d)", "", rest)
    # "RightParotid" has no separator. Single letters are not tried: "liver" ends with one.
    glued = re.fullmatch(r"(left|right)?(.*?)(left|right)?", rest)
    assert glued is not None  # every part is optional
    sides |= {side for side in glued.group(1, 3) if side}
    rest = glued[2].replace("vertebrae", "vertebra").removesuffix("s")
    return ("both" if len(sides) > 1 else "".join(sides)), rest


def _side_and_partner(name: str, all_names: set[str]) -> tuple[Side | None, str | None]:
    words = name.split("_")
    side: Side
    other: Side
    for side, other in (("left", "right"), ("right", "left")):
        if side in words:
            partner = "_".join(other if word == side else word for word in words)
            return side, partner if partner in all_names else None
    return None, None


@cache
def _table() -> _Table:
    from importlib.resources import files  # here, because it is slow to import

    with (files("segae") / "structures.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = _Table({}, {}, {"dap": {}, "totalsegmentator_v1": {}, "totalsegmentator_v2": {}})
    all_names = {row["name"] for row in rows}
    for row in rows:
        name, number = row["name"], int(row["id"])
        low, high = row["volume_ml_min"], row["volume_ml_max"]
        side, partner = _side_and_partner(name, all_names)
        structure = Structure(
            name=name,
            id=number,
            dap_name=row["dap_name"] or None,
            totalsegmentator_v1=row["totalsegmentator_v1"] or None,
            totalsegmentator_v2=row["totalsegmentator_v2"] or None,
            group=row["group"],
            aliases=tuple(row["aliases"].split(";")) if row["aliases"] else (),
            volume_ml=(float(low), float(high)) if low else None,
            side=side,
            partner=partner,
        )
        table.by_name[name] = structure
        for spelling in structure.spellings:
            table.by_key[_key(spelling)] = structure
        if number < _FIRST_EXTRA_ID:
            table.labels["dap"][number] = name
        for scheme, column in (("totalsegmentator_v1", "ts_v1_id"), ("totalsegmentator_v2", "ts_v2_id")):
            if row[column]:
                table.labels[scheme][int(row[column])] = name
    for name in filter(None, os.environ.get(_REGISTERED, "").split(",")):
        _add(table, name)
    return table


def _add(table: _Table, name: str) -> Structure:
    number = max(_FIRST_REGISTERED_ID, 1 + max(structure.id for structure in table.by_name.values()))
    side, partner = _side_and_partner(name, set(table.by_name))
    structure = Structure(name, number, None, None, None, "tissue", (), None, side, partner)
    table.by_name[name] = structure
    table.by_key.setdefault(_key(name), structure)
    return structure


def may_register(name: object) -> bool:
    """Whether it is the canonical form of a name that `register` takes."""
    return isinstance(name, str) and _REGISTRABLE.fullmatch(name) is not None


def register(name: str) -> Structure:
    """Make a name known that the table does not hold: a lesion, a muscle of another atlas, an animal's organ.

    Models judge it once they learned it (`segae.train.adapt`); a model file that carries names registers them when it
    is opened. It is known in this process and in those that it starts.

    Parameters
    ----------
    name : str
        Letters, digits and what separates them; its canonical form is in lower case with underscores. What is known
        already, in any spelling, is returned as it is.

    Raises
    ------
    ParameterError
        When it begins with no letter, or has more than 64 characters.
    """
    table = _table()
    canonical = re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")
    if name in table.by_name:
        return table.by_name[name]
    if (known := table.by_key.get(_key(name))) is not None:
        return known
    if not may_register(canonical):
        raise ParameterError(f"name: expected a letter and up to 63 letters and digits, got {name!r}.")
    os.environ[_REGISTERED] = ",".join(filter(None, (os.environ.get(_REGISTERED), canonical)))
    return _add(table, canonical)


def get(name: str) -> Structure:
    """Return the structure that ``name`` means, in any of its spellings, or as a public data set spells it.

    Raises ``UnknownStructureError`` when the name is unknown or fits more than one structure.
    """
    if not isinstance(name, str):
        raise UnknownStructureError(
            f"structure must be a name such as 'liver', got {name!r}; structures.labels() names label numbers"
        )
    by_key = _table().by_key
    side, rest = _key(name)
    if (side, rest) in by_key:
        return by_key[side, rest]
    if name in unanimous():
        return _table().by_name[unanimous()[name]]
    if not side and ("left", rest) in by_key and ("right", rest) in by_key:
        raise UnknownStructureError(
            f"structure={name!r} does not say which side: use {by_key['left', rest].name!r} "
            f"or {by_key['right', rest].name!r}"
        )
    closest = ", ".join(close_matches(name))
    raise UnknownStructureError(
        f"structure={name!r} is not a known structure or alias"
        + (f"; closest: {closest}" if closest else "")
        + "; `segae structures QUERY` searches all names"
    )


def meaning_in_dataset(name: str, used: Sequence[Vocabulary] = (), *, of_file: bool = True) -> Structure:
    """Return the structure that a data set's name for a mask means: of a file, or (`of_file=False`) of a label.

    Abbreviations of vocabularies count only where one that the data set uses (`used`) has them and the others do not
    contradict. ``T1``, ``LA`` or ``atlas`` may name a label, but no file.

    Raises ``UnknownStructureError`` when the name is unknown, fits more than one structure, or is an abbreviation.
    """
    said = {vocabulary.meanings[name] for vocabulary in used if name in vocabulary.meanings}
    if len(said) == 1 and None not in said:
        return _table().by_name[str(said.pop())]
    side, rest = _key(name)
    known = _table().by_key.get((side, rest))
    if of_file and known is not None and not side and _SHORT.fullmatch(rest):
        raise UnknownStructureError(
            f"structure={name!r} is short for {known.name}, but may mean something else in a data set; "
            f"map it if it is meant"
        )
    if known is None and name in unanimous():
        raise UnknownStructureError(
            f"structure={name!r} means {unanimous()[name]} in some data sets; "
            f"name the vocabulary or map it if it is meant"
        )
    if said == {None}:
        whose = next(vocabulary.name for vocabulary in used if name in vocabulary.meanings)
        raise UnknownStructureError(f"structure={name!r} is a label of {whose} that segae has no structure for")
    return get(name)


def names() -> list[str]:
    """Return the canonical names, in order of their ids."""
    return list(_table().by_name)


def groups() -> dict[str, list[str]]:
    """Return group ("organ", "bone", "muscle", "vessel", "tissue") -> canonical names, in order of ids."""
    found: dict[str, list[str]] = {}
    for structure in _table().by_name.values():
        found.setdefault(structure.group, []).append(structure.name)
    return found


def search(query: str) -> list[Structure]:
    """Return the structures of which every word of ``query`` is the side, the group or part of a spelling.

    An empty query returns all. Order of ids.
    """
    side = _key(query)[0]
    words = [rest for word in re.split(r"[\W_]+", query) if (rest := _key(word)[1])]

    def fits(structure: Structure) -> bool:
        forms = [_key(spelling)[1] for spelling in structure.spellings]
        return all(word == structure.group or any(word in form for form in forms) for word in words)

    return [s for s in _table().by_name.values() if side in ("", s.side) and fits(s)]


def close_matches(name: str, n: int = 5) -> list[str]:
    """Return up to ``n`` canonical names spelled most like ``name``, best first, none of the wrong side.

    Likeness is difflib's ratio of matching characters, at least 0.6, of names that share half of ``name`` in one piece.
    """
    side, rest = _key(name)
    scores: dict[str, float] = {}
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(rest)  # the one that SequenceMatcher caches
    for (_, other), structure in _table().by_key.items():
        if {side, structure.side} != {"left", "right"}:
            matcher.set_seq1(other)
            # Scattered letters make no likeness ("lesion" in "gluteus minimus"): half of the name stands in one piece.
            run = matcher.find_longest_match().size
            ratio = matcher.ratio() if run >= max(2.0, len(rest) / 2) else 0.0
            scores[structure.name] = max(ratio, scores.get(structure.name, 0.0))
    ranked = sorted(scores, key=lambda known: -scores[known])
    return [known for known in ranked if scores[known] >= _MIN_SIMILARITY][:n]


def schemes() -> list[str]:
    """Return the names of the label sets that `labels` knows."""
    return [*_table().labels, *(name for name, vocabulary in vocabularies().items() if vocabulary.labels)]


def labels(scheme: str) -> dict[int, str]:
    """Return label number -> canonical name of a label set, without the labels that segae has no structure for.

    ``scheme`` is "dap" (142 numbers), "totalsegmentator_v1" (104), "totalsegmentator_v2" (117), or one of `schemes`:
    label sets of public data sets and of TotalSegmentator's further tasks. Anything else raises ``ParameterError``,
    plain "totalsegmentator" too, since the numbers of its versions differ.
    """
    own = _table().labels
    if scheme in own:
        return dict(own[scheme])
    if scheme in vocabularies() and vocabularies()[scheme].labels:
        return vocabularies()[scheme].structures()
    if scheme in ("totalsegmentator", "totalsegmentator_total"):
        raise ParameterError(
            f"scheme={scheme!r} does not say which numbers: use 'totalsegmentator_v1' (104 classes, "
            "7 is the aorta), 'totalsegmentator_v2' (117 classes, 7 is the pancreas) or 'totalsegmentator_v3' "
            "(as v2, but 26 is the vertebra L6)"
        )
    choices = ", ".join(map(repr, schemes()))
    raise ParameterError(f"scheme={scheme!r} is not a label scheme; choose one of {choices}")
