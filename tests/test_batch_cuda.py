"""Scan, sample and score on a GPU: equal to the CPU's. Where there is no GPU, scripts/gpu_check.sh emulates kernels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import phantom
import pytest
from layouts import DTYPES
from lent import EMULATED, Lent

import segae
from segae import _core, foreign, session
from segae.device import DeviceVolume
from segae.recipe import ChannelSpec, MarginCrop, Recipe, WideField
from segae.slices import cut, cut_on_device

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM
TURNS: list[tuple[tuple[int, int, int], tuple[bool, bool, bool], tuple[int, int, int]]] = [
    ((0, 1, 2), (False, False, False), (1, 1, 1)),
    ((2, 1, 0), (False, True, True), (1, 1, 1)),
    ((1, 2, 0), (True, False, False), (1, 2, 1)),
    ((0, 2, 1), (True, True, False), (2, 1, 3)),
]


def lend(array: Any) -> _core.DeviceArray:
    return _core.take_dlpack(array.__dlpack__(stream=1), 1)


def turned(array: Array, order: Any, flipped: Any, step: Any) -> Array:
    return array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)][
        tuple(slice(None, None, s) for s in step)
    ]


def labels_of(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Runs of every length, few labels, odd values of floats."""
    values = np.repeat(rng.integers(0, 2 if dtype == "bool" else 5, int(np.prod(shape))), rng.integers(1, 9))
    volume = values[: int(np.prod(shape))].reshape(shape).astype(dtype)
    if np.dtype(dtype).kind == "f":
        volume.flat[::17], volume.flat[5::31], volume.flat[3::29] = np.nan, -0.0, 0.5
    return volume


def assert_scans_alike(found: Any, wanted: Any, volume: Array) -> None:
    assert {key: found[key] for key in ("fractional", "non_finite")} == {
        key: wanted[key] for key in ("fractional", "non_finite")
    }
    assert len(found["labels"]) == len(wanted["labels"])
    for ours, theirs in zip(found["labels"], wanted["labels"], strict=True):
        assert ours[:2] == theirs[:2]
        for area, other in zip(ours[2], theirs[2], strict=True):
            np.testing.assert_array_equal(area, other)
        assert ours[3:6] == theirs[3:6]
        n = volume.shape[0]
        boxes = _core.plane_boxes(volume, 0, range(n), [ours[0]] * n, [[0, volume.shape[1], 0, volume.shape[2]]] * n, 1)
        np.testing.assert_array_equal(ours[6].reshape(-1, 4), boxes)


# Kernels


@pytest.mark.gpu
@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scan(gpu: Any, dtype: str, turn: Any, rng: np.random.Generator) -> None:
    for shape in ((1, 1, 1), (5, 1, 3), (6, 11, 37), (3, 4, 64), (9, 33, 70)):
        volume = labels_of(rng, dtype, shape)
        order, flipped, step = turn
        lent = lend(gpu[0](volume)).transpose(order).flip(flipped).thin(step)
        view = turned(volume, order, flipped, step)
        assert lent.shape == view.shape
        assert_scans_alike(_core.scan_batch([lent])[0], _core.scan(view, 1), view)


@pytest.mark.gpu
def test_scan_of_many_volumes(gpu: Any, rng: np.random.Generator) -> None:
    """Unequal shapes and types, tables of every size, empty ones: results keep their place."""
    volumes = [
        rng.integers(0, 3, (4, 5, 6)).astype(np.uint8),
        np.zeros((3, 3, 3), np.uint8),
        rng.integers(0, 200, (7, 9, 40)).astype(np.int16),
        (rng.integers(0, 4000, (20, 30, 40)) - 2000).astype(np.int16),
        rng.integers(0, 2, (1, 70, 3)).astype(np.uint8),
        np.where(rng.random((5, 5, 5)) < 0.5, 2**40, -(2**50)),
    ]
    found = _core.scan_batch([lend(gpu[0](volume)) for volume in volumes])
    for scan, volume in zip(found, volumes, strict=True):
        assert_scans_alike(scan, _core.scan(volume, 1), volume)
    assert _core.scan_batch([]) == []


@pytest.mark.gpu
def test_scan_refuses_what_is_no_labelmap(gpu: Any, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="more than 4096 distinct values"):
        _core.scan_batch([lend(gpu[0](rng.integers(0, 9000, (30, 40, 50)).astype(np.int16)))])
    with pytest.raises(ValueError, match="too large for a label"):
        _core.scan_batch([lend(gpu[0](np.full((2, 2, 2), 2**63, np.uint64)))])
    found = _core.scan_batch([lend(gpu[0](np.array([[[0, 1, 0.25, 0.75]]], np.float32)))])[0]
    assert (found["fractional"], found["fractional_example"]) == (2, 0.25)


