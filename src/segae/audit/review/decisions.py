"""What reviewers decided: files that the report exports, merged into ``OUT/decisions.csv``."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from segae.audit.store import load as load_results
from segae.audit.tables import spreadsheet_cell
from segae.datasets.rows import Rows
from segae.errors import AuditError

DECISIONS = "decisions.csv"
CHOICES = ("accept", "reject", "")
_COLUMNS = ("case", "structure", "source", "decision", "note", "reviewer", "time", "dice", "fingerprint")

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Decision:
    """What a reviewer said of a mask.

    Attributes
    ----------
    decision : "accept", "reject" or ""
        The label may stay, it needs repair, or not decided.
    note, reviewer : str
    time : str
        ISO 8601 in UTC, milliseconds; the later of two decisions on a mask holds.
    dice : str
        What was predicted when it was decided; "" if nothing was.
    fingerprint : str
        Of the case when it was decided, as in `CaseRow`; "" if it is not known.
    """

    decision: str
    note: str
    reviewer: str
    time: str
    dice: str
    fingerprint: str

    def for_page(self) -> dict[str, str]:
        """The part that the report's page works with."""
        return {"decision": self.decision, "note": self.note, "reviewer": self.reviewer, "time": self.time}


@dataclass(frozen=True)
class Merged:
    """What became of a file of decisions.

    Attributes
    ----------
    new, changed, older : int
        Masks decided for the first time; decided anew; left, since a later decision was there.
    unknown : tuple of (case, structure, source)
        Not in the audit, and so left out.
    outdated : tuple of (case, structure, source)
        Merged, but the files or the model of the case have changed since the decision.
    """

    new: int
    changed: int
    older: int
    unknown: tuple[Key, ...]
    outdated: tuple[Key, ...]


def load(out: str | os.PathLike[str]) -> dict[Key, Decision]:
    """Decisions of an audit by (case, structure, source), in that order; empty when none were merged."""
    path = Path(out) / DECISIONS
    return dict(sorted(_read(path).items())) if path.is_file() else {}


def merge(out: str | os.PathLike[str], file: str | os.PathLike[str]) -> Merged:
    """Merge a file that the report exported into an audit; of two decisions on a mask the later one holds.

    Parameters
    ----------
    out : path
        Folder of the audit.
    file : path
        CSV or JSON. A CSV may be written by hand: it needs the columns case, structure, source and decision; without
        a time, a row counts as decided now.

    Raises
    ------
    AuditError
        When `out` holds no audit, `file` cannot be read, or none of its masks are in the audit.
    """
    results = load_results(out)
    known = {(mask.case_id, mask.structure, mask.source) for mask in results.masks}
    fingerprints = {case.case_id: case.fingerprint for case in results.cases}
    given, kept = _read(Path(file)), load(out)
    unknown = tuple(key for key in given if key not in known)
    if given and len(unknown) == len(given):
        raise AuditError(
            f"decisions: none of the {len(given)} masks in {file} are in {results.out}, the first is "
            f"{unknown[0]}. Is it the export of another audit?"
        )
    new = changed = older = 0
    outdated = []
    for key, decision in given.items():
        if key not in known:
            continue
        before = kept.get(key)
        if before is not None and before.time > decision.time:
            older += 1
            continue
        new += before is None
        changed += before is not None and before != decision
        kept[key] = decision
        if decision.fingerprint and decision.fingerprint != fingerprints.get(key[0]):
            outdated.append(key)
    _write(results.out / DECISIONS, kept)
    return Merged(new, changed, older, unknown, tuple(outdated))


def _read(path: Path) -> dict[Key, Decision]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"decisions: {path} cannot be read ({error}).") from error
    rows = _json_rows(text, path) if text.lstrip().startswith("{") else _csv_rows(path)
    now = _utc(datetime.now(timezone.utc))
    found: dict[Key, Decision] = {}
    for number, row in rows:
        where = f"decisions: {path}, entry {number}"
        choice = row["decision"].strip().lower()
        if choice not in CHOICES:
            raise AuditError(f"{where}: expected decision accept, reject or nothing, got {row['decision']!r}.")
        key = (row["case"], row["structure"], row["source"])
        decision = Decision(
            choice, row.get("note", ""), row.get("reviewer", ""), _time(row.get("time", ""), now, where),
            row.get("dice", ""), row.get("fingerprint", ""),
        )  # fmt: skip
        if key not in found or found[key].time <= decision.time:
            found[key] = decision
    return found


def _json_rows(text: str, path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        content: Any = json.loads(text)
        entries = content["decisions"]
        rows = [{name: _text(entry.get(name)) for name in _COLUMNS} for entry in entries]
        complete = all({"case", "structure", "source", "decision"} <= set(entry) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditError(
            f"decisions: {path} is not what the report exports ({type(error).__name__}: {error})."
        ) from error
    if not complete:
        raise AuditError(f"decisions: {path} has entries without case, structure, source or decision.")
    return enumerate(rows, 1)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _csv_rows(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    rows = Rows(path, "decisions", literal=True)
    missing = [name for name in _COLUMNS[:4] if name not in rows.columns]
    if missing:
        raise AuditError(
            f"decisions: {path} lacks the columns {', '.join(missing)}; it has {', '.join(rows.columns)}. "
            f"Export it from the report (CSV or JSON)."
        )
    for number, (_, row) in enumerate(rows, 1):
        yield number, {name: row.get(name, "").removeprefix("'") for name in _COLUMNS}


def _time(text: str, now: str, where: str) -> str:
    if not text.strip():
        return now
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise AuditError(f"{where}: expected a time such as {now}, got {text!r}.") from error
    return _utc(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))


def _utc(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(path: Path, kept: dict[Key, Decision]) -> None:
    fresh = path.with_suffix(".csv.part")
    try:
        with fresh.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for key, entry in sorted(kept.items()):
                row = (*key, entry.decision, entry.note, entry.reviewer, entry.time, entry.dice, entry.fingerprint)
                writer.writerow([spreadsheet_cell(cell) for cell in row])
        os.replace(fresh, path)  # noqa: PTH105  all or nothing
    except OSError as error:
        raise AuditError(f"decisions: {path} cannot be written ({error}).") from error
