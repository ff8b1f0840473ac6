"""The whole way from arrays to assessments, on models small enough to check by hand."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import phantom
import pytest
import tiny_models

import segae
from segae.assessment import BEYOND_REACH, WHOLE_SHARE, SlicePredictions, aggregate, calibrate
from segae.masks import label_of_mask, scan_labels
from segae.recipe import Calibration, ChannelSpec, MarginCrop, ModelCard, PaperCrop, Recipe, WideField
from segae.session import Session, cuda_driver_devices
from segae.slices import cut, plan_slices

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM


@pytest.fixture
def labelmap() -> Array:
    return phantom.labelmap()


# The public functions


def test_public_functions_open_an_engine(tiny_model: Path, engine: segae.Engine, image: Array, labelmap: Array) -> None:
    options: dict[str, Any] = {"spacing": SPACING, "model": tiny_model, "device": "cpu"}
    score = segae.score(image, labelmap, "liver", label=1, **options)
    assert 0 < score < 1
    assert score == engine.score(image, labelmap == 1, "liver", spacing=SPACING)
    assert segae.assess(image, labelmap, "liver", label=1, **options).dice == score
    assert segae.assess_labels(image, labelmap, phantom.LABELS, **options)["liver"].dice == score


def test_assess_labels_equals_assess_one_by_one(engine: segae.Engine, image: Array, labelmap: Array) -> None:
    together = engine.assess_labels(image, labelmap, phantom.LABELS, spacing=SPACING)
    assert list(together) == list(phantom.LABELS.values())
    for value, name in phantom.LABELS.items():
        alone = engine.assess(image, labelmap, name, spacing=SPACING, label=value)
        assert _alike(together[name], alone)
        assert engine.score(image, labelmap == value, name, spacing=SPACING) == pytest.approx(alone.dice, abs=1e-6)


def _alike(a: segae.Assessment, b: segae.Assessment) -> bool:
    """Batches differ, so sums may differ in the last float32 digit."""
    return json.dumps(_rounded(a.to_dict())) == json.dumps(_rounded(b.to_dict()))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    return value


def test_many_labels_fill_several_batches(tmp_path: Path, rng: np.random.Generator) -> None:
    """More slices than one cut takes: results keep their place."""
    names = segae.structures.names()[:60]
    tiny_models.write_dense(tmp_path / "all.onnx", structures=tuple(names))
    engine = segae.Engine(tmp_path / "all.onnx", "cpu", threads=2)
    labelmap = np.zeros((9, 40, 64), np.int32)
    for i in range(60):
        labelmap[1:8, 4 * (i // 8) + 1 : 4 * (i // 8) + 3 + i % 2, 8 * (i % 8) : 8 * (i % 8) + 2 + i % 5] = i + 1
    image = rng.integers(-200, 300, labelmap.shape).astype(np.int16)
    together = engine.assess_labels(image, labelmap, {i + 1: name for i, name in enumerate(names)}, spacing=(4, 2, 2))
    assert len(together) == 60
    for value in (1, 17, 33, 60):
        name = names[value - 1]
        alone = engine.assess(image, labelmap, name, label=value, spacing=(4, 2, 2))
        assert together[name].dice == pytest.approx(alone.dice, abs=1e-6)
        assert [s.area_mm2 for s in together[name].slices] == [s.area_mm2 for s in alone.slices]


def test_values_without_a_name_are_reported(
    engine: segae.Engine, image: Array, labelmap: Array, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "segae"):
        found = engine.assess_labels(image, labelmap, {1: "liver", 9: "vertebrae_L1"}, spacing=SPACING)
    assert list(found) == ["liver"]
    assert found.unnamed == {value: int((labelmap == value).sum()) for value in (2, 3, 4)}
    assert "[2, 3, 4]" in caplog.text
    nothing = engine.assess_labels(image, np.zeros_like(labelmap), {1: "liver"}, spacing=SPACING)
    assert (dict(nothing), nothing.unnamed) == ({}, {})
    assert pickle.loads(pickle.dumps(found)).unnamed == found.unnamed


def test_negative_and_large_labels(engine: segae.Engine, image: Array, labelmap: Array) -> None:
    wanted = engine.score(image, labelmap == 1, "liver", spacing=SPACING)
    for value in (-3, 70_000, 2**40):
        moved = np.where(labelmap == 1, value, 0)
        assert engine.score(image, moved, "liver", spacing=SPACING, label=value) == wanted
        assert engine.assess_labels(image, moved, {value: "liver"}, spacing=SPACING)["liver"].dice == wanted


def test_numpy_integers_are_labels(engine: segae.Engine, image: Array, labelmap: Array) -> None:
    wanted = engine.score(image, labelmap, "spleen", spacing=SPACING, label=2)
    assert engine.score(image, labelmap, "spleen", spacing=SPACING, label=np.uint8(2)) == wanted  # type: ignore[arg-type]
    named = {np.int64(2): "spleen"}
    assert engine.assess_labels(image, labelmap, named, spacing=SPACING)["spleen"].dice == wanted  # type: ignore[arg-type]


def test_empty_mask(engine: segae.Engine, image: Array, labelmap: Array) -> None:
    nothing = np.zeros_like(labelmap)
    assert np.isnan(engine.score(image, nothing, "liver", spacing=SPACING))
    result = engine.assess(image, labelmap, "liver", spacing=SPACING, label=77)
    assert np.isnan([result.dice, result.precision, result.recall, result.raw]).all()
    assert (result.slices, result.volume_ml, result.bbox) == ((), 0.0, None)
    assert [(flag.name, flag.detail) for flag in result.flags] == [("empty", "No voxel has the value 77.")]


def test_to_dict_is_json(engine: segae.Engine, image: Array, labelmap: Array) -> None:
    result = engine.assess(image, labelmap, "liver", spacing=SPACING, label=1, error_map=True)
    data = json.loads(json.dumps(result.to_dict()))
    assert data["structure"] == "liver"
    assert np.shape(data["slices"][0]["expected"]["probability"]) == (16, 16)


# Slices, worked out by hand


def column(areas: list[int]) -> Array:
    """A mask whose slices have the given areas, in the middle of a 20 x 20 plane."""
    mask = np.zeros((len(areas), 20, 20), np.uint8)
    for z, area in enumerate(areas):
        mask[z, 10, 5 : 5 + area] = 1
    return mask


def plan_of(mask: Array, spacing: tuple[float, float, float], **changes: Any) -> Any:
    scans = scan_labels(mask, "mask", 1)
    recipe = replace(tiny_models.DENSE_RECIPE, **changes)
    return plan_slices(mask, scans[label_of_mask(scans, None, "mask")], recipe, spacing, 1)


def test_which_slices_are_looked_at() -> None:
    """Eight slices with one hole; three looked at, each standing for the slices nearest to it; two beyond each end."""
    mask = column([0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 7, 8, 0, 0, 0])
    plan = plan_of(mask, (2.0, 1.0, 1.0), slices=3, beyond_mm=(2.0, 6.0))
    # Filled: 4 5 6 8 9 10 11 12; the middles of thirds are numbers 1, 4, 6. Beyond: 1 and 3 slices away.
    assert plan.index.tolist() == [1, 3, 5, 9, 11, 13, 15]
    assert plan.area.tolist() == [0, 0, 2, 5, 7, 0, 0]
    # Cuts at 3.5, 7, 10, 12.5 inside; beyond at 0.5, 2 and as far again, 4 slices.
    assert (plan.share_mm / 2).tolist() == [2, 1.5, 3.5, 3, 2.5, 1.5, 2]
    # Beyond the ends the crop is that of the largest of the slices there: row 10, columns from 5.
    assert plan.crop[1].tolist() == plan.crop[0].tolist()
    middle = (plan.crop[:, 2] + plan.crop[:, 3]) / 2
    assert middle[[0, 5]].tolist() == [9.0, 9.0]


def test_a_stray_contour_at_the_end_does_not_narrow_the_look_beyond_it() -> None:
    """The slices beyond an end take the crop of the largest slice of the last 15 mm, and of three slices at least."""
    near = plan_of(column([0, 0, 9, 10, 9, 1, 0, 0]), (3.0, 1.0, 1.0), beyond_mm=(3.0,))
    far = plan_of(column([0, 9, 1, 1, 1, 1, 1, 1, 0]), (5.0, 1.0, 1.0), beyond_mm=(5.0,))
    assert near.index.tolist() == [1, 2, 3, 4, 5, 6]
    assert near.crop[-1].tolist() == near.crop[2].tolist() != near.crop[4].tolist()
    assert far.crop[-1].tolist() == far.crop[-2].tolist() != far.crop[1].tolist()
    assert far.crop[0].tolist() == far.crop[1].tolist()


def test_slices_beyond_the_scan_are_not_looked_at() -> None:
    plan = plan_of(column([0, 1, 1, 1]), (4.0, 1.0, 1.0), beyond_mm=(4.0, 8.0))
    assert plan.index.tolist() == [0, 1, 2, 3]
    assert plan.area.tolist() == [0, 1, 1, 1]


def test_paper_placement() -> None:
    """Slice number int(n / 10 * i) of the slices that hold the mask."""
    plan = plan_of(column([1] * 27), (1, 1, 1), slices=10, placement="paper", beyond_mm=())
    assert plan.index.tolist() == [int(2.7 * i) for i in range(10)]


def test_margin_crop_is_a_square_in_mm() -> None:
    mask = np.zeros((3, 100, 100), np.uint8)
    mask[1, 40:60, 30:70] = 1
    plan = plan_of(mask, (1, 2.0, 3.0), beyond_mm=())
    # 40 mm x 120 mm; side 120 * 1.3 + 20 = 176 mm around row 50, column 50.
    np.testing.assert_allclose(plan.crop, [[50 - 44, 50 + 44, 50 - 176 / 6, 50 + 176 / 6]])
    small = np.zeros((3, 100, 100), np.uint8)
    small[1, 50, 50] = 1
    np.testing.assert_allclose(plan_of(small, (1, 2.0, 3.0), beyond_mm=()).crop, [[38.5, 62.5, 42.5, 58.5]])


def test_paper_crop() -> None:
    """Box with inclusive ends, 20 px wider, made square once, cut at the border."""
    mask = np.zeros((1, 100, 120), np.uint8)
    mask[0, 30:50, 10:90] = 1
    plan = plan_of(mask, (1, 1, 1), crop=PaperCrop(), beyond_mm=())
    # Rows 30-49 -> 10..69, columns 10-89 -> 0..109; 109 - 59 = 50, 25 more on either side, cut at 0.
    assert plan.crop.tolist() == [[0, 94, 0, 109]]


# Aggregation, worked out by hand


def predictions(**columns: list[float]) -> SlicePredictions:
    return SlicePredictions(**{name: np.array(values, np.float64) for name, values in columns.items()})


def test_aggregation_by_hand() -> None:
    """Two slices of the mask and one beyond its end, in which 50 mm2 were missed over 4 mm and what they reach."""
    slices = predictions(
        area_mm2=[100, 200, 0],
        share_mm=[2, 3, 4],
        crop_mm2=[1000, 1000, 1000],
        precision=[0.9, 0.5, 0.0],
        recall=[0.6, 0.5, 0.0],
        truth_fraction=[0.9, 0.9, 0.05],
    )
    np.testing.assert_allclose(slices.truth_mm2, [150, 200, 50])
    overlap, mask, truth = 2 * 90 + 3 * 100, 2 * 100 + 3 * 200, 2 * 150 + 3 * 200 + BEYOND_REACH * 4 * 50
    wanted = (2 * overlap / (mask + truth), overlap / mask, overlap / truth)
    assert aggregate(slices) == pytest.approx(wanted)


def test_aggregation_of_a_mask_in_the_wrong_place() -> None:
    """Where precision and recall are 0, the truth is what the crop shows."""
    slices = predictions(area_mm2=[100], share_mm=[2], crop_mm2=[1000], precision=[0], recall=[0], truth_fraction=[0.2])
    assert slices.truth_mm2.tolist() == [200]
    assert aggregate(slices) == (0, 0, 0)


@pytest.mark.parametrize("low", [0.0, 1e-9])
def test_dice_only_models_average_over_area(low: float) -> None:
    nan = float("nan")
    slices = predictions(
        area_mm2=[100, 300],
        share_mm=[2, 2],
        crop_mm2=[900, 900],
        precision=[1, low],
        recall=[1, low],
        truth_fraction=[nan, nan],
    )
    assert aggregate(slices)[0] == pytest.approx(0.25)


class Judge:
    """Stands in for the network: says what it is told, per slice of the mask and beyond it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, inside: dict[str, float], beyond: dict[str, float]) -> None:
        def run(session: Session, slices: Array, structure: Array, roles: Any) -> dict[str, Array]:
            filled = slices[:, -1].any(axis=(1, 2))
            out = {
                role: np.where(filled, inside[role], beyond[role]).astype(np.float32)[:, None]
                for role in ("precision", "recall", "truth_fraction")
            }
            return {**out, "expected": np.zeros((len(slices), 1, 16, 16), np.float32)}

        monkeypatch.setattr(Session, "run", run)


