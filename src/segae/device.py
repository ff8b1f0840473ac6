"""Arrays on a GPU: lent through DLPack, used where they lie, on the stream that their library works on."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.errors import DeviceError, VolumeError


class Array(Protocol):
    """An array of any library that speaks DLPack: torch, cupy, jax."""

    def __dlpack__(self) -> Any:
        """See the array API standard."""


ArrayT = TypeVar("ArrayT", bound=Array)
T = TypeVar("T")

_CUDA = 2  # kDLCUDA of DLPack
_DEFAULT_STREAM = 1  # DLPack's number for the legacy default stream, whose own handle is 0


@dataclass(frozen=True)
class Library:
    """What must be asked of an array library, since DLPack does not say it. All work happens on an array's device."""

    stream: Callable[[Any], int]  # (array) -> handle of the stream that the caller's work goes to
    empty_mask: Callable[[Any], Any]  # (array) -> zeros of its shape on that stream, uint8
    from_host: Callable[[Any, npt.NDArray[Any]], Any]  # (array, values) -> the values beside the array


def _torch_mask(like: Any) -> Any:
    torch = sys.modules["torch"]
    return torch.zeros(tuple(like.shape), dtype=torch.uint8, device=like.device)


def _cupy_mask(like: Any) -> Any:
    with like.device:
        return sys.modules["cupy"].zeros(like.shape, dtype=np.uint8)


def _cupy_from_host(like: Any, values: npt.NDArray[Any]) -> Any:
    with like.device:
        return sys.modules["cupy"].asarray(values)


LIBRARIES = {
    "torch": Library(
        lambda like: sys.modules["torch"].cuda.current_stream(like.device).cuda_stream,
        _torch_mask,
        lambda like, values: sys.modules["torch"].from_numpy(values).to(like.device),
    ),
    "cupy": Library(lambda _like: sys.modules["cupy"].cuda.get_current_stream().ptr, _cupy_mask, _cupy_from_host),
}


def library_of(array: object) -> Library | None:
    """The entry of an array's library, or of the one that its class derives from; None for one that is not known."""
    roots = (base.__module__.partition(".")[0] for base in type(array).__mro__)
    return next((LIBRARIES[root] for root in roots if root in LIBRARIES), None)


def plain(array: Any) -> Any:
    """See a tensor of a class derived from torch's (MONAI's MetaTensor, torchvision's Mask) as a plain one."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(array, torch.Tensor) or type(array) is torch.Tensor:
        return array
    return array.as_subclass(torch.Tensor)


def cuda_place(volume: object) -> int | None:
    """Number of the CUDA device that an array lies on; None for what the CPU reads, or fails to read."""
    if not hasattr(volume, "__dlpack_device__"):
        return None
    try:
        kind, number = volume.__dlpack_device__()
    except (TypeError, ValueError, RuntimeError, BufferError):  # such as torch's device "meta"
        return None
    return int(number) if int(kind) == _CUDA else None


def stream_of(array: object) -> int:
    """Stream that an array's library works on now, as DLPack numbers it.

    Libraries that are not known are asked to have the array ready on the legacy default stream.
    """
    library = library_of(array)
    return (library.stream(array) if library else 0) or _DEFAULT_STREAM


def lend(array: Any, argument: str, stream: int) -> _core.DeviceArray:
    """Borrow an array of three axes on a CUDA device.

    Raises
    ------
    DeviceError
        When segae was built without CUDA.
    VolumeError
        When the array cannot be read.
    """
    return _lent(array, argument, stream, _core.take_dlpack)


def lend_batch(array: Any, argument: str) -> list[DeviceVolume]:
    """Borrow the volumes of an array [b, z, y, x] on a CUDA device, on the stream that its library works on.

    Raises
    ------
    DeviceError, VolumeError
        As for `lend`.
    """
    return [DeviceVolume(lent) for lent in _lent(array, argument, stream_of(array), _core.take_dlpack_batch)]


def _lent(array: Any, argument: str, stream: int, take: Callable[[object, int], T]) -> T:
    if not _core.built_with_cuda():
        raise DeviceError(
            f"{argument}: the array lies on a CUDA device, and this segae was built without CUDA: rebuild with "
            f"SEGAE_CUDA=ON and nvcc on PATH (SEGAE_CUDA=ON pip install --no-binary segae segae), "
            f"or pass {argument}.cpu()."
        )
    try:
        return take(array.__dlpack__(stream=stream), stream)
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise VolumeError(f"{argument}: cannot be read through DLPack: {error}.") from error


class DeviceVolume:
    """A lent array with as much of numpy's ways as volumes need. Indexing brings a piece to the host."""

    ndim = 3

    def __init__(self, lent: _core.DeviceArray) -> None:
        self.lent = lent

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extents."""
        return self.lent.shape

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.lent.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return np.dtype(self.lent.dtype)

    @property
    def device(self) -> str:
        """Where it lies: "cuda:N"."""
        return f"cuda:{self.lent.device[1]}"

    def turned(self, order: Sequence[int], flipped: Sequence[bool]) -> DeviceVolume:
        """See it along other axes, then flip them."""
        return DeviceVolume(self.lent.transpose(order).flip(flipped))

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Copy integer and slice indices of a piece to the host; waits for the stream."""
        keys = key if isinstance(key, tuple) else (key,)
        keys += (slice(None),) * (3 - len(keys))
        ranges = [
            range(extent)[k] if isinstance(k, slice) else range(int(k) % extent, int(k) % extent + 1)
            for k, extent in zip(keys, self.shape, strict=True)
        ]
        piece = _core.fetch(
            self.lent, [r.start if len(r) else 0 for r in ranges], [r.step for r in ranges], [len(r) for r in ranges]
        )
        return piece[tuple(slice(None) if isinstance(k, slice) else 0 for k in keys)]
