"""What a file or folder is that nibabel does not read, by its content."""

from __future__ import annotations

import importlib
import os
from enum import Enum
from pathlib import Path
from typing import Any

from segae.errors import VolumeError

_HEAD = 132
_DICOM = b"DICM"
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"


class Kind(Enum):
    """Kinds of containers; the value is what messages call it."""

    NRRD = "an NRRD file"
    META = "a MetaImage"
    SERIES = "a DICOM series"
    SEGMENTATION = "a DICOM SEG"
    CONTOURS = "an RTSTRUCT"


def kind_of(source: object) -> Kind | None:
    """Kind of a path, or of a list of the files of a series; None for anything else, and for what nibabel reads."""
    if isinstance(source, (list, tuple)) and source and all(isinstance(path, (str, os.PathLike)) for path in source):
        return Kind.SERIES
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = Path(source)
    try:
        if path.is_dir():
            return Kind.SERIES if any(map(is_dicom, sorted(path.iterdir()))) else None
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    if head.startswith(b"NRRD000"):
        return Kind.NRRD
    if path.name.lower().endswith((".mha", ".mhd")) and b"=" in head:
        return Kind.META
    return _dicom_kind(path) if head[128:] == _DICOM else None


def is_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM files do."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)[128:] == _DICOM
    except OSError:
        return False


def _dicom_kind(path: Path) -> Kind:
    pydicom = require("pydicom", path, "a DICOM file")
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    what = str(header.get("SOPClassUID", ""))
    if what in _SEGMENTATIONS:
        return Kind.SEGMENTATION
    return Kind.CONTOURS if what == _STRUCTURE_SET else Kind.SERIES


def require(module: str, path: object, what: str) -> Any:
    """Import a module of the extra `io`.

    Raises
    ------
    VolumeError
        When it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise VolumeError(f"{path} is {what}; reading it needs {module}: pip install 'segae[io]'.") from error