CHANNELS = [
    _core.Channel(is_mask=False, low=-160.0, high=240.0),
    _core.Channel(is_mask=True, gain=2.0, bias=-1.0),
    _core.Channel(is_mask=False, offset=2, low=-1000.0, high=1000.0, gain=2.0, bias=-1.0),
    _core.Channel(is_mask=True, offset=-1),
]


@pytest.mark.gpu
@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sample_equals_the_cpu(gpu: Any, dtype: str, turn: Any, rng: np.random.Generator) -> None:
    order, flipped, step = turn
    for axis, shape in enumerate(((6, 11, 14), (1, 9, 23), (13, 2, 8))):
        image = (rng.normal(0, 300, shape) if dtype != "bool" else rng.random(shape) < 0.5).astype(dtype)
        if np.dtype(dtype).kind == "f":
            image.flat[::7] = np.nan
        mask = rng.integers(0, 2 if dtype == "bool" else 4, shape).astype(dtype)
        views = [turned(volume, order, flipped, step) for volume in (image, mask)]
        lent = [lend(gpu[0](volume)).transpose(order).flip(flipped).thin(step) for volume in (image, mask)]
        n = 9
        corner = rng.uniform(-4, 12, (n, 2))
        side = 10 ** rng.uniform(-1.5, 1.6, (n, 2))
        boxes = np.stack([corner[:, 0], corner[:, 0] + side[:, 0], corner[:, 1], corner[:, 1] + side[:, 1]], 1)
        indices, labels = rng.integers(-1, views[0].shape[axis] + 1, n), rng.integers(1, 4, n)
        for stop in (False, True):
            spec = _core.SampleSpec(axis=axis, height=7, width=9, stop_at_crop=stop, channels=CHANNELS)
            wanted = _core.sample(*views, spec, indices, boxes, labels, 1)
            out = _core.empty_slices((n + 2, 5, 7, 9), lent[0])
            rows = rng.permutation(n + 2)[:n]
            places = [4, 0, 3, 1]
            _core.sample_batch(out, rows, places, [lent[0]], [lent[1]], [0] * n, spec, indices, boxes, labels)
            # Shared formulas without contraction: the same bits.
            np.testing.assert_array_equal(out.to_host()[rows][:, places], wanted)


@pytest.mark.gpu
def test_sample_of_many_volumes(gpu: Any, rng: np.random.Generator) -> None:
    images = [rng.normal(0, 300, shape).astype(dtype) for shape, dtype in
              (((5, 9, 11), "int16"), ((4, 20, 8), "float32"), ((5, 9, 11), "int16"))]  # fmt: skip
    masks = [
        rng.integers(0, 3, image.shape).astype(dtype) for image, dtype in zip(images, ("u1", "?", "i4"), strict=True)
    ]
    pairs = np.array([2, 0, 1, 1, 0, 2])
    boxes = [[0.0, 8.0, 1.0, 9.5]] * 6
    spec = _core.SampleSpec(axis=0, height=6, width=5, channels=CHANNELS)
    out = _core.empty_slices((6, 4, 6, 5), lend(gpu[0](images[0])))
    _core.sample_batch(
        out, range(6), range(4), [lend(gpu[0](image)) for image in images], [lend(gpu[0](mask)) for mask in masks],
        pairs, spec, [0, 1, 2, 3, 4, 4], boxes, [1] * 6,
    )  # fmt: skip
    for row, (pair, index) in enumerate(zip(pairs, [0, 1, 2, 3, 4, 4], strict=True)):
        wanted = _core.sample(images[pair], masks[pair], spec, [index], boxes[:1], [1], 1)
        np.testing.assert_array_equal(out.to_host()[row], wanted[0])


