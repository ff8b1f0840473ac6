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

_LabelStats = tuple[int, int, tuple[_Int64, _Int64, _Int64], list[list[int]], list[float], list[list[int]], _Int64]

class _Scan(TypedDict):
    labels: list[_LabelStats]
    fractional: int
    fractional_example: float
    non_finite: int

class _Relations(TypedDict):
    overlap: _Int64
    contact: _Int64
    moments: tuple[_Int64, _Int64, _Int64]

class DeviceArray:
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def strides(self) -> tuple[int, int, int]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def device(self) -> tuple[int, int]: ...
    @property
    def stream(self) -> int: ...
    def thin(self, step: Sequence[int]) -> DeviceArray: ...
    def transpose(self, order: Sequence[int]) -> DeviceArray: ...
    def flip(self, flipped: Sequence[bool]) -> DeviceArray: ...

def take_dlpack(capsule: object, stream: int) -> DeviceArray: ...
def take_dlpack_batch(capsule: object, stream: int) -> list[DeviceArray]: ...
def built_with_cuda() -> bool: ...
def cuda_devices() -> list[str]: ...
def scan(volume: _Array, threads: int) -> _Scan: ...
def runs(volume: _Array, labels: npt.ArrayLike, threads: int) -> _Int64: ...
def relations(runs: Sequence[_Int64], shape: Sequence[int], n: int, threads: int) -> _Relations: ...
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
def sample_into(
    out: _Float32,
    places: Sequence[int],
    image: _Array,
    mask: _Array | None,
    spec: SampleSpec,
    indices: npt.ArrayLike,
    boxes: npt.ArrayLike,
    labels: npt.ArrayLike,
    threads: int,
) -> None: ...
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
def component_labels(mask: _Array, label: int) -> npt.NDArray[np.int32]: ...

# csrc/perturb: working arrays are C-contiguous and have the shape of their box. Either all arrays of a call lie in host
# memory or, in a build with CUDA, all are DeviceArrays; results lie where the arguments do.

_Volume = _Array | DeviceArray
_Bytes = npt.NDArray[np.uint8] | DeviceArray
_Floats = _Float32 | DeviceArray
_Counts = tuple[int, int, int]

FOLDING_FREE: float

class Box:
    @property
    def origin(self) -> list[int]: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def spacing_mm(self) -> list[float]: ...
    def __init__(self, origin: Sequence[int], shape: Sequence[int], spacing_mm: _Vector) -> None: ...
    def position(self, axis: int, index: int) -> float: ...

class Noise:
    def __init__(self, seed: int, grid_mm: _Vector, amplitude_mm: float) -> None: ...

class Sides:
    OUTSIDE: Sides
    INSIDE: Sides
    BOTH: Sides

class Measure:
    DISTANCE: Measure
    FIELD: Measure
    PLANE: Measure
    BALLS: Measure
    SLICES: Measure

class LevelRule:
    def __init__(
        self,
        measure: Measure,
        *,
        add: bool = False,
        remove: bool = False,
        most: float,
        bias: float = 0.0,
        most_push_mm: float = 0.0,
        inset_mm: float = 0.0,
        normal: _Vector = ...,
        start_mm: float = 0.0,
        balls: Sequence[tuple[_Vector, float]] = ...,
        axis: int = 0,
        slices: Sequence[float] = ...,
        noise: Sequence[Noise] = ...,
    ) -> None: ...

class Map:
    def __init__(
        self,
        *,
        cell_mm: _Vector = ...,
        cell_from_mm: _Vector = ...,
        matrix: Sequence[float] = ...,
        offset_mm: _Vector = ...,
        bend: Noise | None = None,
    ) -> None: ...

class GrowRule:
    def __init__(
        self, *, start_mm: _Vector, start_radius_mm: float, centre_hu: float, width_hu: float, most_mm: float
    ) -> None: ...

def extract_mask(source: _Volume, label: int, box: Box, threads: int) -> _Bytes: ...
def extract_image(source: _Volume, slope: float, intercept: float, box: Box, threads: int) -> _Floats: ...
def recut(source_box: Box, source: _Bytes, box: Box, threads: int) -> _Bytes: ...
def subsample(box: Box, source: _Bytes, stride: Sequence[int], threads: int) -> tuple[Box, _Bytes]: ...
def summarise(mask: _Volume, label: int, threads: int) -> tuple[int, list[int], list[int], list[int]]: ...
def signed_squared_distance(mask: _Bytes, box: Box, sides: Sides, threads: int) -> _Floats: ...
def levels(
    box: Box,
    mask: _Bytes,
    rule: LevelRule,
    *,
    other: _Bytes | None = None,
    squared: _Floats | None = None,
    field: _Floats | None = None,
    threads: int,
) -> _Floats: ...
def flip(
    box: Box, mask: _Bytes, level: _Floats, strength: float, truth: _Bytes, threads: int
) -> tuple[_Bytes, _Counts]: ...
def level_histogram(
    box: Box, mask: _Bytes, level: _Floats, truth: _Bytes, most: float, bins: int, threads: int
) -> _Int64: ...
def warp(
    source_box: Box, source: _Bytes, box: Box, mapping: Map, truth: _Bytes, stride: int, threads: int
) -> tuple[_Bytes, _Counts]: ...
def interpolate_slices(box: Box, mask: _Bytes, axis: int, kept: Sequence[int], threads: int) -> _Bytes: ...
def arrival(box: Box, mask: _Bytes, image_hu: _Floats, rule: GrowRule) -> _Floats: ...
def blur(box: Box, values: _Floats, sigma_mm: float, threads: int) -> _Floats: ...
def roughness(box: Box, squared: _Floats, sigma_mm: float, threads: int) -> _Floats: ...
def compare(box: Box, result: _Bytes, truth: _Bytes, threads: int) -> _Counts: ...
def count_in_rows(box: Box, values: _Floats, low: float, high: float, threads: int) -> _Int64: ...
def find_in_row(box: Box, values: _Floats, row: int, low: float, high: float, rank: int) -> int: ...
def extremes(box: Box, values: _Floats, threads: int) -> tuple[float, float]: ...
def image_moments(box: Box, image_hu: _Floats, keep: _Bytes, threads: int) -> tuple[int, int, int]: ...
def label_counts(labelmap: _Volume, box: Box, mask: _Bytes, threads: int) -> _Int64: ...

# Only in a build with CUDA.

def box_surface_counts(box: Box, given: DeviceArray, truth: DeviceArray, tolerance_mm: float) -> _Int64: ...
def paste(volume: DeviceArray, box: Box, values: _Bytes) -> None: ...
def scan_batch(volumes: Sequence[DeviceArray]) -> list[_Scan]: ...

class DeviceSlices:
    @property
    def shape(self) -> tuple[int, int, int, int]: ...
    @property
    def address(self) -> int: ...
    @property
    def stream(self) -> int: ...
    def to_host(self) -> _Float32: ...

def empty_slices(shape: Sequence[int], like: DeviceArray) -> DeviceSlices: ...
def sample_batch(
    out: DeviceSlices,
    rows: npt.ArrayLike,
    places: Sequence[int],
    images: Sequence[DeviceArray],
    masks: Sequence[DeviceArray],
    pairs: npt.ArrayLike,
    spec: SampleSpec,
    indices: npt.ArrayLike,
    boxes: npt.ArrayLike,
    labels: npt.ArrayLike,
) -> None: ...
def fetch(volume: DeviceArray, begin: Sequence[int], step: Sequence[int], shape: Sequence[int]) -> _Array: ...
