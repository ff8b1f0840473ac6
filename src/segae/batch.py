"""A batch as `Engine.score_batch` takes it: arrays [b, z, y, x] or lists, taken apart; scores in the caller's type."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.device import cuda_place, lend_batch, library_of, plain
from segae.errors import GridMismatchError, ParameterError, VolumeError
from segae.foreign import Carried, affine_of
from segae.structures import Structure
from segae.volume import Geometry, Given, Volume, pair, read

Spacing = Sequence[float] | Sequence[Sequence[float]] | npt.NDArray[Any]
Affines = npt.ArrayLike | Sequence[npt.ArrayLike]


def load_batch(
    images: object, masks: object, affine: Affines | None, spacing: Spacing | None, axes: str
) -> list[tuple[Volume, Volume]]:
    """Take a batch apart into pairs of image and mask; an image that all masks share is read once.

    Raises
    ------
    VolumeError, GridMismatchError
        That name the argument and the place in it.
    """
    many_masks = _split(masks, "masks")
    if many_masks is None:
        raise VolumeError(
            "masks: expected a batch, [b, z, y, x] or a list of volumes, got one volume. "
            "Use score for it, or pass masks[None] or [mask]."
        )
    n = len(many_masks)
    many_images = _split(images, "images")
    shared = many_images is None or (len(many_images) == 1 and n != 1)
    if many_images is None:
        many_images = [images]
    if not shared and len(many_images) != n:
        raise GridMismatchError(
            f"images, masks: {len(many_images)} images for {n} masks. "
            f"Pass one image a mask, or a single one that all masks lie on."
        )
    steps, matrices = _spacings(spacing, n), _affines(affine, n)
    once = read(many_images[0], "images", scaled=False) if shared else None
    pairs: list[tuple[Volume, Volume]] = []
    for i, mask in enumerate(many_masks):
        name = "images" if once else f"images[{i}]"
        image = once or read(many_images[i], name, scaled=False)
        given = read(mask, f"masks[{i}]", scaled=True)
        geometry = Geometry(matrices[i], steps[i], axes)
        pairs.append(pair(image, given, geometry, image_argument=name, mask_argument=f"masks[{i}]"))
    return _one_image(pairs, once)


def _one_image(pairs: list[tuple[Volume, Volume]], shared: Given | None) -> list[tuple[Volume, Volume]]:
    """Let masks on a shared image share its `Volume` too, where they agree on its geometry."""
    if shared is None or not pairs:
        return pairs
    first = pairs[0][0]
    return [(first if _same_place(image, first) else image, mask) for image, mask in pairs]


def _same_place(a: Volume, b: Volume) -> bool:
    return (a.spacing_mm, a.source_axes, a.flipped) == (b.spacing_mm, b.source_axes, b.flipped)


def _split(source: object, argument: str) -> list[Any] | None:
    """Volumes of a batch, each with the affine that it, or the batch, carries; None for what is a single volume."""
    if isinstance(source, (str, os.PathLike)) or _is_image(source):
        return None
    if isinstance(source, (list, tuple)):
        return [_one_of_list(volume, f"{argument}[{i}]") for i, volume in enumerate(source)]
    shape = getattr(source, "shape", None)
    if shape is None:
        raise VolumeError(
            f"{argument}: expected an array [b, z, y, x] or a list of volumes, got {type(source).__name__}."
        )
    if len(shape) == 3:
        return None
    if len(shape) == 4 or (len(shape) == 5 and shape[1] == 1):
        batch: Any = _detached(plain(source))
        if cuda_place(batch) is not None:
            volumes: list[Any] = [*lend_batch(batch if len(shape) == 4 else batch[:, 0], argument)]
        else:
            volumes = [batch[i] if len(shape) == 4 else batch[i, 0] for i in range(shape[0])]
        affines = affine_of(source, argument, batch=len(volumes))
        return volumes if affines is None else [Carried(*both) for both in zip(volumes, affines, strict=True)]
    raise VolumeError(
        f"{argument}: expected [b, z, y, x], or [b, 1, z, y, x] with one channel, got shape {tuple(shape)}. "
        f"Several channels: {argument}.argmax(1) makes a labelmap of a prediction; pass structures as a dict then."
    )


def _one_of_list(volume: Any, argument: str) -> Any:
    """Data sets of training loops hold [1, z, y, x], with or without an affine."""
    shape: tuple[int, ...] = getattr(volume, "shape", ())
    if len(shape) not in (3, 4) or _is_image(volume):
        return volume
    affine = affine_of(volume, argument)
    array = _detached(plain(volume))
    array = array[0] if len(shape) == 4 and shape[0] == 1 else array
    return array if affine is None else Carried(array, affine)


def _is_image(source: object) -> bool:
    """One volume of nibabel, SimpleITK, ITK or TorchIO, no array of several."""
    return any(hasattr(source, name) for name in ("dataobj", "GetSpacing", "spatial_shape"))


def _detached(array: Any) -> Any:
    """Torch lends no tensor that wants a gradient, and a score has none."""
    return array.detach() if getattr(array, "requires_grad", False) else array


def _spacings(spacing: Spacing | None, n: int) -> list[Sequence[float] | None]:
    if spacing is None:
        return [None] * n
    try:
        steps = np.asarray(spacing, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VolumeError(f"spacing: expected three numbers in mm, or three a mask, got {spacing!r}.") from error
    if steps.shape == (3,):
        return [steps.tolist()] * n
    triples = isinstance(spacing, (list, tuple)) and all(isinstance(row, (list, tuple)) for row in spacing)
    if steps.shape == (3, 3) and n == 3 and not triples and not np.array_equal(steps, steps.T):
        raise VolumeError(
            "spacing: of three masks, an array of shape (3, 3) may hold a triple in each row or, as data loaders "
            "collate them, in each column. Pass one triple where all masks share it, or a list of "
            "three tuples, one a mask."
        )
    if steps.shape == (n, 3):
        rows: list[Sequence[float] | None] = steps.tolist()
        return rows
    hint = " It has one row an axis, as data loaders collate: numpy.transpose it." if steps.shape == (3, n) else ""
    raise VolumeError(
        f"spacing: expected shape (3,) or ({n}, 3), one triple in mm a mask, got {steps.shape} for {n} masks.{hint}"
    )


def _affines(affine: Affines | None, n: int) -> list[npt.NDArray[np.float64] | None]:
    if affine is None:
        return [None] * n
    try:
        matrices = np.asarray(affine, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VolumeError(f"affine: expected a 4 x 4 matrix of numbers, or one a mask, got {affine!r}.") from error
    if matrices.shape in ((4, 4), (1, 4, 4), (n, 4, 4)):
        return list(np.broadcast_to(matrices, (n, 4, 4)))
    raise VolumeError(f"affine: expected shape (4, 4), or ({n}, 4, 4) for {n} masks, got {matrices.shape}.")


def name_masks(names: str | Sequence[str], n: int) -> list[Structure]:
    """Give every mask of a batch its structure.

    Raises
    ------
    ParameterError, UnknownStructureError
    """
    if isinstance(names, str):
        return [structures.get(names)] * n
    if isinstance(names, Mapping) or not hasattr(names, "__len__") or not all(isinstance(name, str) for name in names):
        raise ParameterError(
            f"structures: expected a name, one name a mask, or a dict value -> name for labelmaps, got {names!r}."
        )
    if len(names) != n:
        raise ParameterError(f"structures: {len(names)} names for {n} masks. Pass one name, or one a mask.")
    return [structures.get(name) for name in names]


def in_type_of(scores: npt.NDArray[Any], batch: object) -> Any:
    """Numbers as an array of the batch's own library, on the batch's device; numpy where there is no such library."""
    like: Any = batch[0] if isinstance(batch, (list, tuple)) and batch else batch
    if isinstance(like, np.ndarray) or not hasattr(like, "__dlpack__"):
        return scores
    library = library_of(like)
    if library is not None:
        return library.from_host(like, scores)
    namespace = like.__array_namespace__() if hasattr(like, "__array_namespace__") else _module_of(like)
    made = namespace.from_dlpack(scores)
    return made.to_device(like.device) if cuda_place(like) is not None else made


def _module_of(array: object) -> Any:
    return sys.modules[type(array).__module__.partition(".")[0]]
