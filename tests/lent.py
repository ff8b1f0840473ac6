"""Arrays for tests of the GPU's path on machines without one."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core

# Whether the kernels' bodies run on the host (tests/cuda_emulation).
EMULATED = _core.built_with_cuda() and _core.cuda_devices() == ["emulated"]


class Lent:
    """A numpy array that says it lies on a CUDA device, for code that only passes it on."""

    def __init__(self, array: npt.NDArray[Any], number: int = 0) -> None:
        self.array, self.number = array, number
        self.streams: list[int | None] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __getitem__(self, key: Any) -> Lent:
        return Lent(self.array[key], self.number)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.number

    def __dlpack__(self, *, stream: int | None = None) -> object:
        self.streams.append(stream)
        capsule = np.asarray(self.array).__dlpack__()
        pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
        pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        # DLTensor begins with the data pointer; the device's type and number follow.
        address = pointer_of(capsule, b"dltensor")
        assert address is not None
        device_of = (ctypes.c_int32 * 2).from_address(address + 8)
        device_of[0], device_of[1] = 2, self.number
        return capsule
