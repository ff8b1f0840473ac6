"""Wrong arguments are refused by an error of segae's that names the argument; nothing wrong is taken in silence."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import phantom
import pytest
import tiny_models

import segae
from segae import api
from segae.perturbation import KINDS

SPACING = {"spacing": phantom.SPACING_MM}
IMAGE, LABELS = phantom.image(np.random.default_rng(0)), phantom.labelmap()


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    return (LABELS == 1).astype(np.uint8)


@functools.cache
def drawn(kind: str) -> dict[str, Any]:
    """Parameters of each kind, drawn on the phantom."""
    mask = (LABELS == 1).astype(np.uint8)
    return segae.perturb_many(mask, 1, kinds=kind, severity=0.3, image=IMAGE, labelmap=LABELS, **SPACING)[0].params


def replay(mask: np.ndarray, params: object) -> object:
    return segae.perturb(mask, params=params, image=IMAGE, labelmap=LABELS, **SPACING)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_needed_and_checked(mask: np.ndarray, kind: str) -> None:
    params, check = drawn(kind), KINDS[kind].check
    check(params)
    with pytest.raises(segae.ParameterError, match=f"{kind}.*'extra'"):
        replay(mask, params | {"extra": 1})
    for name, parameter in KINDS[kind].parameters.items():
        if not parameter.optional:
            with pytest.raises(segae.ParameterError, match=f"{kind}.*{name}"):
                check({key: value for key, value in params.items() if key != name})
        for wrong in ("a", float("nan"), float("inf"), [], [None], {}, 1e300, -1e300, [[1, 2]]):
            with pytest.raises(segae.ParameterError, match=name):
                check(params | {name: wrong})


@pytest.mark.parametrize(
    "params",
    [
        int, 3, [], {}, {"kind": "x"}, {"kind": ["erode"]}, {"kind": "random"},
        {"kind": "random", "steps": []},
        {"kind": "random", "steps": [3]}, {"kind": "random", "steps": {"kind": "erode"}},
        {"kind": "random", "steps": [{"kind": "random", "steps": []}]},
        {"kind": "erode", "radius_mm": -3}, {"kind": "erode", "radius_mm": True},
        {"kind": "erode", "radius_mm": 1, "seed": 1}, {"kind": "slicewise", "axis": 7},
        {"kind": "drop_slices", "axis": 7, "order": [1], "count": 1},
        {"kind": "shift", "direction": [1, 1, 1], "distance_mm": 3},
        {"kind": "elastic", "grid_mm": 1e-9, "seed": 0, "amplitude_mm": 1},
        {"kind": "elastic", "grid_mm": 5, "seed": 2**60, "amplitude_mm": 1},
        {"kind": "elastic", "grid_mm": 0.05, "seed": 0, "amplitude_mm": 0.01},
        {"kind": "interpolate", "axis": 0, "first": 9, "last": 3, "step_mm": 5},
    ],
)  # fmt: skip
def test_params_that_are_none(mask: np.ndarray, params: object) -> None:
    with pytest.raises(segae.ParameterError, match="params"):
        replay(mask, params)


def test_parameters_that_do_not_go_together(mask: np.ndarray) -> None:
    holes = drawn("holes")
    with pytest.raises(segae.ParameterError, match="weights"):
        replay(mask, holes | {"weights": [*holes["weights"], 0.5]})
    part = drawn("drop_part")
    with pytest.raises(segae.ParameterError, match="lobe"):
        replay(mask, part | {"centre_mm": None, "normal": None, "start_mm": None})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("threads", -5), ("threads", 0), ("threads", 1.5), ("threads", "2"), ("threads", True),
        ("label", 0), ("label", 1.5), ("label", "a"), ("severity", "a"), ("severity", float("nan")), ("severity", 2),
        ("seed", "a"), ("seed", -1), ("seed", 1.5), ("kind", 3), ("kind", ["erode"]),
    ],
)  # fmt: skip
def test_arguments_of_perturb(mask: np.ndarray, argument: str, value: object) -> None:
    given: dict[str, Any] = {"kind": "erode", "severity": 0.3} | {argument: value}
    with pytest.raises(segae.SegaeError, match=argument):
        segae.perturb(mask, **given, **SPACING)


@pytest.mark.parametrize("value", [[0.5], (0.5, 0.6), "a", {}, float("nan"), 1.0, 0.0])
def test_target_dice_of_perturb(mask: np.ndarray, value: object) -> None:
    with pytest.raises(segae.ParameterError, match="target_dice"):
        segae.perturb(mask, "erode", target_dice=value, **SPACING)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [-1, 1.5, "3", None])
def test_number_of_variants(mask: np.ndarray, n: object) -> None:
    with pytest.raises(segae.ParameterError, match="n: "):
        segae.perturb_many(mask, n, **SPACING)  # type: ignore[arg-type]


def test_targets_may_be_an_array(mask: np.ndarray) -> None:
    made = segae.perturb_many(mask, 2, kinds="erode", target_dice=np.array([0.6, 0.8]), **SPACING)  # type: ignore[arg-type]
    assert [variant.dice for variant in made] == pytest.approx([0.6, 0.8], abs=0.011)


@pytest.mark.parametrize("threads", [1.5, 0, -1, "2", [1]])
def test_threads(tiny_model: Path, mask: np.ndarray, threads: object) -> None:
    with pytest.raises(segae.ParameterError, match="threads"):
        segae.Engine(tiny_model, "cpu", threads)  # type: ignore[arg-type]
    with pytest.raises(segae.ParameterError, match="threads"):
        segae.measure(mask, mask, threads=threads, **SPACING)  # type: ignore[arg-type]


@pytest.mark.parametrize("tolerance", ["a", None, -1, float("nan"), float("inf"), [2]])
def test_tolerance(mask: np.ndarray, tolerance: object) -> None:
    with pytest.raises(segae.ParameterError, match="tolerance_mm"):
        segae.measure(mask, mask, tolerance_mm=tolerance, **SPACING)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [3, None, b"x.onnx", ["default"]])
def test_model(mask: np.ndarray, model: object) -> None:
    for call in (segae.Engine, lambda model: segae.score(mask, mask, "liver", model=model, **SPACING)):
        with pytest.raises(segae.ParameterError, match="model"):
            call(model)


@pytest.mark.parametrize("device", [3, None, "tpu", "cuda:x", ["cpu"]])
def test_device(tiny_model: Path, mask: np.ndarray, device: object) -> None:
    with pytest.raises(segae.DeviceError, match="device"):
        segae.Engine(tiny_model, device)  # type: ignore[arg-type]
    with pytest.raises(segae.DeviceError, match="device"):
        segae.score(mask, mask, "liver", model=tiny_model, device=device, **SPACING)  # type: ignore[arg-type]


def test_a_relative_model_path_follows_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: np.ndarray, mask: np.ndarray
) -> None:
    scores = []
    for name, curve in (("a", (0.1, 0.1)), ("b", (0.9, 0.9))):
        folder = tmp_path / name
        folder.mkdir()
        tiny_models.write_dense(folder / "m.onnx", calibration={"default": segae_calibration(curve)})
        monkeypatch.chdir(folder)
        scores.append(segae.score(image, mask, "liver", model="m.onnx", device="cpu", **SPACING))
    assert scores == pytest.approx([0.1, 0.9])


def test_a_model_file_that_is_written_anew_is_opened_anew(tmp_path: Path, image: np.ndarray, mask: np.ndarray) -> None:
    scores = []
    for curve in ((0.1, 0.1), (0.9, 0.9)):
        tiny_models.write_dense(tmp_path / "new.onnx", calibration={"default": segae_calibration(curve)})
        os.utime(tmp_path / "new.onnx", ns=(0, len(scores)))
        shutil.move(tmp_path / "new.onnx", tmp_path / "m.onnx")
        scores.append(segae.score(image, mask, "liver", model=tmp_path / "m.onnx", device="cpu", **SPACING))
    assert scores == pytest.approx([0.1, 0.9])


def segae_calibration(dice: tuple[float, float]) -> Any:
    from segae.recipe import Calibration

    return Calibration((0.0, 1.0), dice)


def test_first_calls_at_once_open_one_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: np.ndarray, mask: np.ndarray
) -> None:
    tiny_models.write_dense(tmp_path / "m.onnx")
    opened = []
    engine = api.Engine

    def opening(*arguments: Any) -> segae.Engine:
        opened.append(arguments)
        return engine(*arguments)

    monkeypatch.setattr(api, "Engine", opening)
    keywords = {"model": tmp_path / "m.onnx", "device": "cpu", **SPACING}
    calls = [threading.Thread(target=segae.score, args=(image, mask, "liver"), kwargs=keywords) for _ in range(4)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(opened) == 1
