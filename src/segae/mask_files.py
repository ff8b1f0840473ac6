"""Labelmaps that are no single array: a folder of masks, one file a structure, and files of named segments."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from segae import structures
from segae.containers import Layer, is_layered, names_of
from segae.errors import ParameterError, UnknownStructureError
from segae.label_names import read_header
from segae.suffixes import stem
from segae.vocabularies import recognise

_log = logging.getLogger("segae")


def masks_of(source: object, given: Mapping[int, str] | str | None) -> list[tuple[str, object]] | None:
    """Masks of a folder or of a file of segments as (structure, mask); None for a labelmap that is one array.

    Parameters
    ----------
    source : object
        What was given as the labelmap.
    given : dict, str or None
        Value of a segment -> name; without it, names are those of the files or segments. Unknown ones are left out, and
        logged.

    Raises
    ------
    ParameterError
        When nothing of it has the name of a known structure.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = Path(source)
    if path.is_dir() and any(stem(entry.name) for entry in path.iterdir()):
        if given is not None:
            raise ParameterError(f"structures: {path} is a folder of masks, whose files have the names; drop it.")
        files = {base: entry for entry in sorted(path.iterdir()) if (base := stem(entry.name))}
        return _known(path, {name: [file] for name, file in files.items()}, of_file=True)
    if not is_layered(path):
        return None
    if isinstance(given, str):
        raise ParameterError(f"structures: {path} names its segments; pass a dict number -> name, or nothing.")
    layers = {name: [Layer(path, value) for value in values] for name, values in names_of(path).items()}
    if given is not None:
        return [(name, Layer(path, value)) for value, name in given.items()]
    return _known(path, layers, of_file=False)


def names_in(source: object) -> dict[int, str]:
    """Value -> structure, as a labelmap's own header says; unknown names are left out, and logged.

    Raises
    ------
    ParameterError
        When there are none.
    """
    labels = read_header(Path(source)).labels if isinstance(source, (str, os.PathLike)) else {}
    if not labels:
        raise ParameterError(
            "structures: the labelmap carries no names; pass a dict value -> name, or a label set such as "
            '"totalsegmentator_v2".'
        )
    found: dict[int, str] = {}
    for name, values in _known(source, {name: list(values) for name, values in labels.items()}, of_file=False):
        found.setdefault(int(str(values)), name)
    return found


def _known(source: object, named: Mapping[str, Sequence[object]], *, of_file: bool) -> list[tuple[str, object]]:
    used = recognise(named)
    found: dict[str, object] = {}
    left_out = []
    for name, masks in named.items():
        try:
            structure = structures.meaning_in_dataset(name, used, of_file=of_file).name
        except UnknownStructureError as error:
            left_out.append(str(error))
            continue
        if len(masks) > 1 or structure in found:
            left_out.append(f"{name!r} is a second mask of {structure}")
        found.setdefault(structure, masks[0])
    if left_out:
        _log.warning("labelmap: left out: %s", "; ".join(left_out))
    if not found:
        raise ParameterError(f"labelmap: nothing in {source} has the name of a known structure: {'; '.join(left_out)}.")
    return list(found.items())
