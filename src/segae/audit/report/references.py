"""The reference's masks of a case, for the pictures: read, or drawn again, when the first mask asks for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segae.audit.results import MaskRow
from segae.engine import Engine
from segae.errors import SegaeError
from segae.frame import Volume
from segae.reference.builtin import BuiltInReference
from segae.reference.given import on_grid_of

Bool = npt.NDArray[np.bool_]


class ReferenceMasks:
    """The reference's masks of one case, whose CT is at hand."""

    def __init__(self, engine: Engine, ct: Volume) -> None:
        self._engine, self._ct = engine, ct
        self._built_in: BuiltInReference | None = None

    def of(self, row: MaskRow) -> Bool | None:
        """The mask [z, y, x] with which a row was compared; None where there was none, or it cannot be had any more."""
        if row.reference_source == "built-in":
            if self._built_in is None:
                self._built_in = self._engine.built_in_reference(self._ct, "built-in")
                if self._built_in is not None:
                    self._built_in.whole()
            return None if self._built_in is None else self._built_in.on_image_grid(row.structure)
        if not row.reference_mask:
            return None
        try:
            volume = on_grid_of(self._ct, row.reference_mask, resample=True)
        except (SegaeError, OSError):
            return None
        return np.isin(volume.array, row.reference_labels or (1,))
