"""`segae audit`: score every mask of a dataset, lose nothing, and put the worst first.

>>> from segae import audit
>>> audit.run("Totalsegmentator_dataset", "checked")  # doctest: +SKIP
>>> worst = sorted(audit.load("checked").masks, key=lambda mask: mask.dice)[:10]  # doctest: +SKIP

`run` finds the cases, scores them in worker processes and commits each to ``OUT/results.sqlite``; `load` reads it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segae.audit.case import Case, MaskFile
    from segae.audit.results import CaseRow, MaskRow, Results, load
    from segae.audit.runner import Summary, run

__all__ = ["Case", "CaseRow", "MaskFile", "MaskRow", "Results", "Summary", "load", "run"]

_HOMES = {
    "case": ("Case", "MaskFile"),
    "results": ("CaseRow", "MaskRow", "Results", "load"),
    "runner": ("Summary", "run"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'segae.audit' has no attribute {name!r}")
    value = getattr(import_module(f"segae.audit.{_HOME[name]}"), name)
    globals()[name] = value
    return value
