"""Headers of NRRD and MetaImage files, which are text: names of segments, and whether they say the orientation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 1 << 20
_SEGMENT = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer|ID)")


@dataclass(frozen=True)
class Segment:
    """One segment of a ``.seg.nrrd`` as 3D Slicer writes it."""

    name: str
    value: int
    layer: int


def read_fields(path: Path) -> dict[str, str]:
    """Fields of the header, keys as written."""
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES)
    if data.startswith(b"NRRD"):
        end = re.search(rb"\r?\n\r?\n", data)
        text = data[: end.start() if end else None].decode(errors="replace")
        pairs = (re.split(r":=|: ", line, maxsplit=1) for line in text.splitlines() if not line.startswith("#"))
    else:
        end = re.search(rb"ElementDataFile[^\n]*", data)
        text = data[: end.end() if end else None].decode(errors="replace")
        pairs = (line.split("=", 1) for line in text.splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def says_orientation(fields: dict[str, str]) -> bool:
    """Whether the header says which way the axes run."""
    return any(key in fields for key in ("space", "space dimension", "TransformMatrix", "Rotation", "Orientation"))


def segments_of(fields: dict[str, str]) -> list[Segment]:
    """Segments in their order; empty for a file that is no segmentation of Slicer."""
    found: dict[int, dict[str, str]] = {}
    for key, value in fields.items():
        match = _SEGMENT.fullmatch(key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [
        Segment(
            entry.get("Name") or entry.get("ID", f"Segment{number}"),
            int(entry["LabelValue"]),
            int(entry.get("Layer", 0)),
        )
        for number, entry in sorted(found.items())
        if entry.get("LabelValue", "").isdigit()
    ]
