"""Whether a case is still what it was when it was scored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from segae.datasets.case import Case


def fingerprint(case: Case, model_sha256: str, reference: str = "none") -> str:
    """Hash of all that a case's scores depend on, as far as that is seen without reading its files.

    Size and time of change of every file, the names given to the masks, the model and the kind of reference.
    """
    files = sorted(
        {mask.path for mask in (*case.masks, *case.reference)} | ({case.image} if case.image is not None else set())
    )
    told = {
        "model": model_sha256,
        "image": str(case.image),
        "files": [[str(path), *_state(path)] for path in files],
        "masks": sorted([mask.structure, str(mask.path), list(mask.labels)] for mask in case.masks),
        "reference": [
            reference,
            *sorted([mask.structure, str(mask.path), list(mask.labels)] for mask in case.reference),
        ],
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
