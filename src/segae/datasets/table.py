"""A table that says it all: columns image, mask (or labelmap), structure, label, case; one row a mask.

Comma, semicolon or tab; UTF-8, with or without a mark; relative paths from the table's folder. `label` is the value of
the structure ("1+2" for several), empty for a mask of 0 and 1. A row without `structure` is a labelmap whose values
``names`` tells.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from segae.datasets.case import Case, MaskFile
from segae.datasets.found import Found
from segae.datasets.names import Names
from segae.datasets.scan import stem
from segae.errors import AuditError, ParameterError

_COLUMNS = {"image", "mask", "labelmap", "structure", "label", "case"}


def find_table(path: Path, names: Names) -> Found:
    """Read the table.

    Raises
    ------
    AuditError
        When it cannot be read or lacks its columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise AuditError(f"dataset: {path} cannot be read as UTF-8 ({error}).") from error
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    if "image" not in reader.fieldnames or not {"mask", "labelmap"} & set(reader.fieldnames):
        raise AuditError(
            f"dataset: {path} needs the columns image and mask (or labelmap), and may have structure, label, case; "
            f"got {', '.join(reader.fieldnames) or 'none'}."
        )
    problems: list[str] = []
    masks: dict[Path, list[MaskFile]] = defaultdict(list)
    ids: dict[Path, str] = {}
    for row in reader:
        cells = {key: (value or "").strip() for key, value in row.items() if key in _COLUMNS}
        where = f"{path} line {reader.line_num}"
        mask = cells.get("mask") or cells.get("labelmap")
        if not cells["image"] or not mask:
            problems.append(f"{where}: no image or no mask")
            continue
        image = path.parent / cells["image"]
        ids.setdefault(image, cells.get("case", ""))
        masks[image] += _masks(path.parent / mask, cells, names, where, problems)
    cases = [Case(key, image, tuple(dict.fromkeys(masks[image]))) for image, key in _unique_ids(ids).items()]
    return Found("table", path, sorted(cases, key=lambda case: case.id), problems, names.unknown)


def _masks(path: Path, cells: dict[str, str], names: Names, where: str, problems: list[str]) -> list[MaskFile]:
    name = cells.get("structure", "")
    try:
        labels = tuple(int(value) for value in cells.get("label", "").split("+") if value)
    except ValueError:
        problems.append(f"{where}: label {cells['label']!r} is no integer, nor integers joined by +")
        return []
    if name:
        wanted = {name: labels}
    elif names.values:
        wanted = {known: (value,) for value, known in names.values.items()}
    else:
        problems.append(f"{where}: no structure, and no --names that tell what the values mean")
        return []
    found = []
    for known, values in wanted.items():
        structure = names.structure(known)
        if structure is not None:
            found.append(MaskFile(structure, path, values, known, may_be_absent=not name))
    return found


def _unique_ids(given: dict[Path, str]) -> dict[Path, str]:
    """Image -> id: what the table calls the case, or the file's name, or as much of the path as tells them apart."""
    short = {image: wanted or _short(image) for image, wanted in given.items()}
    uses: dict[str, int] = defaultdict(int)
    for name in short.values():
        uses[name] += 1
    return {image: name if uses[name] == 1 else f"{name} ({image})" for image, name in short.items()}


def _short(image: Path) -> str:
    base = stem(image.name) or image.stem
    return image.parent.name if base.lower() in ("ct", "image") else base


def find_given(cases: Iterable[Case], names: Names) -> Found:
    """Take cases as a program gives them; structures may be spelled in any way.

    Raises
    ------
    ParameterError
        When something else is given, or two cases have one id.
    """
    found: dict[str, Case] = {}
    for case in cases:
        if not isinstance(case, Case):
            raise ParameterError(f"dataset: expected segae.audit.Case objects, got {type(case).__name__}.")
        if case.id in found:
            raise ParameterError(f"dataset: two cases have the id {case.id!r}.")
        masks = []
        for mask in case.masks:
            structure = names.structure(mask.structure)
            if structure is not None:
                masks.append(replace(mask, structure=structure, path=Path(mask.path), name=mask.name or mask.structure))
        image = None if case.image is None else Path(case.image)
        found[case.id] = Case(case.id, image, tuple(masks))
    cases = sorted(found.values(), key=lambda case: case.id)
    return Found("given cases", Path(), cases, [], names.unknown)
