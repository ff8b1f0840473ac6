"""Tables as pandas, spreadsheets and people write them -> rows of text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from segae.errors import AuditError

_DELIMITERS = ",;\t|"
# What pandas, R, SQL and spreadsheets write where there is nothing.
_NOTHING = frozenset({"", "nan", "none", "na", "n/a", "<na>", "null", "nat", "#n/a"})
_WHOLE = re.compile(r"-?\d+(?:\.0*)?")


class Rows:
    """A table with a heading, opened.

    Attributes
    ----------
    columns : list of str
        Headings in lower case, without spaces around them.

    Parameters
    ----------
    path : Path
        Comma, semicolon, tab or bar; UTF-8 or UTF-16, with or without a byte-order mark.
    argument : str
        What to call it in errors.
    literal : bool
        Take "nan", "None" and the like for text, not for empty cells.

    Raises
    ------
    AuditError
        When it cannot be read as text.
    """

    def __init__(self, path: Path, argument: str = "dataset", literal: bool = False) -> None:
        self._nothing: frozenset[str] = frozenset() if literal else _NOTHING
        try:
            data = path.read_bytes()
            text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        except (OSError, ValueError) as error:
            raise AuditError(
                f"{argument}: {path} cannot be read as UTF-8 ({error}). Save it as CSV in UTF-8."
            ) from error
        self._skipped = 0
        first, _, rest = text.partition("\n")
        if re.fullmatch(r'"?sep=.', first.strip().strip('"')):  # Excel's way to name the delimiter
            text, self._skipped = rest, 1
            delimiter = first.strip().strip('"')[-1]
        else:
            delimiter = max(_DELIMITERS, key=first.count)
        self._reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        self.columns = [name.strip().lower() for name in next(self._reader, [])]

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Line in the file and {heading: cell} of each row that holds anything; "" where a cell says nothing."""
        for cells in self._reader:
            values = [cell.strip() for cell in cells]
            if any(values):
                told = ("" if value.lower() in self._nothing else value for value in values[: len(self.columns)])
                yield self._reader.line_num + self._skipped, dict(zip_longest(self.columns, told, fillvalue=""))


def whole_numbers(cell: str) -> tuple[int, ...] | None:
    """Integers joined by +, in any spelling ("2", "2.0", "1+2"); None for anything else."""
    parts = [part.strip() for part in cell.split("+")] if cell else []
    if not all(_WHOLE.fullmatch(part) for part in parts):
        return None
    return tuple(int(part.partition(".")[0]) for part in parts)
