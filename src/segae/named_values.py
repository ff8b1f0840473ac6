"""What the values of a labelmap mean: a dict or a label scheme -> structures by value."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from segae import structures
from segae.errors import ParameterError
from segae.structures import Structure


def named_values(named: Mapping[int, str] | str) -> dict[int, Structure]:
    """Return the structure of every value.

    Parameters
    ----------
    named : dict or str
        Value -> name, or a scheme of `segae.structures.labels`.

    Raises
    ------
    ParameterError
        For values that are no integers or 0, and for a structure that two values name.
    UnknownStructureError
    """
    if not isinstance(named, (str, Mapping)):
        raise ParameterError(f"structures: expected a dict value -> name or a label scheme, got {named!r}.")
    table = structures.labels(named) if isinstance(named, str) else named
    found: dict[int, Structure] = {}
    for value, name in table.items():
        try:
            label = operator.index(value)
        except TypeError as error:
            raise ParameterError(f"structures: expected integer values as keys, got {value!r}.") from error
        if label == 0:
            raise ParameterError(f"structures: 0 is the background; drop its name {name!r}.")
        structure = structures.get(name)
        if structure in found.values():
            raise ParameterError(f"structures: {structure.name} is named by more than one value.")
        found[label] = structure
    return found
