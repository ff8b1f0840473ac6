"""``OUT/results.sqlite``: one transaction a case, so that a run that is killed at any moment has lost no finished case.

One process writes, any number may read meanwhile (WAL). The writer holds a lock on a second, empty database, which the
operating system drops when the process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import sys
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType

from segae.assessment import Flag
from segae.audit.results import NUMBERS, CaseRow, MaskRow, Results
from segae.errors import AuditError

RESULTS = "results.sqlite"
_LOCK = "results.lock"
_VERSION = 3

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cases (
    case_id TEXT PRIMARY KEY, state TEXT NOT NULL, fingerprint TEXT NOT NULL, error TEXT, seconds REAL
);
CREATE TABLE masks (
    case_id TEXT NOT NULL REFERENCES cases (case_id), structure TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
    dice REAL, precision REAL, recall REAL, raw REAL, volume_ml REAL, flags TEXT NOT NULL, image TEXT NOT NULL,
    mask TEXT NOT NULL, labels TEXT NOT NULL, bbox TEXT NOT NULL, centroid_mm TEXT NOT NULL, slices_json TEXT NOT NULL,
    seconds REAL, model_sha256 TEXT NOT NULL, error TEXT,
    judge_dice REAL, reference_source TEXT NOT NULL, reference_dice REAL, reference_precision REAL,
    reference_recall REAL, reference_nsd REAL, reference_ml REAL, reference_reliability REAL, dice_low REAL,
    dice_high REAL, reference_mask TEXT NOT NULL, reference_labels TEXT NOT NULL, adapted_dice REAL,
    PRIMARY KEY (case_id, structure, source)
);
"""

_JSON_COLUMNS = ("flags", "labels", "bbox", "centroid_mm", "reference_labels")
# What many rows share is kept once in memory.
_SHARED_COLUMNS = ("case_id", "structure", "name", "image", "model_sha256")
_MASK_COLUMNS = tuple(field.name for field in fields(MaskRow))


class Store:
    """The results of one audit, opened by the one process that may write to them.

    Parameters
    ----------
    out : Path
        Folder; made when it is not there.

    Raises
    ------
    AuditError
        When another run writes there, or it cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(out)
        except (OSError, sqlite3.Error) as error:
            raise AuditError(f"out: {out} cannot be written ({error}). Pick another folder with -o.") from error
        try:
            self._database = sqlite3.connect(out / RESULTS, isolation_level=None)
            # A case that was reported as done is on the disk: WAL with full syncs, a few a minute.
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._create()
        except sqlite3.Error as error:
            self._lock.close()
            raise AuditError(
                f"out: {out / RESULTS} cannot be opened ({error}). If it is damaged, move it away and run again."
            ) from error

    def _create(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise AuditError(
                f"out: {self.out / RESULTS} was written by another version of segae (format {version}, this one "
                f"writes {_VERSION}). Pick another folder with -o."
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the results and let others write; the file can then be read from a folder that is read-only."""
        with contextlib.suppress(sqlite3.Error):  # while somebody reads, the log stays
            self._database.execute("PRAGMA journal_mode=DELETE")
        self._database.close()
        self._lock.close()

    def meta(self) -> dict[str, str]:
        """What was said of the run; see `Results.meta`."""
        return dict(self._database.execute("SELECT key, value FROM meta"))

    def set_meta(self, **values: str | None) -> None:
        """Add, replace or (None) drop facts about the run."""
        with _Transaction(self):
            self._database.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in values])
            told = [(key, value) for key, value in values.items() if value is not None]
            self._database.executemany("INSERT INTO meta VALUES (?, ?)", told)

    def move(self, before: str, now: str) -> None:
        """Say that the dataset's folder is reached by another path: rows of files below it follow."""
        with _Transaction(self):
            for column in ("image", "mask"):
                self._database.execute(
                    f"UPDATE masks SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                    (now, len(before) + 1, len(before) + 1, before + os.sep),
                )

    def fingerprints(self) -> dict[str, str]:
        """Case -> fingerprint, for the cases without an error: they need no second look unless their files changed."""
        return dict(self._database.execute("SELECT case_id, fingerprint FROM cases WHERE error IS NULL"))

    def commit(self, case: CaseRow, masks: Iterable[MaskRow]) -> None:
        """Keep a case with all its masks, instead of what was known of it.

        Raises
        ------
        AuditError
            When it cannot be written; what was committed before stays as it is.
        """
        places = ", ".join("?" * len(_MASK_COLUMNS))
        with _Transaction(self):
            self._database.execute("DELETE FROM masks WHERE case_id = ?", (case.case_id,))
            self._database.execute("INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?, ?)", astuple(case))
            self._database.executemany(
                f"INSERT INTO masks ({', '.join(_MASK_COLUMNS)}) VALUES ({places})",  # noqa: S608  names are ours
                [_to_columns(mask) for mask in masks],
            )

    def weigh(self, rows: Iterable[MaskRow]) -> None:
        """Replace what was said of masks before all cases were seen; see `segae.audit.scoring.weighing`."""
        told = [
            (m.dice, m.dice_low, m.dice_high, m.reference_reliability, m.adapted_dice, m.case_id, m.structure, m.source)
            for m in rows
        ]
        with _Transaction(self):
            self._database.executemany(
                "UPDATE masks SET dice = ?, dice_low = ?, dice_high = ?, reference_reliability = ?, adapted_dice = ? "
                "WHERE case_id = ? AND structure = ? AND source = ?",
                told,
            )

    def mark_present(self, present: set[str]) -> int:
        """Set cases that are not in the dataset any more to "gone", and those that came back to what they were.

        Returns
        -------
        int
            How many are gone.
        """
        known = self._database.execute("SELECT case_id, state, error FROM cases").fetchall()
        gone = [(case_id,) for case_id, _, _ in known if case_id not in present]
        back = [
            ("failed" if error else "done", case_id)  # one with an error is scored again anyway
            for case_id, state, error in known
            if state == "gone" and case_id in present
        ]
        with _Transaction(self):
            self._database.executemany("UPDATE cases SET state = 'gone' WHERE case_id = ?", gone)
            self._database.executemany("UPDATE cases SET state = ? WHERE case_id = ?", back)
        return len(gone)


