"""The parameters of a kind of error as data: what each means, what values it may have, and the check of given ones."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from segae.errors import ParameterError

# Places and lengths that no scan has; beyond them arithmetic in float32 means nothing.
_FARTHEST_MM = 1e5
# A control grid finer than this has more values than a scan has voxels.
_FINEST_GRID_MM = 0.05
_LARGEST_SEED = 2**53
_LARGEST_LABEL = 4095
_LARGEST_INDEX = 2**31


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kind.

    Attributes
    ----------
    meaning : str
        What it does, and in which range it is drawn.
    expected : str
        What its values are, for errors and the documentation.
    low, high : float
        Of every number in it.
    fits : callable
        Whether a JSON value is one.
    optional : bool
        It may be missing, or None.
    """

    meaning: str
    expected: str
    low: float
    high: float
    fits: Callable[[object], bool]
    optional: bool = False

    def check(self, name: str, value: object) -> None:
        """Raise ParameterError when `value` is not one."""
        if not (self.fits(value) or (self.optional and value is None)):
            raise ParameterError(f"params: {name!r} must be {self.expected}, got {value!r}.")


def check_params(owner: str, known: Mapping[str, Parameter], given: Mapping[str, Any]) -> None:
    """Check that `given` holds every parameter of a kind, no other one, and only values that they may have.

    Raises
    ------
    ParameterError
        Names the parameter, what came and what is expected.
    """
    values = {name: value for name, value in given.items() if name != "kind"}
    missing = [name for name, parameter in known.items() if name not in values and not parameter.optional]
    if missing:
        what = f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        raise ParameterError(f"params: {what}; {owner!r} needs {_listed(known)}; got {_listed(values)}.")
    extra = [name for name in values if name not in known]
    if extra:
        raise ParameterError(f"params: {owner!r} has no {_listed(extra)}; its parameters are {_listed(known)}.")
    for name, value in values.items():
        known[name].check(f"{owner}.{name}", value)


def _listed(names: object) -> str:
    return ", ".join(map(repr, names)) or "nothing"  # type: ignore[call-overload]


def optional(parameter: Parameter) -> Parameter:
    """The same parameter, which may be missing or None."""
    return replace(parameter, optional=True)


def number(meaning: str, low: float = 0.0, high: float = _FARTHEST_MM) -> Parameter:
    """A number in [low, high]."""
    return Parameter(meaning, f"a number in [{low:g}, {high:g}]", low, high, lambda v: _is_number(v, low, high))


def grid_mm(meaning: str) -> Parameter:
    """Distance of the control points of a noise field."""
    return number(meaning, _FINEST_GRID_MM)


def seed(meaning: str) -> Parameter:
    """Seed of a noise field."""
    return _whole(meaning, 0, _LARGEST_SEED)


def label(meaning: str) -> Parameter:
    """A value of the labelmap."""
    return _whole(meaning, 1, _LARGEST_LABEL)


def index(meaning: str) -> Parameter:
    """Index of a slice."""
    return _whole(meaning, 0, _LARGEST_INDEX)


def slice_axis(meaning: str = "slices lie across this axis of the volume in LPS [z, y, x]; 0") -> Parameter:
    """Axis across which slices lie."""
    return _whole(meaning, 0, 2)


def flag(meaning: str) -> Parameter:
    """True or false."""
    return Parameter(meaning, "true or false", 0, 1, lambda v: isinstance(v, bool))


def flags(meaning: str) -> Parameter:
    """Three times true or false, along z, y, x."""
    return Parameter(
        meaning, "three of true and false", 0, 1, lambda v: _is_list(v, lambda e: isinstance(e, bool), length=3)
    )


def place(meaning: str) -> Parameter:
    """A place z, y, x in mm."""
    return Parameter(meaning, "three numbers z, y, x in mm", -_FARTHEST_MM, _FARTHEST_MM, _is_place)


def places(meaning: str) -> Parameter:
    """A list of places."""
    return Parameter(
        meaning,
        "a list of places, each three numbers z, y, x in mm",
        -_FARTHEST_MM,
        _FARTHEST_MM,
        lambda v: _is_list(v, _is_place),
    )


def numbers(meaning: str, low: float, high: float, length: int | None = None) -> Parameter:
    """A list of numbers in [low, high]."""
    what = "a list of numbers" if length is None else f"{length} numbers"
    return Parameter(
        meaning,
        f"{what} in [{low:g}, {high:g}]",
        low,
        high,
        lambda v: _is_list(v, lambda e: _is_number(e, low, high), length=length),
    )


def indices(meaning: str) -> Parameter:
    """A list of indices of slices."""
    return Parameter(
        meaning,
        "a list of indices of slices",
        0,
        _LARGEST_INDEX,
        lambda v: _is_list(v, lambda e: _is_whole(e, 0, _LARGEST_INDEX)),
    )


def unit_vector(meaning: str) -> Parameter:
    """A direction z, y, x of length 1."""

    def fits(value: object) -> bool:
        if not _is_list(value, lambda e: _is_number(e, -1.001, 1.001), length=3):
            return False
        return abs(math.fsum(e * e for e in value) - 1.0) < 1e-3  # type: ignore[attr-defined]

    return Parameter(meaning, "a vector z, y, x of length 1", -1, 1, fits)


def _whole(meaning: str, low: int, high: int) -> Parameter:
    return Parameter(meaning, f"a whole number in [{low}, {high}]", low, high, lambda v: _is_whole(v, low, high))


def _is_number(value: object, low: float, high: float) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return low <= float(value) <= high  # type: ignore[arg-type]  # nan is in no range
    except (TypeError, ValueError, OverflowError):
        return False


def _is_whole(value: object, low: int, high: int) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return low <= operator.index(value) <= high  # type: ignore[arg-type]
    except TypeError:
        return False


def _is_list(value: object, fits: Callable[[object], bool], length: int | None = None) -> bool:
    if not isinstance(value, (list, tuple)) or not value or (length is not None and len(value) != length):
        return False
    return all(fits(entry) for entry in value)


def _is_place(value: object) -> bool:
    return _is_list(value, lambda e: _is_number(e, -_FARTHEST_MM, _FARTHEST_MM), length=3)
