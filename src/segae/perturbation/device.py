"""Masks on a GPU: lent through DLPack, worked on where they lie, answered with an array of the same library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.device import LIBRARIES, Library, cuda_place, lend, library_of, stream_of
from segae.errors import DeviceError
from segae.perturbation.scene import Patch
from segae.volume import Volume

_DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class OnDevice:
    """The volumes of one call on one GPU, and the stream that the work goes to."""

    arrays: Mapping[str, _core.DeviceArray]
    mask: Any
    stream: int

    def stand_in(self, name: str) -> npt.NDArray[Any] | None:
        """Make an array of a volume's shape and type without its memory: enough to work out its orientation."""
        if name not in self.arrays:
            return None
        array = self.arrays[name]
        return np.broadcast_to(np.zeros((), dtype=array.dtype), array.shape)

    def seen_by(self, name: str, volume: Volume) -> _core.DeviceArray:
        """View a volume in LPS [z, y, x], as its stand-in was turned."""
        return self.arrays[name].transpose(volume.source_axes).flip(volume.flipped)

    def whole(self, grid: Volume, patch: Patch) -> Any:
        """Put a result into an empty volume of the caller's library, in the axes of the mask as given."""
        result = _library(self.mask).empty_mask(self.mask)
        target = _core.take_dlpack(result.__dlpack__(stream=self.stream), self.stream)
        _core.paste(target.transpose(grid.source_axes).flip(grid.flipped), patch.box, patch.voxels)
        return result


def open_device(device: str, volumes: Mapping[str, object | None]) -> OnDevice | None:
    """Borrow the volumes that lie on a GPU; None when the work is the CPU's.

    Parameters
    ----------
    device : "auto", "cpu" or "cuda"
        As asked for; "auto" is where the mask lies.
    volumes
        Name of the argument -> what was given; "mask" first.

    Raises
    ------
    DeviceError
        When the volumes lie elsewhere or apart, or segae was built without CUDA. Nothing is copied in silence.
    """
    if device not in _DEVICES:
        raise DeviceError(f"device: expected one of {_DEVICES}, got {device!r}.")
    given = {name: volume for name, volume in volumes.items() if volume is not None}
    places = {name: cuda_place(volume) for name, volume in given.items()}
    if device == "auto":
        device = "cpu" if places["mask"] is None else "cuda"
    for name, place in places.items():
        if device == "cpu" and place is not None:
            raise DeviceError(
                f"{name}: the array lies on CUDA device {place}, the work is the CPU's. Pass {name}.cpu(), "
                f"or the mask on that device."
            )
        if device == "cuda" and place is None:
            raise DeviceError(
                f"{name}: it lies in host memory, and nothing is copied to the GPU in silence. "
                f"Pass a torch or cupy array on the mask's device, such as torch.as_tensor({name}).cuda()."
            )
        if device == "cuda" and place != places["mask"]:
            raise DeviceError(f"{name}: on CUDA device {place}, but the mask on {places['mask']}. Bring them together.")
    return _borrow(given) if device == "cuda" else None


def _borrow(given: Mapping[str, Any]) -> OnDevice:
    mask = given["mask"]
    stream = stream_of(mask)
    arrays = {name: lend(volume, name, stream) for name, volume in given.items()}
    _library(mask)
    return OnDevice(arrays, mask, stream)


def _library(array: object) -> Library:
    library = library_of(array)
    if library is None:
        name = type(array).__module__.partition(".")[0]
        raise DeviceError(f"mask: on CUDA, expected an array of {' or '.join(LIBRARIES)}, got one of {name!r}.")
    return library
