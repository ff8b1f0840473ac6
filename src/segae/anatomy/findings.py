"""What a check across structures found."""

from __future__ import annotations

from dataclasses import dataclass

#: Dice that a mask under another structure's name can still reach: the two share next to nothing.
WRONG_NAME = 0.05
#: Dice of a mask that covers two structures of one size: 2 / (2 + 1).
HOLDS_TWO = 2 / 3


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or odd, across structures.

    Attributes
    ----------
    kind : str
        out_of_order, wrong_level, side_swapped, overlaps, missing_part, merged, misplaced or situs_inversus.
    detail : str
        One sentence that says what was seen.
    structures : tuple of str
        The masks concerned.
    really : dict name -> name
        What those masks seem to show, where that can be told.
    certain : bool
        Whether all other structures agree on it.
    ceiling : float
        The Dice that the masks can reach at most, if this is so.
    """

    kind: str
    detail: str
    structures: tuple[str, ...]
    really: dict[str, str]
    certain: bool = False
    ceiling: float = 1.0


def spoken(name: str) -> str:
    """A structure's name in a sentence: T8, left rib 4, left kidney."""
    words = name.split("_")
    if words[0] == "vertebrae":
        return words[1]
    side = [word for word in words if word in ("left", "right")]
    return " ".join(side + [word for word in words if word not in side])
