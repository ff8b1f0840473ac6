"""`segae audit`: score every mask of a dataset, lose nothing, and put the worst first.

>>> from segae import audit
>>> audit.run("Totalsegmentator_dataset", "checked")  # doctest: +SKIP
>>> worst = audit.rank(audit.load("checked"))[:10]  # doctest: +SKIP

`run` finds the cases, scores them in worker processes and commits each to ``OUT/results.sqlite``; `load` reads it;
`rank` orders masks from the one to look at first to the last.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segae.audit.results import CaseRow, MaskRow, Results
    from segae.audit.review.ranking import Ranked, rank
    from segae.audit.scoring.runner import Summary, run
    from segae.audit.store import load
    from segae.datasets.case import Case, MaskFile

__all__ = ["Case", "CaseRow", "MaskFile", "MaskRow", "Ranked", "Results", "Summary", "load", "rank", "run"]

_HOMES = {
    "segae.datasets.case": ("Case", "MaskFile"),
    "segae.audit.results": ("CaseRow", "MaskRow", "Results"),
    "segae.audit.store": ("load",),
    "segae.audit.review.ranking": ("Ranked", "rank"),
    "segae.audit.scoring.runner": ("Summary", "run"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'segae.audit' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
