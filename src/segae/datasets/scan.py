"""Listing folders quickly, and surviving what people keep in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segae.errors import AuditError
from segae.suffixes import stem

__all__ = ["Listing", "list_folder", "require_folder", "stem", "tell_other_formats", "walk"]

_OTHER_FORMATS = (
    ".npy", ".npz", ".tif", ".tiff", ".png", ".jpg", ".h5", ".hdf5", ".mat", ".zip", ".7z", ".tar", ".tgz", ".rar",
    ".gz", ".nhdr", ".stl", ".ply", ".vtk", ".vti",
)  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """Names in one folder, sorted; hidden ones (and macOS's "._" copies) are left out."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


def list_folder(path: Path, problems: list[str]) -> Listing:
    """List a folder. What cannot be listed or named, and folders named like files, become problems."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not _is_text(entry.name):
                    problems.append(f"{_printable(entry.path)}: the name is not UTF-8; rename it")
                    continue
                try:
                    is_folder = entry.is_dir()
                    (folders if is_folder else files).append(entry.name)
                    if is_folder and stem(entry.name) is not None:
                        problems.append(f"{entry.path}: a folder that is named like a file; move the file inside it up")
                except OSError as error:  # a symbolic link to itself
                    problems.append(f"{entry.path}: {error.strerror}")
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    return Listing(tuple(sorted(folders)), tuple(sorted(files)))


def tell_other_formats(path: Path, listing: Listing, problems: list[str]) -> None:
    """Say which files of a folder are of formats that are not read."""
    for suffix in _OTHER_FORMATS:
        names = [name for name in listing.files if name.lower().endswith(suffix) and stem(name) is None]
        if names:
            problems.append(
                f"{path}: {len(names)} files {suffix} ({names[0]}) are not read; convert them to NIfTI (.nii.gz)"
            )


def walk(root: Path, depth: int, problems: list[str]) -> Iterator[tuple[Path, Listing, list[str]]]:
    """Every folder down to `depth` below `root`, parents first.

    Yields
    ------
    path : Path
    listing : Listing
    descend : list of str
        Folders that will be entered next; the caller may take some out.
    """
    seen = set()
    waiting = [(root, 0)]
    while waiting:
        path, level = waiting.pop()
        try:
            status = path.stat()
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        if (status.st_dev, status.st_ino) in seen:  # a symbolic link to a folder above or beside
            problems.append(f"{path}: leads to a folder that was seen already")
            continue
        seen.add((status.st_dev, status.st_ino))
        listing = list_folder(path, problems)
        descend = list(listing.folders) if level < depth else []
        yield path, listing, descend
        waiting += [(path / name, level + 1) for name in reversed(descend)]


def require_folder(path: Path) -> None:
    """Raise AuditError when there is no such folder, or it cannot be listed."""
    try:
        with os.scandir(path):
            pass
    except OSError as error:
        raise AuditError(f"dataset: {path} cannot be listed ({error.strerror}).") from error


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(path: str) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")
