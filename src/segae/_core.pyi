"""The C++ core. Volumes are arrays [z, y, x] of any bool, integer or float dtype in native byte order, any strides."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

__version__: str
MAX_LABELS: int

_Array = npt.NDArray[Any]
_Int64 = npt.NDArray[np.int64]
_Float32 = npt.NDArray[np.float32]
_Vector = tuple[float, float, float] | Sequence[float]

class Channel:
    def __init__(
        self,
        *,
        is_mask: bool,
        offset: int = 0,
        low: float = 0.0,
        high: float = 1.0,
        gain: float = 1.0,
        bias: float = 0.0,
    ) -> None: ...

class SampleSpec:
    def __init__(
        self,
        *,
        axis: int,
        height: int,
        width: int,
        slope: float = 1.0,
        intercept: float = 0.0,
        fill_hu: float = -1024.0,
        stop_at_crop: bool = False,
        channels: Sequence[Channel],
    ) -> None: ...

_LabelStats = tuple[int, int, tuple[_Int64, _Int64, _Int64], list[list[int]], list[float], list[list[int]]]

class _Scan(TypedDict):
    labels: list[_LabelStats]
    fractional: int
    fractional_example: float
    non_finite: int

def built_with_cuda() -> bool: ...
def cuda_devices() -> list[str]: ...
def scan(volume: _Array, threads: int) -> _Scan: ...
def plane_boxes(
    volume: _Array,
    axis: int,
    indices: npt.ArrayLike,
    labels: npt.ArrayLike,
    windows: npt.ArrayLike,
    threads: int,
) -> _Int64: ...
def sample(
    image: _Array,
    mask: _Array | None,
    spec: SampleSpec,
    indices: npt.ArrayLike,
    boxes: npt.ArrayLike,
    labels: npt.ArrayLike,
    threads: int,
) -> _Float32: ...
def overlap(given: _Array, truth: _Array, given_label: int, truth_label: int, axis: int, threads: int) -> _Int64: ...
def surface_counts(
    given: _Array,
    truth: _Array,
    given_label: int,
    truth_label: int,
    spacing_mm: _Vector,
    tolerance_mm: float,
    per_slice_axis: int | None,
    threads: int,
) -> _Int64: ...
def squared_distance(seeds: npt.NDArray[np.uint8], spacing_mm: _Vector, threads: int) -> _Float32: ...
def component_sizes(mask: _Array, label: int) -> list[int]: ...
