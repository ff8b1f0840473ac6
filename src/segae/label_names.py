"""What the values of a labelmap mean, as the command line is told: a known scheme, a JSON file or the file itself."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from segae import structures
from segae.errors import ParameterError
from segae.readers import header_extensions

_HINT = (
    'Expected "totalsegmentator_v1", "totalsegmentator_v2", "dap", "totalsegmentator" (names in the file\'s header), '
    "or a JSON file."
)


def read_label_names(names: str, labelmap: str) -> dict[int, str]:
    """Value -> structure name.

    Parameters
    ----------
    names : str
        A scheme of `segae.structures.labels`; "totalsegmentator" for the names that TotalSegmentator writes into the
        header of its multilabel files; or the path of a JSON file that holds {value: name}, {name: value} or nnU-Net's
        dataset.json.
    labelmap : str
        Path of the labelmap.

    Raises
    ------
    ParameterError
        When the names cannot be had.
    """
    if names == "totalsegmentator":
        return _from_header(labelmap)
    if names.endswith(".json"):
        return _from_json(Path(names))
    try:
        return structures.labels(names)
    except ParameterError as error:
        raise ParameterError(f"--names: got {names!r}. {_HINT}") from error


def _from_header(labelmap: str) -> dict[int, str]:
    for text in header_extensions(labelmap):
        try:
            root = ElementTree.fromstring(text.strip(b"\0 \n"))  # noqa: S314  expat bounds entity expansion itself
        except ElementTree.ParseError:
            continue
        found = {int(entry.get("Key", "0")): (entry.text or "").strip() for entry in root.iter("Label")}
        found.pop(0, None)
        if found:
            return found
    raise ParameterError(
        f"--names: {labelmap} carries no label names in its header. Say which numbers it uses: "
        f"totalsegmentator_v1 (104 classes, 7 is the aorta) or totalsegmentator_v2 (117 classes, 7 is the pancreas)."
    )


def _from_json(path: Path) -> dict[int, str]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        table = table.get("labels", table)
        pairs = {}
        for key, value in table.items():
            number, name = (int(key), str(value)) if str(key).lstrip("-").isdigit() else (int(value), str(key))
            if number != 0 and name.lower() != "background":
                pairs[number] = name
        return pairs
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"--names: {path} does not hold {{value: name}} or {{name: value}} with one number a structure ({error})."
        ) from error