@pytest.mark.gpu
@pytest.mark.parametrize("spacing", [(5.0, 5.0, 5.0), (3.0, 0.4, 0.5)])
def test_cut_equals_the_cpu(gpu: Any, spacing: Any, image: Array, mask: Array) -> None:
    """All views of a recipe, of volumes of two shapes."""
    views: Any = ("crop", "axial", "coronal")
    recipe = Recipe(
        size_px=(24, 24),
        slices=5,
        crop=MarginCrop(),
        wide=WideField(),
        channels=tuple(ChannelSpec(source, view=view) for view in views for source in ("image", "mask")),  # type: ignore[arg-type]
    )
    volumes = [(image, mask), (np.ascontiguousarray(image[3:, :, 5:]), np.ascontiguousarray(mask[3:, :, 5:]))]
    pair, index = np.array([0, 1, 0, 1]), np.array([10, 11, 20, 21])
    crop, label = np.array([[10.0, 40.0, 5.5, 35.5]] * 4), np.ones(4, np.int64)
    lent = [(lend(gpu[0](one)), lend(gpu[0](other))) for one, other in volumes]
    found = cut_on_device(lent, recipe, [spacing] * 2, pair, index, crop, label, 4).to_host()
    for i, p in enumerate(pair):
        wanted = cut(*volumes[p], recipe, spacing, index[i : i + 1], crop[i : i + 1], label[:1], 1)
        np.testing.assert_array_equal(found[i], wanted[0])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_pieces_come_to_the_host(gpu: Any, dtype: str, rng: np.random.Generator) -> None:
    array = rng.integers(0, 2, (5, 7, 9)).astype(dtype)
    volume = DeviceVolume(lend(gpu[0](array))).turned((2, 0, 1), (True, False, True))
    view = turned(array, (2, 0, 1), (True, False, True), (1, 1, 1))
    assert (volume.shape, volume.dtype, volume.size) == (view.shape, view.dtype, view.size)
    for key in (np.s_[2], np.s_[1:4, ::2, 3:], np.s_[::3, ::2, ::2], np.s_[0, :, -1], np.s_[4:4], np.s_[-1, 1:3]):
        np.testing.assert_array_equal(volume[key], view[key])


@pytest.mark.gpu
def test_core_refuses_what_does_not_fit(gpu: Any, rng: np.random.Generator) -> None:
    lent = lend(gpu[0](np.zeros((4, 5, 6), np.uint8)))
    other = lend(gpu[0](np.zeros((4, 5, 7), np.uint8)))
    spec = _core.SampleSpec(axis=0, height=3, width=3, channels=CHANNELS[:1])
    out = _core.empty_slices((2, 1, 3, 3), lent)
    good: dict[str, Any] = {
        "out": out, "rows": [0], "places": [0], "images": [lent], "masks": [lent], "pairs": [0], "spec": spec,
        "indices": [0], "boxes": [[0, 1, 0, 1]], "labels": [1],
    }  # fmt: skip
    _core.sample_batch(**good)
    for change in (
        {"rows": [2]}, {"rows": [-1]}, {"rows": [0, 1]}, {"places": [1]}, {"places": []}, {"pairs": [1]}, {"masks": []},
        {"masks": [other]}, {"indices": [[0]]}, {"boxes": [[1, 1, 0, 1]]},
        {"out": _core.empty_slices((2, 1, 3, 4), lent)},
        {"images": [_core.take_dlpack(np.zeros((4, 5, 6), np.uint8).__dlpack__(), 1)]},
    ):  # fmt: skip
        with pytest.raises((ValueError, IndexError)):
            _core.sample_batch(**{**good, **change})
    with pytest.raises(IndexError):
        _core.fetch(lent, [0, 0, 4], [1, 1, 2], [1, 1, 2])


# The whole way


@pytest.mark.gpu
def test_scores_and_assessments_equal_the_cpu(
    gpu: Any, open_on_gpu: Any, engine: segae.Engine, tiny_model: Path, image: Array, mask: Array
) -> None:
    on_gpu = open_on_gpu(tiny_model)
    assert on_gpu.device == "cuda:0"
    labelmap = phantom.labelmap()
    wanted = engine.assess(image, mask, "liver", spacing=SPACING, error_map=True)
    assert on_gpu.score(gpu[0](image), gpu[0](mask), "liver", spacing=SPACING) == pytest.approx(wanted.dice, abs=1e-5)
    # Host arrays with a GPU: slices are cut on the host, and travel.
    assert on_gpu.score(image, mask, "liver", spacing=SPACING) == pytest.approx(wanted.dice, abs=1e-5)
    found = on_gpu.assess(gpu[0](image), gpu[0](mask), "liver", spacing=SPACING, error_map=True)
    assert found.flags == wanted.flags
    assert found.bbox == wanted.bbox
    assert [s.index for s in found.slices] == [s.index for s in wanted.slices]
    for ours, theirs in zip(found.slices, wanted.slices, strict=True):
        assert ours.expected is not None
        assert theirs.expected is not None
        np.testing.assert_allclose(ours.expected.probability, theirs.expected.probability, atol=1e-5)
    together = on_gpu.assess_labels(gpu[0](image), gpu[0](labelmap), phantom.LABELS, spacing=SPACING)
    alone = engine.assess_labels(image, labelmap, phantom.LABELS, spacing=SPACING)
    assert list(together) == list(alone)
    for name, entry in together.items():
        assert entry.dice == pytest.approx(alone[name].dice, abs=1e-5)
        assert entry.flags == alone[name].flags


