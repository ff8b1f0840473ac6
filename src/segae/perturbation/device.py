"""Masks on a GPU: lent through DLPack, worked on where they lie, answered with an array of the same library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.errors import DeviceError, VolumeError
from segae.perturbation.scene import Patch
from segae.volume import Volume

_CUDA = 2  # kDLCUDA of DLPack
_DEFAULT_STREAM = 1  # DLPack's number for the legacy default stream, whose own handle is 0
_DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class _Library:
    """What must be asked of an array library, since DLPack does not say it."""

    stream: Callable[[Any], int]  # (array) -> handle of the stream that the caller's work goes to
    empty_mask: Callable[[Any], Any]  # (array) -> zeros of its shape on its device and that stream, uint8


def _torch_mask(like: Any) -> Any:
    torch = sys.modules["torch"]
    return torch.zeros(tuple(like.shape), dtype=torch.uint8, device=like.device)


def _cupy_mask(like: Any) -> Any:
    with like.device:
        return sys.modules["cupy"].zeros(like.shape, dtype=np.uint8)


_LIBRARIES = {
    "torch": _Library(lambda like: sys.modules["torch"].cuda.current_stream(like.device).cuda_stream, _torch_mask),
    "cupy": _Library(lambda _like: sys.modules["cupy"].cuda.get_current_stream().ptr, _cupy_mask),
}


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
    places = {name: _place(volume) for name, volume in given.items()}
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


def _place(volume: object) -> int | None:
    """Number of the CUDA device that an array lies on; None for what the CPU reads, or fails to read."""
    if not hasattr(volume, "__dlpack_device__"):
        return None
    kind, number = volume.__dlpack_device__()
    return int(number) if int(kind) == _CUDA else None


def _borrow(given: Mapping[str, Any]) -> OnDevice:
    if not _core.built_with_cuda():
        raise DeviceError(
            "device: segae was built without CUDA: rebuild with SEGAE_CUDA=ON and nvcc on PATH "
            "(SEGAE_CUDA=ON pip install --no-binary segae segae), or pass mask.cpu()."
        )
    mask = given["mask"]
    stream = _library(mask).stream(mask) or _DEFAULT_STREAM
    arrays = {}
    for name, volume in given.items():
        try:
            arrays[name] = _core.take_dlpack(volume.__dlpack__(stream=stream), stream)
        except (TypeError, ValueError, BufferError, RuntimeError) as error:
            raise VolumeError(f"{name}: cannot be read through DLPack: {error}.") from error
    return OnDevice(arrays, mask, stream)


def _library(array: object) -> _Library:
    name = type(array).__module__.partition(".")[0]
    if name not in _LIBRARIES:
        raise DeviceError(f"mask: on CUDA, expected an array of {' or '.join(_LIBRARIES)}, got one of {name!r}.")
    return _LIBRARIES[name]
