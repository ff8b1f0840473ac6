"""A batch as `Engine.score_batch` takes it: arrays [b, z, y, x] or lists, taken apart; scores in the caller's type."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.device import cuda_place, library_of
from segae.errors import GridMismatchError, ParameterError, VolumeError
from segae.structures import Structure
from segae.volume import Given, Volume, pair, read

Spacing = Sequence[float] | Sequence[Sequence[float]] | npt.NDArray[Any]


def load_batch(images: object, masks: object, spacing: Spacing | None, axes: str) -> list[tuple[Volume, Volume]]:
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
    steps = _spacings(spacing, n)
    once = read(many_images[0], "images", scaled=False) if shared else None
    pairs: list[tuple[Volume, Volume]] = []
    for i, mask in enumerate(many_masks):
        name = "images" if once else f"images[{i}]"
        image = once or read(many_images[i], name, scaled=False)
        given = read(mask, f"masks[{i}]", scaled=True)
        pairs.append(pair(image, given, spacing=steps[i], axes=axes, image_argument=name, mask_argument=f"masks[{i}]"))
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
    """Volumes of a batch; None for what is a single volume."""
    if isinstance(source, (str, os.PathLike)) or hasattr(source, "dataobj"):
        return None
    if isinstance(source, (list, tuple)):
        return [_without_channel(_detached(volume)) for volume in source]
    shape = getattr(source, "shape", None)
    if shape is None:
        raise VolumeError(
            f"{argument}: expected an array [b, z, y, x] or a list of volumes, got {type(source).__name__}."
        )
    batch: Any = _detached(source)
    if len(shape) == 3:
        return None
    if len(shape) == 4:
        return [batch[i] for i in range(shape[0])]
    if len(shape) == 5 and shape[1] == 1:
        return [batch[i, 0] for i in range(shape[0])]
    raise VolumeError(
        f"{argument}: expected [b, z, y, x], or [b, 1, z, y, x] with one channel, got shape {tuple(shape)}. "
        f"Several channels: {argument}.argmax(1) makes a labelmap of a prediction; pass structures as a dict then."
    )


def _detached(array: Any) -> Any:
    """Torch lends no tensor that wants a gradient, and a score has none."""
    return array.detach() if getattr(array, "requires_grad", False) else array


def _without_channel(volume: Any) -> Any:
    """Data sets of training loops hold [1, z, y, x]."""
    shape: tuple[int, ...] = getattr(volume, "shape", ())
    has_channel = len(shape) == 4 and shape[0] == 1 and not hasattr(volume, "dataobj")
    return volume[0] if has_channel else volume


def _spacings(spacing: Spacing | None, n: int) -> list[Sequence[float] | None]:
    if spacing is None:
        return [None] * n
    try:
        steps = np.asarray(spacing, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VolumeError(f"spacing: expected three numbers in mm, or three a mask, got {spacing!r}.") from error
    if steps.shape == (3,):
        return [steps.tolist()] * n
    if steps.shape == (n, 3):
        rows: list[Sequence[float] | None] = steps.tolist()
        return rows
    raise VolumeError(
        f"spacing: expected shape (3,) or ({n}, 3), one triple in mm a mask, got {steps.shape} for {n} masks."
    )


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


def in_type_of(scores: npt.NDArray[np.float32], batch: object) -> Any:
    """Scores as an array of the batch's own library, on the batch's device; numpy where there is no such library."""
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
