"""Whether a case is still what it was when it was scored."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from segae.datasets.case import Case


def fingerprint(case: Case, model_sha256: str, root: Path, reference: str = "none") -> str:
    """Hash of all that a case's scores depend on, as far as that is seen without reading its files.

    Size and time of change of every file, the names given to the masks, the model and the kind of reference. Paths
    count from the dataset's folder `root`: a dataset that is reached by another path or mount is the same.
    """
    files = sorted(
        {mask.path for mask in (*case.masks, *case.reference)} | ({case.image} if case.image is not None else set())
    )
    told = {
        "model": model_sha256,
        "image": None if case.image is None else path_below(root, case.image),
        "files": [[path_below(root, path), *_state(path)] for path in files],
        "masks": sorted([mask.structure, path_below(root, mask.path), list(mask.labels)] for mask in case.masks),
        "reference": [
            reference,
            *sorted([mask.structure, path_below(root, mask.path), list(mask.labels)] for mask in case.reference),
        ],
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def path_below(root: Path, path: Path) -> str:
    """`path` as it is called from `root`, with forward slashes; a path elsewhere stays absolute."""
    path = path.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change; of a folder (a DICOM series) the sum and the latest of its files."""
    try:
        status = path.stat()
        if not path.is_dir():
            return status.st_size, status.st_mtime_ns
        inside = [entry.stat() for entry in os.scandir(path) if entry.is_file()]
        return sum(s.st_size for s in inside), max((s.st_mtime_ns for s in inside), default=0)
    except OSError:
        return -1, -1
