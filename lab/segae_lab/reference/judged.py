"""Masks of known quality, each with the judge's word, the built-in reference's and that of a user's reference.

The user's reference is played by the teachers' labels (``CASE_pseudo.nii.gz``): a public network's real output.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from time import process_time

import numpy as np

from segae import Engine, structures
from segae.errors import SegaeError
from segae.masks import read_mask
from segae.reference.builtin import BuiltInReference
from segae.reference.comparison import ReferenceComparison
from segae.reference.given import GivenReference, of_labelmap
from segae.reference.network import ReferenceNetwork
from segae.threads import available_threads
from segae.train import data, protocols
from segae.volume import Geometry, load, load_pair


@dataclass(frozen=True)
class Judged:
    """One mask. Shares are nan where there is none; `reliability` is of the reference before it."""

    case: str
    source: str
    structure: str
    kind: str
    number: int
    true: float
    judge: float
    built_in: float
    built_in_reliability: float
    given: float
    given_reliability: float
    flags: str


def sources(folder: Path) -> dict[str, dict[str, str]]:
    """Case -> its row of ``cases.csv``."""
    with (folder / "data" / "cases.csv").open(encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def usual_teachers(folder: Path) -> dict[str, float]:
    """Structure -> median Dice of the teachers' labels with contours, over scans that may be trained on."""
    rows = sources(folder)
    found: dict[str, list[float]] = defaultdict(list)
    with (folder / "data" / "pseudo.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["dice"] and rows[row["case"]]["use"] == "train":
                found[row["structure"]].append(float(row["dice"]))
    return {name: float(np.median(values)) for name, values in found.items()}


def judge_case(folder: Path, case: str, engine: Engine, network: ReferenceNetwork) -> Iterator[Judged]:
    """Judge spoiled masks of all structures of a case that either reference speaks for."""
    (known,) = (c for c in data.cases(folder, "train", "dev") if c.name == case)
    scan = data.load(known, known.image.parent)
    image = load(scan.image, "image", Geometry(spacing=scan.spacing_mm))
    threads = available_threads()
    built_in = BuiltInReference(image, network, threads)
    given = _teachers(folder, case, threads)
    rng = np.random.default_rng([1, *case.encode()])
    source = sources(folder)[case]["source"]
    for structure, kind, number, mask, truth in chain(protocols.masks(scan, rng), protocols.predictions(scan)):
        if structure not in built_in.names and (given is None or structure not in given.names):
            continue
        try:
            said = engine.assess(image, mask.view(np.uint8), structure, spacing=scan.spacing_mm, reference=None)
        except SegaeError:  # a structure that this judge does not know
            continue
        volume, scans = read_mask(load(mask, "mask", Geometry(spacing=scan.spacing_mm)), "mask", threads)
        words: list[ReferenceComparison | None] = [
            None if reference is None else reference.compare(volume, scans[1], structure)
            for reference in (built_in, given)
        ]
        shared = int((mask & truth).sum())
        (seen, seen_as), (theirs, theirs_as) = (_word(word) for word in words)
        flags = ";".join(flag.name for flag in said.flags)
        true = 2 * shared / int(mask.sum() + truth.sum())
        yield Judged(case, source, structure, kind, number, true, said.dice, seen, seen_as, theirs, theirs_as, flags)


def _word(found: ReferenceComparison | None) -> tuple[float, float]:
    return (float("nan"), float("nan")) if found is None else (found.dice, found.reliability)


def _teachers(folder: Path, case: str, threads: int) -> GivenReference | None:
    path = folder / "data" / f"{case}_pseudo.nii.gz"
    if not path.exists():
        return None
    image, labels = load_pair(folder / "data" / f"{case}_ct.nii.gz", path)
    ids = {structures.get(name).id: name for name in structures.names()}
    return of_labelmap(image, labels, ids, usual_teachers(folder), resample=False, threads=threads)


def collect(folder: Path, cases: list[str], engine: Engine, network: ReferenceNetwork, out: Path) -> list[Judged]:
    """Judge all masks of some cases; the table is kept in `out`."""
    rows: list[Judged] = []
    for case in cases:
        begin = process_time()
        rows += judge_case(folder, case, engine, network)
        print(case, len(rows), f"{process_time() - begin:.0f} CPU s", flush=True)  # noqa: T201
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Judged)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    return rows


def read(path: Path) -> list[Judged]:
    """Read what `collect` wrote."""
    with path.open(encoding="utf-8") as file:
        return [Judged(*(f.type_of(row[f.name]) for f in _COLUMNS)) for row in csv.DictReader(file)]


@dataclass(frozen=True)
class _Column:
    name: str
    type_of: type


_COLUMNS = [_Column(f.name, {"str": str, "int": int, "float": float}[str(f.type)]) for f in fields(Judged)]
