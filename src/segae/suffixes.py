"""Suffixes of image files that are read."""

from __future__ import annotations

# The last four need segae[io].
SUFFIXES = (".nii.gz", ".nii", ".nii.bz2", ".nii.zst", ".mgz", ".hdr", ".seg.nrrd", ".nrrd", ".mha", ".mhd")


def stem(name: str) -> str | None:
    """File name without the suffix of a format that is read; None for other files."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return None
