"""`score`, `assess` and `assess_labels` without an engine at hand: one is opened on the first call and kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy.typing as npt

from segae.assessment import Assessment, Assessments
from segae.engine import Engine


@lru_cache(maxsize=4)
def _engine(model: str, device: str) -> Engine:
    """Engines that the functions below opened: loading a model for every mask would cost more than the mask."""
    return Engine(model, device)


def score(
    image: object,
    mask: object,
    structure: str,
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    label: int | None = None,
    model: str | os.PathLike[str] = "default",
    device: str = "auto",
) -> float:
    """Predict the 3D Dice of a mask, in [0, 1]; nan when it is empty.

    See `Engine.score` for the parameters, and `Engine` for `model` and `device`; the engine is kept for the next call.
    """
    engine = _engine(os.fspath(model), device)
    return engine.score(image, mask, structure, affine=affine, spacing=spacing, axes=axes, label=label)


def assess(
    image: object,
    mask: object,
    structure: str,
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    label: int | None = None,
    error_map: bool = False,
    reference: object | None = None,
    reference_label: int | None = None,
    reference_reliability: float | None = None,
    resample_reference: bool = False,
    model: str | os.PathLike[str] = "default",
    device: str = "auto",
) -> Assessment:
    """Predict the quality of a mask slice by slice, and check its geometry.

    See `Engine.assess` for the parameters, and `Engine` for `model` and `device`; the engine is kept for the next call.
    """
    engine = _engine(os.fspath(model), device)
    return engine.assess(
        image,
        mask,
        structure,
        affine=affine,
        spacing=spacing,
        axes=axes,
        label=label,
        error_map=error_map,
        reference=reference,
        reference_label=reference_label,
        reference_reliability=reference_reliability,
        resample_reference=resample_reference,
    )


def assess_labels(
    image: object,
    labelmap: object,
    structures: Mapping[int, str] | str,
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    error_map: bool = False,
    reference: object | None = "auto",
    reference_names: Mapping[int, str] | str | None = None,
    reference_reliability: float | Mapping[str, float] | None = None,
    resample_reference: bool = False,
    model: str | os.PathLike[str] = "default",
    device: str = "auto",
) -> Assessments:
    """Assess every structure of a labelmap in one pass.

    See `Engine.assess_labels` for the parameters, and `Engine` for `model` and `device`; the engine is kept for the
    next call.
    """
    engine = _engine(os.fspath(model), device)
    return engine.assess_labels(
        image,
        labelmap,
        structures,
        affine=affine,
        spacing=spacing,
        axes=axes,
        error_map=error_map,
        reference=reference,
        reference_names=reference_names,
        reference_reliability=reference_reliability,
        resample_reference=resample_reference,
    )
