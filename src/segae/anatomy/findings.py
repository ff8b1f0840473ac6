"""What a check across structures found."""

from __future__ import annotations

from dataclasses import dataclass

#: What may be wrong across structures, gravest first. `situs_inversus` is no mistake.
KINDS = ("side_swapped", "out_of_order", "wrong_level", "misplaced", "merged", "overlaps", "missing_part")


@dataclass(frozen=True)
class Ceiling:
    """The Dice, precision and recall that a mask can reach at most, each in [0, 1]."""

    dice: float = 1.0
    precision: float = 1.0
    recall: float = 1.0


#: A mask under another structure's name shares next to nothing with it.
WRONG_NAME = Ceiling(0.05, 0.05, 0.05)
#: A mask that covers two structures of one size.
HOLDS_TWO = Ceiling(dice=2 / 3, precision=0.5)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or odd, across structures.

    Attributes
    ----------
    kind : str
        One of `KINDS`, or situs_inversus.
    detail : str
        One sentence that says what was seen.
    structures : tuple of str
        The masks concerned.
    really : dict name -> name
        What those masks seem to show, where that can be told.
    certain : bool
        Whether all other structures agree on it.
    ceiling : Ceiling
        Of the masks concerned, if this is so.
    """

    kind: str
    detail: str
    structures: tuple[str, ...]
    really: dict[str, str]
    certain: bool = False
    ceiling: Ceiling = Ceiling()


def spoken(name: str) -> str:
    """A structure's name in a sentence: T8, left rib 4, left kidney."""
    words = name.split("_")
    if words[0] == "vertebrae":
        return words[1]
    side = [word for word in words if word in ("left", "right")]
    return " ".join(side + [word for word in words if word not in side])
