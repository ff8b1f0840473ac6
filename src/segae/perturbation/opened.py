"""What `perturb` is given -> a scene: files and arrays read, in host memory or on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.batch import in_type_of
from segae.device import DeviceVolume
from segae.foreign import Carried, affine_of
from segae.masks import checked_label, label_of_mask, read_labelmap, read_mask, scan_labels
from segae.perturbation.damage import Outcome
from segae.perturbation.device import OnDevice, open_device
from segae.perturbation.scene import Scene, Whole
from segae.threads import thread_count
from segae.volume import Geometry, Volume, load, load_masks, load_pair
from segae.warn import warn_assumed


@dataclass(frozen=True)
class Opened:
    """What a call is about: the mask's volume, its scene in LPS [z, y, x], where arrays lie, and the mask as given."""

    grid: Volume
    scene: Scene
    lent: OnDevice | None
    given: object

    def whole(self, outcome: Outcome) -> Any:
        """Put the result's box into an empty volume in the axes of the mask as given."""
        if self.lent is not None:
            return self.lent.whole(self.grid, outcome.patch)
        grid = self.grid
        given = grid.in_source_order(grid.array)
        result = np.zeros_like(given, dtype=np.uint8)
        flips = tuple(slice(None, None, -1 if flip else 1) for flip in grid.flipped)
        box = outcome.patch.box
        place = tuple(slice(o, o + s) for o, s in zip(box.origin, box.shape, strict=True))
        result.transpose(grid.source_axes)[flips][place] = np.asarray(outcome.patch.voxels)
        return in_type_of(result, self.given)


def open_scene(
    mask: object,
    *,
    image: object | None = None,
    labelmap: object | None = None,
    structure: str | None = None,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    label: int | None = None,
    threads: int | None = None,
    device: str = "auto",
) -> Opened:
    """Read what `perturb` takes."""
    workers = thread_count(threads)
    geometry = Geometry(affine, spacing, axes)
    given = {"mask": mask, "image": image, "labelmap": labelmap}
    lent = open_device(device, given)
    if lent is not None:
        given = {name: _stand_in(lent, name, volume) for name, volume in given.items()}
    others: dict[str, Volume] = {}
    grid: Volume | None = None
    if given["image"] is not None:
        others["image"], grid = load_pair(given["image"], given["mask"], geometry)
    if given["labelmap"] is not None:
        labels, grid = load_masks(given["labelmap"], given["mask"], geometry, other_argument="labelmap")
        exact = lent is not None or labels.array.dtype.kind != "f"
        others["labelmap"] = labels if exact else read_labelmap(labels, "labelmap", workers)[0]
    grid = grid or load(given["mask"], "mask", geometry, scaled=True)
    warn_assumed([grid, *others.values()])
    grid, value = _labelled(grid, label, lent, workers)
    scan = others.get("image")

    def array(name: str, volume: Volume | None) -> Any:
        return volume if volume is None else volume.array if lent is None else lent.seen_by(name, volume)

    shape = grid.array.shape
    scene = Scene(
        mask=Whole(array("mask", grid), value),
        shape=(shape[0], shape[1], shape[2]),
        spacing_mm=grid.spacing_mm,
        threads=workers,
        image=array("image", scan),
        image_scale=(1.0, 0.0) if scan is None else (scan.slope, scan.intercept),
        labelmap=array("labelmap", others.get("labelmap")),
        structure=None if structure is None else structures.get(structure).name,
    )
    return Opened(grid, scene, lent, mask)


def _stand_in(lent: OnDevice, name: str, volume: object) -> object:
    array = lent.stand_in(name)
    affine = affine_of(volume, name)
    return array if array is None or affine is None else Carried(array, affine)


def _labelled(grid: Volume, label: int | None, lent: OnDevice | None, threads: int) -> tuple[Volume, int]:
    """The mask with integers in place of what is stored otherwise, and the structure's value."""
    if lent is not None and label is None:
        return grid, label_of_mask(scan_labels(DeviceVolume(lent.arrays["mask"]), "mask", threads), None, "mask")
    if label is not None and (lent is not None or grid.array.dtype.kind != "f"):
        return grid, checked_label(label)  # integers need no look
    grid, labels = read_mask(grid, "mask", threads)
    return grid, label_of_mask(labels, label, "mask")
