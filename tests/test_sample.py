"""`_core.sample` against its numpy twin, and against the resampling that the published pipeline used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from layouts import DTYPES, LAYOUTS, THREADS, lay_out
from PIL import Image
from strategies import labelmaps

from segae import _core

Array = npt.NDArray[Any]

# The core windows and stores in float32: one rounding of a HU value of thousands, then of a sum in [0, 1] and a gain.
TOLERANCE = 2e-6

CHANNELS: list[dict[str, Any]] = [
    {"is_mask": False, "low": -160.0, "high": 240.0},
    {"is_mask": False, "offset": 2, "low": -1000.0, "high": 1000.0, "gain": 2.0, "bias": -1.0},
    {"is_mask": False, "offset": -1, "low": -1024.0, "high": 300.0},
    {"is_mask": True},
    {"is_mask": True, "offset": 1, "gain": 2.0, "bias": -1.0},
]


def assert_samples_alike(
    image: Array,
    mask: Array | None,
    indices: Any,
    boxes: Any,
    labels: Any,
    channels: list[dict[str, Any]] = CHANNELS,
    **spec: Any,
) -> None:
    axis, size = spec.pop("axis", 0), spec.pop("size", (7, 9))
    wanted = reference.sample(image, mask, channels, indices, boxes, labels, axis=axis, size=size, **spec)
    core_spec = _core.SampleSpec(
        axis=axis, height=size[0], width=size[1], channels=[_core.Channel(**channel) for channel in channels], **spec
    )
    results = [_core.sample(image, mask, core_spec, indices, boxes, labels, threads) for threads in THREADS]
    assert_lands_where_told(results[0], image, mask, core_spec, indices, boxes, labels)
    assert results[0].dtype == np.float32
    np.testing.assert_allclose(results[0], wanted, rtol=0, atol=TOLERANCE)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def assert_lands_where_told(alone: Array, image: Array, mask: Array | None, spec: Any, *where: Any) -> None:
    """Between the channels of another view, last first, and nowhere else."""
    n, channels, height, width = alone.shape
    out = np.full((n, channels + 2, height, width), -7, np.float32)
    places = list(range(channels, 0, -1))
    _core.sample_into(out, places, image, mask, spec, *where, 2)
    np.testing.assert_array_equal(out[:, places], alone)
    assert (out[:, [0, -1]] == -7).all()


def typed_image(rng: np.random.Generator, dtype: str, shape: tuple[int, int, int]) -> Array:
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind == "f":
        image = rng.normal(0, 300, shape).astype(dtype)
        image.flat[:: shape[2] + 3] = [np.nan, np.inf, -np.inf] * (len(image.flat[:: shape[2] + 3]) // 3) + [np.nan] * (
            len(image.flat[:: shape[2] + 3]) % 3
        )
        return image
    limits = np.iinfo(dtype)
    return rng.integers(max(limits.min, -1024), min(limits.max, 2000), shape).astype(dtype)


def crops(rng: np.random.Generator, n: int, rows: int, columns: int) -> Array:
    """Fractional crops, from much smaller than a voxel to larger than the slice, partly or wholly outside."""
    middle = rng.uniform(-0.2, 1.2, (n, 2)) * [rows, columns]
    half = 10 ** rng.uniform(-1.5, 0.3, (n, 2)) * [rows, columns]
    return np.stack([middle[:, 0] - half[:, 0], middle[:, 0] + half[:, 0],
                     middle[:, 1] - half[:, 1], middle[:, 1] + half[:, 1]], axis=1)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sample(dtype: str, layout: str, rng: np.random.Generator) -> None:
    shape = (6, 11, 14)
    image = lay_out(typed_image(rng, dtype, shape), layout)
    mask = lay_out(rng.integers(0, 2 if dtype == "bool" else 4, shape).astype(dtype), layout)
    for axis in range(3):
        rows, columns = (extent for other, extent in enumerate(shape) if other != axis)
        n = 12
        assert_samples_alike(
            image,
            mask,
            rng.integers(0, shape[axis], n),
            crops(rng, n, rows, columns),
            rng.integers(1, 4, n),
            axis=axis,
            slope=1.5,
            intercept=-20.0,
        )


@given(labelmaps(), st.integers(0, 2), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.data())
def test_sample_of_anything(volume: Array, axis: int, size: tuple[int, int], data: st.DataObject) -> None:
    edge = st.floats(-20, 20, width=32)
    row, column = data.draw(edge), data.draw(edge)
    height, width = data.draw(st.floats(0.25, 30, width=32)), data.draw(st.floats(0.25, 30, width=32))
    # Values of a labelmap may be huge: float32 then rounds them by more than a window of HU.
    image = np.zeros(volume.shape, np.int16) + (np.nan_to_num(volume, posinf=9, neginf=-9).astype(np.float64) % 500)
    box = [[row, row + height, column, column + width]]
    assert_samples_alike(
        image, volume, [data.draw(st.integers(-1, volume.shape[axis]))], box, [data.draw(st.sampled_from([1, 2, -1]))],
        axis=axis, size=size, stop_at_crop=data.draw(st.booleans()),
    )  # fmt: skip


def test_constant_image_stays_constant(rng: np.random.Generator) -> None:
    """Weights are normalised over what exists: no darkening towards the border."""
    image = np.full((1, 9, 9), 40, np.int16)
    spec = _core.SampleSpec(axis=0, height=13, width=5, channels=[_core.Channel(is_mask=False, low=0.0, high=80.0)])
    sampled = _core.sample(image, None, spec, [0], [[0, 9, 0, 9]], [0], 1)
    np.testing.assert_allclose(sampled, 0.5, atol=1e-7)


def test_mean_is_kept_when_shrinking(rng: np.random.Generator) -> None:
    """Antialiasing: every voxel counts. Nearest or plain bilinear sampling would see a few of them only."""
    image = np.zeros((1, 64, 64), np.float32)
    image[0, 21, 34] = 1.0
    spec = _core.SampleSpec(axis=0, height=4, width=4, channels=[_core.Channel(is_mask=False)])
    sampled = _core.sample(image, None, spec, [0], [[0, 64, 0, 64]], [0], 1)
    assert sampled.mean() == pytest.approx(1 / 64**2, rel=0.15)


@pytest.mark.parametrize("order", ["C", "F"])
def test_paper_crop_equals_pillow(order: str, rng: np.random.Generator) -> None:
    """Published pipeline: cut whole pixels, window to [-200, 200], Pillow's BILINEAR to 256 x 256, then [-2, 2]."""
    image = np.asarray(rng.normal(0, 200, (3, 300, 310)).astype(np.int16), order=order)
    mask = np.asarray(rng.random((3, 300, 310)) < 0.3, order=order)
    boxes = [(0, 300, 0, 310), (10, 90, 37, 117), (250, 300, 0, 41), (3, 4, 9, 12), (20, 276, 20, 276)]
    channels = [
        _core.Channel(is_mask=False, low=-200.0, high=200.0, gain=4.0, bias=-2.0),
        _core.Channel(is_mask=True, gain=2.0, bias=-1.0),
    ]
    spec = _core.SampleSpec(axis=0, height=256, width=256, stop_at_crop=True, channels=channels)
    sampled = _core.sample(image, mask, spec, [1] * len(boxes), boxes, [1] * len(boxes), 2)
    for box, (ct, soft_mask) in zip(boxes, sampled, strict=True):
        rows, columns = slice(box[0], box[1]), slice(box[2], box[3])
        cut = (np.clip(image[1, rows, columns].astype(np.float32), -200, 200) + 200) / 400
        np.testing.assert_allclose(ct, 4 * _pillow(cut) - 2, rtol=0, atol=2e-6)
        np.testing.assert_allclose(soft_mask, 2 * _pillow(mask[1, rows, columns]) - 1, rtol=0, atol=2e-6)


