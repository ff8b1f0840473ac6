"""The table of kinds."""

from __future__ import annotations

from types import MappingProxyType

from segae.perturbation import boundary, geometry, neighbours, parts, rater

KINDS = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            boundary.ERODE,
            boundary.DILATE,
            boundary.OPEN,
            boundary.CLOSE,
            boundary.SMOOTH,
            geometry.SHIFT,
            geometry.ROTATE,
            geometry.SCALE,
            geometry.ELASTIC,
            boundary.JITTER,
            parts.TRUNCATE,
            parts.DROP_SLICES,
            parts.DROP_PART,
            parts.LEAK,
            parts.HOLES,
            parts.ISLANDS,
            geometry.STAIRCASE,
            geometry.INTERPOLATE,
            neighbours.MIRROR,
            neighbours.SWAP,
            neighbours.MERGE,
            neighbours.SPLIT,
            boundary.SLICEWISE,
            rater.RATER,
        )
    }
)
