"""`expect`: the masks that the network in the package expects in a scan, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.reference.builtin import BuiltInReference
from segae.reference.network import built_in_network
from segae.threads import available_threads
from segae.volume import Geometry, load


@dataclass(frozen=True)
class Expected:
    """What the built-in reference makes of a scan. For comparison with masks; it is no label to train on.

    Attributes
    ----------
    labelmap : uint8, axes as given
        Ids of `segae.structures`; 0 for none of the structures that the network may speak for.
    volume_ml : dict
        Structure that was found -> its volume.
    reliability : dict
        The same -> Dice that the network reaches for it on held-out scans.
    unsure : str
        Why this scan is not one that the network knows well, as a sentence; "" for a usual one.
    """

    labelmap: npt.NDArray[np.uint8]
    volume_ml: dict[str, float]
    reliability: dict[str, float]
    unsure: str


def expect(
    image: object,
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    device: str = "auto",
    threads: int | None = None,
) -> Expected:
    """Segment a scan into the structures that the network in the package knows well, at 2 mm.

    Parameters
    ----------
    image, affine, spacing, axes
        As in `segae.score`; in host memory.
    device : str
        As for `segae.Engine`.
    threads : int, optional
        Default: all CPUs that the process may use.

    Raises
    ------
    VolumeError, DeviceError, ModelFileError
    """
    ct = load(image, "image", Geometry(affine, spacing, axes))
    reference = BuiltInReference(ct, built_in_network(device), threads or available_threads())
    reference.whole()
    labelmap = np.zeros(ct.array.shape, np.uint8)
    volume_ml, reliability = {}, {}
    for name in reference.names:
        mask = reference.on_image_grid(name)
        if mask.any():
            labelmap[mask] = structures.get(name).id
            volume_ml[name] = float(np.count_nonzero(mask)) * ct.voxel_ml
            reliability[name] = reference.reliability(name)
    return Expected(np.ascontiguousarray(ct.in_source_order(labelmap)), volume_ml, reliability, reference.unsure)
