"""What the installed NVIDIA driver says of itself: how many devices it shows, and the newest CUDA that it knows."""

from __future__ import annotations

import ctypes
import sys
from typing import Any


def cuda_driver_devices() -> int:
    """Number of CUDA devices that the installed driver shows; 0 without a driver.

    Asked of the driver itself, because ONNX Runtime prints errors when its CUDA provider is tried without one.
    """
    driver = _cuda_driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def cuda_driver_version() -> tuple[int, int] | None:
    """Newest CUDA that the installed driver knows; None without a driver."""
    driver = _cuda_driver()
    version = ctypes.c_int(0)
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _cuda_driver() -> Any:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
