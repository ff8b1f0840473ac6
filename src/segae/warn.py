"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from segae.errors import OrientationWarning
from segae.frame import Volume


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the first caller outside this package, so that Python's "once a line" means the user's line."""
    depth, frame = 2, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "segae":
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)


def warn_assumed(volumes: Iterable[Volume]) -> None:
    """Say once of volumes, where no flag can, that an orientation was assumed."""
    assumed = next((volume.assumed for volume in volumes if volume.assumed), "")
    if assumed:
        warn_user(assumed, OrientationWarning)
