"""Predict the quality of CT segmentation masks without ground truth.

>>> import segae
>>> segae.score("ct.nii.gz", "liver.nii.gz", "liver")  # doctest: +SKIP
0.93

Nothing heavy is loaded before it is used: `import segae` costs a few milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segae.errors import (
    AuditError,
    DeviceError,
    GridMismatchError,
    ModelFileError,
    NotCTWarning,
    OrientationWarning,
    ParameterError,
    SegaeError,
    UnknownStructureError,
    UnreachableError,
    VolumeError,
)

if TYPE_CHECKING:
    from segae import structures
    from segae._core import __version__
    from segae.agreement import Agreement, measure
    from segae.api import assess, assess_labels, score
    from segae.assessment import Assessment, Assessments, ExpectedMask, Flag, SliceScore
    from segae.engine import Engine
    from segae.perturbation import Perturbed, perturb, perturb_many
    from segae.reference.comparison import ReferenceComparison
    from segae.reference.expect import Expected, expect

__all__ = [
    "Agreement",
    "Assessment",
    "Assessments",
    "AuditError",
    "DeviceError",
    "Engine",
    "Expected",
    "ExpectedMask",
    "Flag",
    "GridMismatchError",
    "ModelFileError",
    "NotCTWarning",
    "OrientationWarning",
    "ParameterError",
    "Perturbed",
    "ReferenceComparison",
    "SegaeError",
    "SliceScore",
    "UnknownStructureError",
    "UnreachableError",
    "VolumeError",
    "__version__",
    "assess",
    "assess_labels",
    "expect",
    "measure",
    "perturb",
    "perturb_many",
    "score",
    "structures",
]

# Where each name that is loaded on first use lives; the imports above tell type checkers the same.
_HOMES = {
    "_core": ("__version__",),
    "agreement": ("Agreement", "measure"),
    "api": ("assess", "assess_labels", "score"),
    "assessment": ("Assessment", "Assessments", "ExpectedMask", "Flag", "SliceScore"),
    "engine": ("Engine",),
    "perturbation": ("Perturbed", "perturb", "perturb_many"),
    "reference.comparison": ("ReferenceComparison",),
    "reference.expect": ("Expected", "expect"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "structures":
        return import_module("segae.structures")
    if name not in _HOME:
        raise AttributeError(f"module 'segae' has no attribute {name!r}")
    value = getattr(import_module(f"segae.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
