"""Checks of plain arguments, with errors that name the argument and what came."""

from __future__ import annotations

import operator

from segae.errors import ParameterError


def number(value: object, argument: str) -> float:
    """Return `value` as a float, if it is a number.

    Raises
    ------
    ParameterError
    """
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{argument}: expected a number, got {value!r}.") from error


def whole_number(value: object, argument: str) -> int:
    """Return `value` as an int, if it is a whole number of any integer type; True and False are none.

    Raises
    ------
    ParameterError
    """
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise ParameterError(f"{argument}: expected a whole number, got {value!r}.")
