"""`score`, `assess` and `assess_labels` without an engine at hand: one is opened on the first call and kept."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy.typing as npt

from segae.assessment import Assessment, Assessments
from segae.engine import Engine
from segae.session import find_model

_MOST_ENGINES = 4
_engines: OrderedDict[tuple[str, int, int, str], Engine] = OrderedDict()
_lock = threading.Lock()


def _engine(model: str | os.PathLike[str], device: str) -> Engine:
    """Open an engine, or take the one that an earlier call opened: loading a model costs more than judging a mask.

    A file is told by its absolute path, time and size, so that neither another working directory nor a file that was
    written anew is answered by an old model. Calls that come at once open one engine.
    """
    if not isinstance(device, str):
        return Engine(model, device)  # which says what a device is
    path = find_model(model)
    state = path.stat()
    key = (str(path), state.st_mtime_ns, state.st_size, device)
    with _lock:
        if key not in _engines:
            while len(_engines) >= _MOST_ENGINES:
                _engines.popitem(last=False)
            _engines[key] = Engine(model, device)
        _engines.move_to_end(key)
        return _engines[key]


def _after_fork() -> None:
    """A child takes a fresh lock: the parent's may have been held by a thread that the child does not have."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
    """Predict the 3D Dice of a mask.

    Parameters
    ----------
    image : path, os.PathLike, image or array
        CT in HU, three axes. Images of nibabel, SimpleITK, ITK and TorchIO bring their grid; arrays are numpy's or any
        with ``__dlpack__`` (torch, cupy, jax) or ``__array__`` (zarr, dask, h5py). An array's own ``affine`` is used.
    mask : same kinds
        On the image's grid; 0 and 1, or bool. Other values need `label`.
    structure : str
        What the mask shows: any name or alias in `segae.structures`.
    affine : array [4, 4], optional
        Says that bare arrays are [x, y, z], and maps their index to RAS mm.
    spacing : three numbers, optional
        Voxel size in mm of bare arrays, in the order of their axes; they are then LPS.
    axes : "zyx" or "xyz"
        Order of the axes of bare arrays without affine.
    label : int, optional
        Which value of an integer mask to look at.
    model : "default" or path
        The model in the package, or an ONNX file with segae's metadata. It stays loaded for the next call.
    device : str
        "auto" (a GPU if one can be had, else the CPU), "cpu", "cuda" or "cuda:N".

    Returns
    -------
    float
        In [0, 1]; nan when the mask is empty.

    Raises
    ------
    VolumeError, GridMismatchError, UnknownStructureError, ParameterError, DeviceError, ModelFileError

    Warns
    -----
    NotCTWarning
        When the image's values are not those of CT in HU: the score means nothing then.
    OrientationWarning
        When a file does not say which way its axes run.
    """
    engine = _engine(model, device)
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

    Parameters
    ----------
    image, mask, structure, affine, spacing, axes, label, model, device
        As in `score`.
    error_map : bool
        Add to every slice the mask that the model expects.
    reference, reference_label, reference_reliability, resample_reference
        A second opinion, as in `Engine.assess`.

    Raises
    ------
    VolumeError, GridMismatchError, UnknownStructureError, ParameterError, DeviceError, ModelFileError
    """
    engine = _engine(model, device)
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
    structures: Mapping[int, str] | str | None = None,
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

    Parameters
    ----------
    image, affine, spacing, axes, error_map, model, device
        As in `assess`.
    labelmap : same kinds as `image`
        One integer a structure, 0 for none.
    structures : dict or str
        Value -> name, or "totalsegmentator_v1", "totalsegmentator_v2" or "dap".
    reference, reference_names, reference_reliability, resample_reference
        A second opinion, as in `Engine.assess_labels`.

    Raises
    ------
    VolumeError, GridMismatchError, UnknownStructureError, ParameterError, DeviceError, ModelFileError
    """
    engine = _engine(model, device)
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
