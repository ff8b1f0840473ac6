"""VerSe: ``rawdata/SUBJECT/X_ct.nii.gz`` and ``derivatives/SUBJECT/X_seg-vert_msk.nii.gz``, numbers of vertebrae."""

from __future__ import annotations

from pathlib import Path

from segae.datasets.case import Case
from segae.datasets.found import Found
from segae.datasets.names import Names
from segae.datasets.scan import stem, walk
from segae.vocabularies import vocabularies

_DEPTH = 4
_IMAGE, _LABELS = "_ct", "_seg-vert_msk"


def find_verse(root: Path, names: Names) -> Found | None:
    """Look for cases; None when no file is called as VerSe's labels are."""
    problems = [f"names: {problem}" for problem in names.problems]
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for path, listing, _ in walk(root, _DEPTH, problems):
        for name in listing.files:
            base = stem(name) or ""
            for suffix, into in ((_IMAGE, images), (_LABELS, labels)):
                key = base.removesuffix(suffix)
                if base.endswith(suffix) and into.setdefault(key, path / name) != path / name:
                    problems.append(f"{path / name}: a second file of the case {key}; {into[key]} is taken")
    if not labels:
        return None
    known = names.labels or {name: (value,) for value, name in vocabularies()["verse"].labels.items()}
    cases = [
        Case(key, images.get(key), tuple(names.parts(labels[key], known)) if key in labels else ())
        for key in sorted(images.keys() | labels.keys())
    ]
    return Found("VerSe", root, cases, problems, names.unknown)