def test_score_by_hand(engine: segae.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cuboid of 6 slices, 10 x 10 voxels; the judge sees half of the crop filled beyond both ends."""
    Judge(
        monkeypatch,
        inside={"precision": 0.8, "recall": 0.5, "truth_fraction": 0.3},
        beyond={"precision": 0.0, "recall": 0.0, "truth_fraction": 0.5},
    )
    mask = np.zeros((20, 60, 60), np.uint8)
    mask[7:13, 20:30, 20:30] = 1
    result = engine.assess(np.zeros(mask.shape, np.int16), mask, "liver", spacing=(4, 1, 1))
    # Crop: max(10 * 1.3 + 20, 48) = 48 mm; 1152 mm2 expected one slice beyond either end, over 4 mm each.
    overlap, area, truth = 0.8 * 600 * 4, 600 * 4, 0.8 / 0.5 * 600 * 4 + 2 * 0.5 * 48**2 * 4 * BEYOND_REACH
    assert result.dice == pytest.approx(2 * overlap / (area + truth), rel=1e-6)
    assert result.precision == pytest.approx(0.8)
    assert result.recall == pytest.approx(overlap / truth, rel=1e-6)
    assert result.raw == pytest.approx(2 * 0.8 * 0.5 / 1.3)
    assert result.volume_ml == pytest.approx(2.4)
    assert result.bbox == ((7, 13), (20, 30), (20, 30))
    assert [s.index for s in result.slices] == list(range(6, 14))
    assert [s.area_mm2 for s in result.slices] == [0, *[100] * 6, 0]
    assert np.isnan([result.slices[0].dice, result.slices[-1].recall]).all()
    assert result.slices[0].expected_area_mm2 == pytest.approx(1152)
    assert result.slices[3].expected_area_mm2 == pytest.approx(160)
    assert [flag.name for flag in result.flags if flag.name == "truncated"] == ["truncated"] * 2


def test_raw_is_not_clipped(
    engine: segae.Engine, monkeypatch: pytest.MonkeyPatch, image: Array, labelmap: Array
) -> None:
    heads = {"precision": 1.2, "recall": 1.2, "truth_fraction": 0.0}
    Judge(monkeypatch, inside=heads, beyond=heads)
    result = engine.assess(image, labelmap, "liver", spacing=SPACING, label=1)
    assert result.raw == pytest.approx(1.2)
    assert result.dice == 1
    assert max(s.dice for s in result.slices if s.area_mm2 > 0) == 1


def test_dice_only_model(tmp_path: Path, image: Array, labelmap: Array) -> None:
    """The published recipe: no precision, no recall, no expected area, and no error map."""
    tiny_models.write_paper(tmp_path / "paper.onnx")
    engine = segae.Engine(tmp_path / "paper.onnx", "cpu", threads=2)
    result = engine.assess(image, labelmap, "liver", spacing=SPACING, label=1)
    assert len(result.slices) == 10
    assert np.isnan([result.precision, result.recall]).all()
    for score in result.slices:
        assert np.isnan([score.precision, score.recall, score.expected_area_mm2]).all()
    area = np.array([score.area_mm2 for score in result.slices])
    filled = np.flatnonzero((labelmap == 1).any((1, 2)))
    chosen = np.array([score.index for score in result.slices])
    cuts = np.concatenate([[filled[0] - 0.5], (chosen[1:] + chosen[:-1]) / 2, [filled[-1] + 0.5]])
    wanted = np.average([score.dice for score in result.slices], weights=area * np.diff(cuts))
    assert result.dice == pytest.approx(wanted)
    with pytest.raises(segae.ParameterError, match="error_map: this model"):
        engine.assess(image, labelmap, "liver", spacing=SPACING, label=1, error_map=True)


def test_calibration(tmp_path: Path, engine: segae.Engine, image: Array, labelmap: Array) -> None:
    table = {
        "liver": Calibration((0.0, 1.0), (0.5, 1.0)),
        "default": Calibration((0.0, 0.5, 1.0), (0.0, 0.0, 0.2)),
    }
    tiny_models.write_dense(tmp_path / "calibrated.onnx", calibration=table)
    calibrated = segae.Engine(tmp_path / "calibrated.onnx", "cpu", threads=2)
    for value, name in phantom.LABELS.items():
        plain = engine.assess(image, labelmap, name, spacing=SPACING, label=value)
        result = calibrated.assess(image, labelmap, name, spacing=SPACING, label=value)
        curve = table.get(name, table["default"])
        assert result.dice == pytest.approx(np.interp(plain.dice, curve.raw, curve.dice))
        assert result.raw == plain.raw
        assert calibrated.score(image, labelmap, name, spacing=SPACING, label=value) == result.dice
    assert calibrate(0.3, "spleen", {}) == 0.3


# Error maps


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_error_map_lies_where_the_mask_lies(
    order: tuple[int, ...], flips: tuple[int, ...], engine: segae.Engine
) -> None:
    """The tiny model expects the very mask it is given: its map, put back by its box, must cover the mask."""
    mask = np.zeros((10, 40, 48), np.uint8)
    mask[3:7, 8:20, 26:44] = 1
    mask[4, 8:12, 10:26] = 1
    affine = np.array([[0, 0, -2.0, 0], [0, -3.0, 0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])  # of [z, y, x], LPS
    step = np.eye(4)
    for axis, flip in enumerate(flips):
        if flip < 0:
            step[axis, axis], step[axis, 3] = -1, mask.shape[axis] - 1
    turn = np.eye(4)[:, [*order, 3]]
    given_mask = mask[tuple(slice(None, None, flip) for flip in flips)].transpose(order)
    given_affine = affine @ step @ turn
    image = np.zeros(given_mask.shape, np.int16)
    result = engine.assess(image, given_mask, "liver", affine=given_affine, error_map=True)
    axial = order.index(0)
    for score in result.slices:
        assert score.expected is not None
        plane = np.take(given_mask, score.index, axial).astype(bool)
        placed = _put_back(score.expected, plane.shape)
        if score.area_mm2 > 0:
            agreement = 2 * (placed & plane).sum() / (placed.sum() + plane.sum())
            assert agreement > 0.85  # a map of 16 x 16 pixels over the crop
        else:
            assert not placed.any()


def _put_back(expected: segae.ExpectedMask, shape: tuple[int, ...]) -> Array:
    """Value of the map's pixel under each voxel's centre."""
    index = []
    for extent, pixels, (begin, end) in zip(shape, expected.probability.shape, expected.box, strict=True):
        position = np.floor((np.arange(extent) + 0.5 - begin) / (end - begin) * pixels).astype(int)
        index.append(np.where((position >= 0) & (position < pixels), position, -1))
    padded = np.pad(expected.probability, ((0, 1), (0, 1)))
    placed: Array = padded[np.ix_(*index)] > 0.5
    return placed


# Devices, threads, processes


@pytest.mark.skipif(cuda_driver_devices() > 0, reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3", "gpu"])
def test_a_named_gpu_is_never_silently_a_cpu(device: str, tiny_model: Path) -> None:
    with pytest.raises(segae.DeviceError, match=r"device: cuda:\d"):
        segae.Engine(tiny_model, device)


def test_devices(tiny_model: Path) -> None:
    assert segae.Engine(tiny_model, "cpu").device == "cpu"
    assert segae.Engine(tiny_model, "auto").device == ("cuda:0" if cuda_driver_devices() else "cpu")
    for device in ("tpu", "cuda:x", "cpu:1", "", "cuda:-1"):
        with pytest.raises(segae.DeviceError, match=r'device: expected "auto", "cpu", "cuda"'):
            segae.Engine(tiny_model, device)


@pytest.mark.parametrize("threads", [0, -2])
def test_threads_are_positive(threads: int, tiny_model: Path) -> None:
    with pytest.raises(segae.ParameterError, match="threads: expected a positive number"):
        segae.Engine(tiny_model, "cpu", threads=threads)


def test_results_do_not_depend_on_threads(tiny_model: Path, image: Array, labelmap: Array) -> None:
    results = [
        segae.Engine(tiny_model, "cpu", threads=threads).assess(image, labelmap, "liver", spacing=SPACING, label=1)
        for threads in (1, 2, 7)
    ]
    for other in results[1:]:
        assert _alike(results[0], other)


def test_threads_share_an_engine(engine: segae.Engine, image: Array, labelmap: Array) -> None:
    def score(value: int) -> float:
        return engine.score(image, labelmap, phantom.LABELS[value], spacing=SPACING, label=value)

    wanted = {value: score(value) for value in phantom.LABELS}
    with ThreadPoolExecutor(4) as pool:
        asked = list(phantom.LABELS) * 6
        assert list(pool.map(score, asked)) == [wanted[value] for value in asked]


def test_pickle(
    engine: segae.Engine, image: Array, labelmap: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = engine.score(image, labelmap, "liver", spacing=SPACING, label=1)
    copy = pickle.loads(pickle.dumps(engine))
    assert repr(copy) == repr(engine)
    assert copy.score(image, labelmap, "liver", spacing=SPACING, label=1) == wanted
    tiny_models.write_dense(tmp_path / "near.onnx")
    monkeypatch.chdir(tmp_path)
    stored = pickle.dumps(segae.Engine("near.onnx", "cpu"))
    monkeypatch.chdir("/")
    assert pickle.loads(stored).score(image, labelmap, "liver", spacing=SPACING, label=1) == wanted


def _score_in_process(engine: segae.Engine, value: int) -> float:
    image, labels = phantom.image(np.random.default_rng(1)), phantom.labelmap()
    return engine.score(image, labels, phantom.LABELS[value], spacing=SPACING, label=value)


# CPython 3.12 and later warn of any fork beside threads; the runtime's are asleep, and the child opens its own.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(method: str, engine: segae.Engine) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    wanted = [_score_in_process(engine, value) for value in phantom.LABELS]
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.starmap(_score_in_process, [(engine, value) for value in phantom.LABELS])
    assert found == wanted


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_fork_with_threads_in_the_child(engine: segae.Engine) -> None:
    """A loader that forks, then uses the inherited engine from several threads at once."""
    wanted = _score_in_process(engine, 1)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        status = 1
        try:
            with ThreadPoolExecutor(4) as pool:
                found = list(pool.map(lambda _: _score_in_process(engine, 1), range(8)))
            status = 0 if found == [wanted] * 8 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _score_in_process(engine, 1) == wanted


# Model files


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(segae.ModelFileError, match=r"model: no such file: .*nowhere\.onnx"):
        segae.Engine(tmp_path / "nowhere.onnx")
    with pytest.raises(segae.ModelFileError, match="model: no such file"):
        segae.Engine(tmp_path)


def test_damaged_model(tmp_path: Path, tiny_model: Path) -> None:
    for name, content in (("text", b"not a model"), ("cut", tiny_model.read_bytes()[:300]), ("empty", b"")):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(segae.ModelFileError, match=rf"model: .*{name}\.onnx"):
            segae.Engine(path, "cpu")


def test_foreign_model(tmp_path: Path) -> None:
    tiny_models.write_dense(tmp_path / "foreign.onnx", metadata=None)
    with pytest.raises(segae.ModelFileError, match="without segae's metadata"):
        segae.Engine(tmp_path / "foreign.onnx", "cpu")


def _card(**changes: Any) -> dict[str, Any]:
    card = ModelCard(
        "tiny",
        tiny_models.DENSE_RECIPE,
        tiny_models.STRUCTURES,
        frozenset(),
        {role: role for role in ("precision", "recall", "truth_fraction", "expected")},
    )
    return {**json.loads(card.to_json()), **changes}


def _recipe(**changes: Any) -> dict[str, Any]:
    return {**tiny_models.DENSE_RECIPE.to_dict(), **changes}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{not json", "metadata of .* is damaged"),
        ("[]", "damaged"),
        (json.dumps({}), "damaged .*version"),
        (json.dumps(_card(version=2)), "metadata version 2, this segae reads 1"),
        (json.dumps(_card(recipe=_recipe(slices=0))), "damaged .*slices 0"),
        (json.dumps(_card(recipe=_recipe(channels=[]))), "damaged .*no channels"),
        (json.dumps(_card(recipe=_recipe(placement="somewhere"))), "damaged .*somewhere"),
        (json.dumps(_card(recipe=_recipe(crop={"kind": "round"}))), "damaged .*round"),
        (json.dumps(_card(recipe=_recipe(size_px=[64, 64]))), r"takes slices of shape .*makes \[3, 64, 64\]"),
        (json.dumps(_card(outputs={"precision": "precision"})), "damaged .*neither dice nor"),
        (json.dumps(_card(outputs={"dice": "quality"})), r"lacks the outputs \['quality'\]"),
        (json.dumps(_card(calibration={"liver": {"raw": [0, 1], "dice": [0]}})), "damaged .*calibration"),
        (json.dumps(_card(calibration={"liver": {"raw": [1, 0], "dice": [0, 1]}})), "damaged .*calibration"),
    ],
)
def test_unusable_metadata(metadata: str, message: str, tmp_path: Path) -> None:
    tiny_models.write_dense(tmp_path / "model.onnx", metadata=metadata)
    with pytest.raises(segae.ModelFileError, match=message):
        segae.Engine(tmp_path / "model.onnx", "cpu")


def test_window_of_a_channel_must_open(tmp_path: Path) -> None:
    channels = [{**channel, "window_hu": [100.0, 100.0]} for channel in _recipe()["channels"]]
    tiny_models.write_dense(tmp_path / "model.onnx", metadata=json.dumps(_card(recipe=_recipe(channels=channels))))
    with pytest.raises(segae.ModelFileError, match=r"damaged .*channel"):
        segae.Engine(tmp_path / "model.onnx", "cpu")


def test_model_with_other_inputs(tmp_path: Path, tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    model.graph.input[0].name = "images"
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = "images" if name == "slices" else name
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(segae.ModelFileError, match=r"has inputs \['images', 'structure'\]"):
        segae.Engine(tmp_path / "other.onnx", "cpu")


def test_structure_that_the_model_lacks(engine: segae.Engine, image: Array, labelmap: Array) -> None:
    with pytest.raises(segae.ModelFileError, match="no entry for the structure 'aorta'"):
        engine.score(image, labelmap, "aorta", spacing=SPACING, label=1)


def test_recipe_round_trip() -> None:
    for recipe in (tiny_models.DENSE_RECIPE, tiny_models.PAPER_RECIPE):
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


# Wide views


def test_wide_views_show_the_surroundings_of_the_slice() -> None:
    """On a volume whose HU says where a voxel lies, the middle of either view is the middle of the crop."""
    spacing = (2.5, 1.0, 1.0)
    z, y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) * s for n, s in zip((80, 200, 220), spacing, strict=True)),
                          indexing="ij")  # fmt: skip
    mask = np.zeros(z.shape, np.uint8)
    mask[30:50, 90:110, 120:140] = 1
    recipe = Recipe(
        size_px=(32, 32),
        slices=1,
        channels=(
            ChannelSpec("mask", view="axial"),
            ChannelSpec("image", window_hu=(0, 1000), view="axial"),
            ChannelSpec("mask"),
            ChannelSpec("image", window_hu=(0, 1000), view="coronal"),
            ChannelSpec("mask", view="coronal"),
        ),
        crop=MarginCrop(margin_mm=0, margin_fraction=0, min_side_mm=20),
        wide=WideField(factor=2, min_side_mm=128, max_side_mm=160),
    )
    plan = plan_slices(mask, scan_labels(mask, "mask", 1)[1], recipe, spacing, 1)
    ones = np.ones(len(plan.index), np.int64)

    def seen(image: Array) -> Array:
        return 1000 * cut(image, mask, recipe, spacing, plan.index, plan.crop, ones, 1)[0]

    # One pixel is 4 mm: of voxels of 1 mm every fourth is read, of the slices, 2.5 mm apart, every one.
    pixel_mm, row = 4.0, np.arange(32)[:, None] - 15.5
    middle_y, middle_x, middle_z = 99.5, 129.5, plan.index[0] * 2.5
    np.testing.assert_allclose(seen(y)[1], np.broadcast_to(middle_y + row * pixel_mm, (32, 32)), atol=4)
    np.testing.assert_allclose(seen(x)[1], np.broadcast_to(middle_x + row.T * pixel_mm, (32, 32)), atol=4)
    np.testing.assert_allclose(seen(z)[3][4:-4], np.broadcast_to(middle_z + row * pixel_mm, (32, 32))[4:-4], atol=4)
    np.testing.assert_allclose(seen(x)[3][8:-8], np.broadcast_to(middle_x + row.T * pixel_mm, (16, 32)), atol=4)
    mm2 = pixel_mm**2 / 1000
    shown = seen(x)
    assert shown[0].sum() * mm2 == pytest.approx(20 * 20, rel=0.3)
    assert shown[2, 1:-1, 1:-1].min() == 1000, "the crop is the mask's own square"
    assert shown[4].sum() * mm2 == pytest.approx(20 * 50, rel=0.3)


def test_the_whole_masks_word_counts_for_a_share() -> None:
    slices = predictions(
        area_mm2=[100, 100, 0], share_mm=[1, 1, 1], crop_mm2=[900, 900, 900], precision=[0.8, 0.8, 0.0],
        recall=[0.8, 0.8, 0.0], truth_fraction=[0.1, 0.1, 0.0], whole_precision=[0.6, 0.6, 0.1],
        whole_recall=[0.4, 0.4, 0.1],
    )  # fmt: skip
    dice, precision, recall = aggregate(slices)
    assert precision == pytest.approx(0.8 + WHOLE_SHARE * (0.6 - 0.8))
    assert recall == pytest.approx(0.8 + WHOLE_SHARE * (0.4 - 0.8))
    assert dice == pytest.approx(2 * precision * recall / (precision + recall))
