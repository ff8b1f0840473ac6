"""A table that says it all: columns image, mask (or labelmap), structure, label, case; one row a mask.

Comma, semicolon or tab; UTF-8, with or without a mark; relative paths from the table's folder. `label` is the value of
the structure ("1+2" for several), empty for a mask of 0 and 1. A row without `structure` is a labelmap whose values
``names`` tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from segae.datasets.case import Case, MaskFile
from segae.datasets.found import Found
from segae.datasets.names import Names
from segae.datasets.rows import Rows, whole_numbers
from segae.datasets.scan import stem
from segae.errors import AuditError, ParameterError

_ASKING_THREADS = 16
_COLUMNS = {"image", "mask", "labelmap", "structure", "label", "case"}


def find_table(path: Path, names: Names) -> Found:
    """Read the table.

    Raises
    ------
    AuditError
        When it cannot be read or lacks its columns.
    """
    rows = Rows(path)
    if "image" not in rows.columns or not {"mask", "labelmap"} & set(rows.columns):
        raise AuditError(
            f"dataset: {path} needs the columns image and mask (or labelmap), and may have structure, label, case; "
            f"got {', '.join(rows.columns) or 'none'}."
        )
    problems = [f"names: {problem}" for problem in names.problems]
    notes: list[str] = []
    masks: dict[Path, list[MaskFile]] = defaultdict(list)
    ids: dict[Path, str] = {}
    asked: dict[Path, str] = {}
    table = list(rows)
    for line, row in table:
        cells = {key: value for key, value in row.items() if key in _COLUMNS}
        where = f"{path} line {line}"
        mask = cells.get("mask") or cells.get("labelmap")
        if not cells["image"] or not mask:
            problems.append(f"{where}: no image or no mask")
            continue
        image_path, mask_path = _path(path.parent, cells["image"], notes), _path(path.parent, mask, notes)
        asked.setdefault(image_path, where)
        asked.setdefault(mask_path, where)
        ids.setdefault(image_path, cells.get("case", ""))
        masks[image_path] += _masks(mask_path, cells, names, where, problems)
    missing = _not_there(asked)
    cases = [Case(key, image, tuple(dict.fromkeys(masks[image]))) for image, key in _unique_ids(ids).items()]
    found = sorted(cases, key=lambda case: case.id)
    return Found("table", path, found, problems, names.unknown, notes, missing)


def _path(folder: Path, cell: str, notes: list[str]) -> Path:
    """Path of a cell; backslashes of Windows are turned where only that leads to a file."""
    path = folder / cell
    turned = folder / cell.replace("\\", "/")
    if "\\" in cell and not path.exists() and turned.exists():
        notes.append(f"{cell}: taken as {turned.relative_to(folder) if turned.is_relative_to(folder) else turned}")
        return turned
    return path


def _not_there(asked: dict[Path, str]) -> list[str]:
    """Files that the table names and that are not there; asking a network mount waits far more than it works."""
    with ThreadPoolExecutor(_ASKING_THREADS) as pool:
        there = pool.map(Path.exists, asked)
        return [
            f"{where}: no such file: {path}"
            for (path, where), found in zip(asked.items(), there, strict=True)
            if not found
        ]


def _masks(path: Path, cells: dict[str, str], names: Names, where: str, problems: list[str]) -> list[MaskFile]:
    name = cells.get("structure", "")
    labels = whole_numbers(cells.get("label", ""))
    if labels is None:
        problems.append(f"{where}: label {cells['label']!r} is no integer, nor integers joined by +")
        return []
    if 0 in labels:
        problems.append(f"{where}: label 0 is the background")
        return []
    if name:
        structure = names.structure(name, "user")
        return [] if structure is None else [MaskFile(structure, path, labels, name)]
    if not names.labels:
        problems.append(f"{where}: no structure, and no --names that tell what the values mean")
        return []
    return names.parts(path, names.labels)


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
            structure = names.structure(mask.structure, "user")
            if structure is not None:
                masks.append(replace(mask, structure=structure, path=Path(mask.path), name=mask.name or mask.structure))
        image = None if case.image is None else Path(case.image)
        found[case.id] = Case(case.id, image, tuple(masks))
    cases = sorted(found.values(), key=lambda case: case.id)
    return Found("given cases", Path(), cases, [], names.unknown)
