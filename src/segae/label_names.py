"""Names of labels as people write them down: JSON tables, nnU-Net's dataset.json, headers of TotalSegmentator's files.

One reader for ``segae labels``, ``segae audit`` and ``segae train``. It says what stands there; what the names mean is
`segae.datasets.names.Names`'s business.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from segae.containers import kind_of, names_of
from segae.errors import ParameterError
from segae.readers import header_extensions

_NUMBER = re.compile(r"\s*(-?\d+)(?:\.0*)?\s*")


@dataclass
class LabelTable:
    """What a table of names says.

    Attributes
    ----------
    labels : dict
        Name -> values of the labelmap that make it up: one, or several for a region.
    meanings : dict
        Name in the data set -> structure, or None for a name to be left out without a word.
    silent : set of int
        Values that are named null: to be left out without a word.
    problems : list of str
        Entries that are not understood, one sentence each.
    """

    labels: dict[str, tuple[int, ...]] = field(default_factory=dict)
    meanings: dict[str, str | None] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def read_table(given: Mapping[str, object] | Mapping[int, object] | str | Path, argument: str = "names") -> LabelTable:
    """Read {value: name}, {name: value}, {name: [values]}, {name: structure} and null, from a dict or a JSON file.

    Parameters
    ----------
    given : dict or path
        A JSON file may hold the table under "labels", as nnU-Net's dataset.json does, and begin with a byte-order mark.
    argument : str
        What to call it in errors.

    Raises
    ------
    ParameterError
        When the file cannot be read or holds no table.
    """
    try:
        table = given if isinstance(given, Mapping) else read_json(Path(given), argument)
    except ParameterError as error:
        raise ParameterError(f'{error} Expected {{"my liver": "liver", "junk": null}} or {{"1": "liver"}}.') from error
    inner = table.get("labels")  # type: ignore[call-overload]  # of either kind of mapping
    if isinstance(inner, Mapping):
        table = inner
    found = LabelTable()
    for key, value in table.items():
        _add(found, str(key).strip(), value)
    return found


def read_json(path: Path, argument: str) -> dict[str, object]:
    """Read a JSON object in UTF-8 or UTF-16, with or without a byte-order mark.

    Raises
    ------
    ParameterError
        When there is no such file, or it holds something else.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        table = json.loads(text)
    except (OSError, ValueError) as error:
        raise ParameterError(f"{argument}: {path} cannot be read as JSON ({error}).") from error
    if not isinstance(table, dict):
        raise ParameterError(f"{argument}: {path} holds no JSON object but {type(table).__name__}; expected {{...}}.")
    return table


def read_header(labelmap: str | Path) -> LabelTable:
    """Read the names that a file carries; empty where there are none.

    TotalSegmentator writes them into the headers of its multilabel files (XML; JSON is taken too), 3D Slicer into
    ``.seg.nrrd``; DICOM SEG and RTSTRUCT name their segments.

    Raises
    ------
    VolumeError
        When the file cannot be read.
    """
    found = LabelTable()
    if not str(labelmap).endswith((".nii.gz", ".nii")) and kind_of(labelmap) is not None:
        found.labels = names_of(labelmap)
        return found
    for content in header_extensions(str(labelmap)):
        text = content.strip(b"\xef\xbb\xbf\0 \r\n\t")
        if text.startswith(b"{"):
            with contextlib.suppress(ValueError):
                told = read_table(json.loads(text))
                found.labels.update(told.labels)
            continue
        try:
            root = ElementTree.fromstring(text)  # noqa: S314  expat bounds entity expansion itself
        except ElementTree.ParseError:
            continue
        for entry in root.iter("Label"):
            _add(found, entry.get("Key", ""), "".join(entry.itertext()).strip())
    return found


def _add(found: LabelTable, key: str, value: object) -> None:
    number = _as_number(key)
    if number is not None:
        if isinstance(value, str) and value.strip() and _as_number(value) is None:
            _add_label(found, value.strip(), (number,))
        elif value is None or value == "":
            found.silent.add(number)
        else:
            found.problems.append(f"the label {key!r}: {value!r} is not understood")
        return
    if isinstance(value, list):
        numbers = [_as_number(entry) for entry in value]
        values = tuple(number for number in numbers if number is not None)
        if values and len(values) == len(numbers):
            _add_label(found, key, values)
        else:
            found.problems.append(f"the label {key!r}: {value!r} is not understood")
    elif (number := _as_number(value)) is not None:
        _add_label(found, key, (number,))
    elif value is None or value == "":
        found.meanings[key] = None
    elif isinstance(value, str):
        found.meanings[key] = value.strip()
    else:
        found.problems.append(f"the label {key!r}: {value!r} is not understood")


def _add_label(found: LabelTable, name: str, values: tuple[int, ...]) -> None:
    """Add a label; background is none, and two entries of one name are one region."""
    values = tuple(value for value in values if value != 0)
    if values and name.lower() != "background":
        found.labels[name] = tuple(dict.fromkeys((*found.labels.get(name, ()), *values)))


def _as_number(value: object) -> int | None:
    """Whole numbers in any spelling: 7, 7.0, "7", "7.0"."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    match = _NUMBER.fullmatch(str(value))
    return int(match[1]) if match else None
