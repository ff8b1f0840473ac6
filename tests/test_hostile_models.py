"""Model files of strangers: what is more than a network of layers is refused with what was found, and never run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import segae  # noqa: E402
from segae.errors import ModelFileError  # noqa: E402
from segae.onnx_graph import read_model  # noqa: E402
from segae.recipe import METADATA_KEY  # noqa: E402
from segae.session import find_model  # noqa: E402

Model = Any


@pytest.fixture
def model() -> Model:
    return onnx.load(find_model("default"))


def _refused(model: Model, folder: Path, match: str) -> None:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    begun = time.monotonic()
    with pytest.raises(ModelFileError, match=match):
        segae.Engine(path, "cpu")
    assert time.monotonic() - begun < 5


def _branch() -> Any:
    empty = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "b", [], [])
    return helper.make_node("If", ["slices"], ["x"], then_branch=empty, else_branch=empty)


def _loop() -> Any:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )  # fmt: skip
    return helper.make_node("Loop", ["", ""], [], body=body)


@pytest.mark.parametrize(
    ("node", "match"),
    [
        (_loop(), "Loop|graph within a node"),
        (_branch(), "graph within a node"),
        (helper.make_node("Evil", ["slices"], ["x"], domain="com.evil"), "'com.evil'"),
        (helper.make_node("FusedGemm", ["slices"], ["x"], domain="com.microsoft"), "'com.microsoft'"),
    ],
)
def test_what_is_no_layer(tmp_path, model, node, match) -> None:
    model.graph.node.append(node)
    _refused(model, tmp_path, match)


def test_weights_outside_the_file(tmp_path, model) -> None:
    (tmp_path / "secret").write_bytes(bytes(4096))
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    _refused(model, tmp_path, "another file")


def test_a_constant_outside_the_file(tmp_path, model) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "t")
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["x"], value=tensor))
    _refused(model, tmp_path, "another file")


def test_a_tensor_that_claims_more_than_it_holds(tmp_path, model, monkeypatch) -> None:
    monkeypatch.setenv("SEGAE_FULL_PRECISION", "1")  # else only the 8-bit form is opened
    model.graph.initializer[0].dims[:] = [2**31, 2**31]
    _refused(model, tmp_path, "model: ")


def test_functions(tmp_path, model) -> None:
    node = helper.make_node("Relu", ["a"], ["b"])
    made = helper.make_function("mine", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(made)
    _refused(model, tmp_path, "functions")


def test_a_file_of_gigabytes(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(10 << 30)  # sparse: takes no disk
    with pytest.raises(ModelFileError, match="10240 MB"):
        segae.Engine(path, "cpu")


@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"\xff" * 99, b"<html>", b"\x3a\xff\xff\xff\xff\x7f"])
def test_no_onnx_file(tmp_path, content) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="model: "):
        segae.Engine(path, "cpu")


def _card(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        card = json.loads(text)
        change(card)
        return json.dumps(card)

    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "[" * 100_000,
        lambda text: text[: len(text) // 2],
        lambda text: "x" * (32 << 20),
        _card(lambda card: card["recipe"].update(size_px=[10**6, 10**6])),
        _card(lambda card: card["recipe"].update(slices=10**12)),
        _card(lambda card: card["recipe"].update(beyond_mm=[float("inf")])),
        _card(lambda card: card["recipe"]["crop"].update(margin_mm="wide")),
        _card(lambda card: card["recipe"]["crop"].update(margin_mm=float("nan"))),
        _card(lambda card: card["recipe"]["channels"][0].update(gain=float("nan"))),
        _card(lambda card: card["recipe"].update(channels=card["recipe"]["channels"] * 99)),
        _card(lambda card: card.update(outputs=7)),
        _card(lambda card: card.update(calibration={"default": {"raw": [1, 0], "dice": [0, 1]}})),
    ],
)
def test_metadata(tmp_path, model, change) -> None:
    entry = next(entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = change(entry.value)
    _refused(model, tmp_path, "metadata|recipe")


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bits(tmp_path, seed) -> None:
    """A damaged file opens, or is refused; the process lives, and no call hangs."""
    rng = np.random.default_rng(seed)
    data = bytearray(find_model("default").read_bytes())
    for _ in range(30):
        path = tmp_path / "model.onnx"
        made = bytearray(data)
        for at in rng.integers(0, len(made) if rng.random() < 0.5 else 4000, 6):
            made[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(made)
        try:
            read_model(path)
        except ModelFileError:
            continue
