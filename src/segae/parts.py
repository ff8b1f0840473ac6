"""Several structures of one labelmap, some of them the union of several values, assessed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from segae.assessment import Assessment
from segae.errors import SegaeError
from segae.masks import read_labelmap
from segae.volume import Volume

if TYPE_CHECKING:
    from segae.engine import Engine


@dataclass(frozen=True)
class Part:
    """A structure and the values of a labelmap that make it up."""

    structure: str
    values: tuple[int, ...]


@dataclass
class Found:
    """What became of the parts.

    Attributes
    ----------
    entries : dict
        Part -> its assessment, the error in its place, or None when no voxel has its values.
    unnamed : dict
        Value that occurs and belongs to no part -> number of voxels.
    """

    entries: dict[Part, Assessment | SegaeError | None] = field(default_factory=dict)
    unnamed: dict[int, int] = field(default_factory=dict)


def assess_parts(
    engine: Engine, image: Volume, labelmap: Volume, parts: Sequence[Part], reference: object | None = "auto"
) -> Found:
    """Assess parts: in one pass those that are a value of their own, and by a mask each those that are several.

    A structure that cannot be assessed does not take the others with it. `reference` is as in `Engine.assess_labels`;
    one that is read or drawn already is shared by all parts.
    """
    if isinstance(reference, str):
        reference = engine.built_in_reference(image, reference)
    singles: dict[int, Part] = {}
    unions: list[Part] = []
    for part in dict.fromkeys(parts):
        taken = any(part.structure == other.structure for other in singles.values())
        if len(part.values) == 1 and part.values[0] not in singles and not taken:
            singles[part.values[0]] = part
        else:
            unions.append(part)
    found = _assess_singles(engine, image, labelmap, singles, reference)
    if unions:
        try:
            labelmap, _ = read_labelmap(labelmap, "labelmap", 1)
        except SegaeError as error:
            found.entries.update(dict.fromkeys(unions, error))
            return found
    for part in unions:
        union = replace(labelmap, array=np.isin(labelmap.array, part.values))
        (entry,) = engine.assess_masks(image, [(part.structure, union)], on_error="return", reference=reference)
        absent = isinstance(entry, Assessment) and entry.bbox is None
        found.entries[part] = None if absent else entry
        for value in part.values:
            found.unnamed.pop(value, None)
    return found


def _assess_singles(
    engine: Engine, image: Volume, labelmap: Volume, singles: dict[int, Part], reference: object | None
) -> Found:
    try:
        named = {value: part.structure for value, part in singles.items()}
        assessed = engine.assess_labels(image, labelmap, named, reference=reference)
    except SegaeError as error:
        if len(singles) <= 1:
            return Found(dict.fromkeys(singles.values(), error))
        found = Found()
        for value, part in singles.items():  # one may be to blame, such as one that the model does not know
            alone = _assess_singles(engine, image, labelmap, {value: part}, reference)
            found.entries |= alone.entries
            found.unnamed |= alone.unnamed
        found.unnamed = {value: voxels for value, voxels in found.unnamed.items() if value not in singles}
        return found
    return Found({part: assessed.get(part.structure) for part in singles.values()}, dict(assessed.unnamed))
