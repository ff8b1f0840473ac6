"""Labels that a network drew where people drew none: which of them are good enough to learn from.

Beside ``CASE_ct.nii.gz`` may lie ``CASE_pseudo.nii.gz`` (ids of structures.csv) and, for all cases, ``pseudo.csv``
with the columns case, structure, at_scan_end (1: the structure reaches the first or last slice) and agreement (Dice
with what a second, independent network drew; empty where there is none).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from segae.datasets.rows import Rows

# Least agreement of two networks. Organs that only one of them knows are trusted in scans where both agree on the
# organs of `_WITNESSES`.
_LEAST_AGREEMENT = {"liver": 0.9, "spleen": 0.9, "kidney_left": 0.9, "kidney_right": 0.9, "pancreas": 0.75}
_WITNESSES = ("liver", "spleen")
# Drawn in part only, by the networks that are known: the aorta without its arch.
_NEVER = frozenset({"aorta"})


class _Named(Protocol):
    """A case, as far as it matters here."""

    @property
    def name(self) -> str: ...

    @property
    def image(self) -> Path: ...


def lessons(case: _Named) -> tuple[Path, frozenset[str]] | None:
    """Return the labelmap that a network drew of a case and the structures to trust in it; None where there is none."""
    folder = case.image.parent
    file, table = folder / f"{case.name}_pseudo.nii.gz", folder / "pseudo.csv"
    if not (file.exists() and table.exists()):
        return None
    rows = {row["structure"]: row for _, row in Rows(table, "data") if row.get("case") == case.name}
    agreed = {name for name, row in rows.items() if _agreement(row) >= _LEAST_AGREEMENT.get(name, 2.0)}
    sound = agreed | (rows.keys() - _LEAST_AGREEMENT.keys() if agreed.issuperset(_WITNESSES) else set())
    whole = {name for name, row in rows.items() if row.get("at_scan_end") == "0"}
    return file, frozenset((sound & whole) - _NEVER)


def _agreement(row: dict[str, str]) -> float:
    return float(row.get("agreement") or 0.0)