@pytest.mark.gpu
def test_score_batch_equals_the_cpu(
    gpu: Any, open_on_gpu: Any, engine: segae.Engine, tiny_model: Path, image: Array
) -> None:
    on_gpu = open_on_gpu(tiny_model)
    labelmap = phantom.labelmap()
    masks = np.concatenate([np.stack([labelmap == value for value in phantom.LABELS])] * 4).astype(np.uint8)
    masks[2] = 0
    names = list(phantom.LABELS.values()) * 4
    wanted = engine.score_batch(image, masks, names, spacing=SPACING)
    given = gpu[0](masks)
    found = on_gpu.score_batch(gpu[0](image), given, names, spacing=SPACING)
    assert type(found) is type(given)
    assert found.__dlpack_device__() == given.__dlpack_device__()
    np.testing.assert_allclose(gpu[1](found), wanted, atol=1e-5)
    # Unequal volumes and spacings, channels, labelmaps.
    images = [gpu[0](np.ascontiguousarray(part)) for part in (image, image[4:], image)]
    parts = [gpu[0](np.ascontiguousarray(part)) for part in (masks[0], masks[0, 4:], masks[1])]
    steps = [SPACING, SPACING, (4.0, 4.5, 4.5)]
    found = on_gpu.score_batch(images, parts, "liver", spacing=steps)
    wanted = engine.score_batch([image, image[4:], image], [masks[0], masks[0, 4:], masks[1]], "liver", spacing=steps)
    np.testing.assert_allclose(gpu[1](found), wanted, atol=1e-5)
    found = on_gpu.score_batch(gpu[0](image[None, None]), gpu[0](labelmap[None, None]), phantom.LABELS, spacing=SPACING)
    wanted = engine.score_batch(image, labelmap[None], phantom.LABELS, spacing=SPACING)
    np.testing.assert_allclose(gpu[1](found), wanted, atol=1e-5)


@pytest.mark.gpu
def test_measure_equals_the_cpu(gpu: Any, mask: Array) -> None:
    other = np.roll(mask, (1, 2, 0), (0, 1, 2))
    wanted = segae.measure(mask, other, spacing=SPACING)
    found = segae.measure(gpu[0](mask), gpu[0](other), spacing=SPACING)
    assert (found.dice, found.precision, found.recall, found.nsd) == (
        wanted.dice, wanted.precision, wanted.recall, wanted.nsd,
    )  # fmt: skip
    np.testing.assert_array_equal(found.slice_nsd, wanted.slice_nsd)