class _Transaction:
    """All of it or nothing; a full disk becomes an error that says so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._database = store._database

    def __enter__(self) -> None:
        try:
            self._database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._database.execute("COMMIT")
            except sqlite3.Error as failure:
                self._undo()
                raise self._explained(failure) from failure
            return
        self._undo()
        if isinstance(error, sqlite3.Error):
            raise self._explained(error) from error

    def _undo(self) -> None:
        if self._database.in_transaction:  # on a full disk SQLite has undone it already
            self._database.execute("ROLLBACK")

    def _explained(self, error: sqlite3.Error) -> AuditError:
        return AuditError(
            f"out: {self._store.out / RESULTS} cannot be written ({error}). All cases that were finished before are "
            f"kept: make room or mount the disk again, and give the same command to go on."
        )


def _take_lock(out: Path) -> sqlite3.Connection:
    lock = sqlite3.connect(out / _LOCK, timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" not in str(error):
            raise
        raise AuditError(
            f"out: another audit is writing to {out}. Wait until it ends, or pick another folder with -o."
        ) from error
    return lock


def _to_columns(mask: MaskRow) -> list[object]:
    row = dict(zip(_MASK_COLUMNS, (getattr(mask, name) for name in _MASK_COLUMNS), strict=True))
    row["flags"] = [{"name": flag.name, "detail": flag.detail} for flag in mask.flags]
    for name in _JSON_COLUMNS:
        row[name] = json.dumps(row[name], ensure_ascii=False)
    return list(row.values())  # sqlite3 stores nan as NULL


def _from_columns(values: Iterable[object]) -> MaskRow:
    row = dict(zip(_MASK_COLUMNS, values, strict=True))
    for name in _JSON_COLUMNS:
        row[name] = json.loads(str(row[name]))
    for name in NUMBERS:
        row[name] = math.nan if row[name] is None else row[name]  # one nan, so that rows compare
    for name in _SHARED_COLUMNS:
        row[name] = sys.intern(str(row[name]))
    row["flags"] = tuple(Flag(**flag) for flag in row["flags"])  # type: ignore[attr-defined]
    row["labels"] = tuple(row["labels"])  # type: ignore[arg-type]
    row["reference_labels"] = tuple(row["reference_labels"])  # type: ignore[arg-type]
    box, centroid = row["bbox"], row["centroid_mm"]
    row["bbox"] = None if box is None else tuple((begin, end) for begin, end in box)  # type: ignore[attr-defined]
    row["centroid_mm"] = None if centroid is None else tuple(centroid)  # type: ignore[arg-type]
    return MaskRow(**row)  # type: ignore[arg-type]


def load(out: str | os.PathLike[str]) -> Results:
    """Read the results of an audit; a run that is still going is not disturbed.

    Parameters
    ----------
    out : path
        The folder that `run` wrote to.

    Raises
    ------
    AuditError
        When there are no results.
    """
    out = Path(out)
    path = out / RESULTS
    if not path.is_file():
        raise AuditError(f"out: {out} holds no {RESULTS}. Name the folder that `segae audit -o` wrote to.")
    try:
        database = sqlite3.connect(f"file:{_uri_path(path)}?mode=ro", uri=True)
        try:
            database.execute("BEGIN")  # one moment for all three tables
            meta = dict(database.execute("SELECT key, value FROM meta"))
            cases = [
                CaseRow(*row)
                for row in database.execute(
                    "SELECT case_id, state, fingerprint, error, seconds FROM cases WHERE state != 'gone' "
                    "ORDER BY case_id"
                )
            ]
            columns = ", ".join(f"masks.{name}" for name in _MASK_COLUMNS)
            masks = [
                _from_columns(row)
                for row in database.execute(
                    f"SELECT {columns} FROM masks JOIN cases USING (case_id) WHERE state != 'gone' "  # noqa: S608
                    "ORDER BY case_id, structure, source"
                )
            ]
        finally:
            database.close()
    except sqlite3.Error as error:
        raise AuditError(f"out: {path} cannot be read ({error}).") from error
    return Results(out, masks, cases, meta)


def _uri_path(path: Path) -> str:
    """SQLite's URIs end a path at "?" and "#" and decode "%"."""
    return os.fspath(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