def _pillow(values: Array) -> Array:
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("box", [(-9, -2, 0, 4), (0, 4, -30, -1), (40, 60, 0, 4), (0, 4, 8, 11), (-9, -2, 20, 30)])
@pytest.mark.parametrize("stop_at_crop", [False, True])
def test_crop_outside_is_fill(box: tuple[int, ...], stop_at_crop: bool) -> None:
    volume = np.ones((2, 8, 8), np.int16)
    assert_samples_alike(volume, volume, [0], [box], [1], stop_at_crop=stop_at_crop)


def test_far_crops_need_no_memory() -> None:
    """A margin gone wrong must not ask for the filter taps of a slice a kilometre wide."""
    volume = np.ones((2, 8, 8), np.int16)
    spec = _core.SampleSpec(axis=0, height=4, width=4, channels=[_core.Channel(is_mask=True)])
    far = _core.sample(volume, volume, spec, [0], [[-1e9, 1e9, -1e9, 1e9]], [1], 1)
    assert np.isin(far, [0.0, 1.0]).all()


def test_labels_pick_their_mask() -> None:
    labelmap = np.zeros((1, 4, 8), np.int32)
    labelmap[:, :, :4], labelmap[:, :, 4:] = 70_000, -5
    spec = _core.SampleSpec(axis=0, height=4, width=8, channels=[_core.Channel(is_mask=True)])
    sampled = _core.sample(labelmap, labelmap, spec, [0] * 3, [[0, 4, 0, 8]] * 3, [70_000, -5, 1], 2)
    np.testing.assert_array_equal(sampled[0, 0], labelmap[0] == 70_000)
    np.testing.assert_array_equal(sampled[1, 0], labelmap[0] == -5)
    assert not sampled[2].any()


def test_an_output_that_does_not_fit_is_refused() -> None:
    volume = np.ones((2, 8, 8), np.int16)
    spec = _core.SampleSpec(axis=0, height=4, width=4, channels=[_core.Channel(is_mask=True)])
    where: Any = (volume, volume, spec, [0], [[0, 8, 0, 8]], [1], 1)
    good = np.zeros((1, 2, 4, 4), np.float32)
    _core.sample_into(good, [1], *where)
    for out in (np.zeros((2, 2, 4, 4), np.float32), np.zeros((1, 2, 4, 5), np.float32), good[0]):
        with pytest.raises(ValueError, match="out"):
            _core.sample_into(out, [1], *where)
    for places in ([], [0, 1]):
        with pytest.raises(ValueError, match="places"):
            _core.sample_into(good, places, *where)
    for places in ([2], [-1]):
        with pytest.raises(IndexError, match="places"):
            _core.sample_into(good, places, *where)
    # A copy would be written to, and lost.
    for copied in (good.astype(np.float64), good[:, :, ::-1]):
        with pytest.raises(TypeError):
            _core.sample_into(copied, [1], *where)
    good.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _core.sample_into(good, [1], *where)