@pytest.mark.gpu
def test_batches_have_few_sizes(open_on_gpu: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No new shapes, which cuDNN would look for algorithms for."""
    on_gpu = open_on_gpu(tiny_model)._judge.session
    assert [on_gpu.chunk_size(n) for n in (1, 16, 17, 64, 65, 10_000)] == [16, 16, 64, 64, 256, 256]
    sizes = []
    real = onnxruntime.InferenceSession.run

    def run(self: Any, names: Any, inputs: Any) -> Any:
        sizes.append(len(inputs["slices"]))
        return real(self, names, inputs)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    channels, (height, width) = len(on_gpu.card.recipe.channels), on_gpu.card.recipe.size_px
    for n in (1, 9, 16, 40):
        slices = np.ones((n, channels, height, width), np.float32)
        assert len(on_gpu.run(slices, np.zeros(n, np.int64))["precision"]) == n
    assert sizes == [16, 16, 16, 64]
    assert on_gpu._runtime(16) is on_gpu._runtime(16)
    assert on_gpu._runtime(64) is not on_gpu._runtime(16), "cuDNN would plan anew at every change of size"


@pytest.mark.gpu
def test_arrays_in_the_wrong_place_are_refused(
    gpu: Any,
    open_on_gpu: Any,
    engine: segae.Engine,
    tiny_model: Path,
    image: Array,
    mask: Array,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(segae.DeviceError, match=r"they lie on cuda:0, the engine works on cpu.*\.cpu\(\)"):
        engine.score(gpu[0](image), gpu[0](mask), "liver", spacing=SPACING)
    on_gpu = open_on_gpu(tiny_model)
    for pair in ((gpu[0](image), mask), (image, gpu[0](mask))):
        with pytest.raises(segae.DeviceError, match=r"they lie in cuda:0 and host memory\. Bring them together"):
            on_gpu.score_batch(pair[0][None], pair[1][None], "liver", spacing=SPACING)
    with pytest.raises(segae.VolumeError, match=r"mask: expected 3 axes, got shape \(1, 40, 56, 72\)"):
        on_gpu.score(gpu[0](image), gpu[0](mask[None]), "liver", spacing=SPACING)
    if EMULATED:
        other = Lent(mask)
        monkeypatch.setattr(foreign, "stream_of", lambda array: 9 if array is other else 7)
        with pytest.raises(segae.DeviceError, match="different streams"):
            on_gpu.score(Lent(image), other, "liver", spacing=SPACING)
    with pytest.raises(segae.VolumeError, match="few"):
        on_gpu.score(gpu[0](image), gpu[0](np.arange(mask.size, dtype=np.int32).reshape(mask.shape)), "liver",
                     spacing=SPACING)  # fmt: skip


@pytest.mark.gpu
@pytest.mark.skipif(EMULATED, reason="emulated kernels know no streams")
def test_the_callers_stream_orders_the_work(
    gpu: Any, open_on_gpu: Any, engine: segae.Engine, tiny_model: Path, image: Array, mask: Array
) -> None:
    torch = sys.modules["torch"]
    on_gpu = open_on_gpu(tiny_model)
    wanted = engine.score_batch(image, mask[None], "liver", spacing=SPACING)
    source = torch.as_tensor(mask).pin_memory()
    ct = torch.as_tensor(image, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        late = torch.zeros(mask.shape, dtype=torch.uint8, device="cuda")
        torch.cuda._sleep(50_000_000)  # the copy is late: work on another stream would see zeros
        late.copy_(source, non_blocking=True)
        found = on_gpu.score_batch(ct, late[None], "liver", spacing=SPACING)
        late.zero_()  # queued behind our work
        np.testing.assert_allclose(found.cpu().numpy(), wanted, atol=1e-5)


@pytest.mark.gpu
def test_the_default_model_on_a_gpu(gpu: Any, open_on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operator of the real network has its place there; fp32 sums in another order."""
    from segae import demo

    monkeypatch.setenv("SEGAE_FULL_PRECISION", "1")  # a GPU runs the float form, too
    image, masks = demo.phantom()
    for name, mask in masks.items():
        wanted = segae.Engine("default", "cpu", threads=2).score(image, mask, name, spacing=demo.SPACING_MM)
        found = open_on_gpu("default").score(gpu[0](image), gpu[0](mask), name, spacing=demo.SPACING_MM)
        assert found == pytest.approx(wanted, abs=2e-3)


# Without a GPU


@pytest.mark.skipif(_core.built_with_cuda(), reason="this build has CUDA")
def test_device_arrays_need_a_build_with_cuda(engine: segae.Engine, image: Array, mask: Array) -> None:
    for call in (engine.score, engine.assess):
        with pytest.raises(segae.DeviceError, match=r"image: the array lies on a CUDA device.*SEGAE_CUDA=ON"):
            call(Lent(image), Lent(mask), "liver", spacing=SPACING)
    with pytest.raises(segae.DeviceError, match="masks: the array lies on a CUDA device"):
        engine.score_batch(Lent(image[None]), Lent(mask[None]), "liver", spacing=SPACING)


def test_missing_libraries_are_named(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that does not open is an error with the line that installs what is missing."""
    monkeypatch.setattr(session, "_providers", lambda *_: (["CPUExecutionProvider"], "cuda:0"))
    monkeypatch.setattr(session, "cuda_driver_version", lambda: (13, 1))
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
    with pytest.raises(segae.DeviceError, match=r"asked for cuda:0.*CUDA 13.0 or cuDNN 9 are missing: pip install 'se"):
        segae.Engine(tiny_model, "cuda:0")
    monkeypatch.setattr(session, "cuda_driver_version", lambda: (12, 4))
    with pytest.raises(
        segae.DeviceError, match=r"built for CUDA 13.0, the NVIDIA driver knows CUDA up to 12.4: update"
    ):
        segae.Engine(tiny_model, "cuda:0")


def test_the_callers_stream_reaches_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime: Any = type("Runtime", (), {"get_available_providers": staticmethod(lambda: ["CUDAExecutionProvider"])})
    monkeypatch.setattr(session, "cuda_driver_devices", lambda: 2)
    ((_, options), _), device = session._providers(runtime, "cuda:1", 77)
    assert (device, options["device_id"], options["user_compute_stream"]) == ("cuda:1", 1, "77")
    ((_, options), _), _ = session._providers(runtime, "cuda:0", None)
    assert "user_compute_stream" not in options
    assert "device_id" not in options  # ONNX Runtime warns of it
