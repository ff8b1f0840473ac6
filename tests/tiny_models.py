"""Model files of a few nodes, for tests of everything around the network."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from segae.recipe import Calibration, ChannelSpec, MarginCrop, ModelCard, PaperCrop, Recipe
from segae.reference.network import METADATA_KEY, ReferenceCard

STRUCTURES = ("liver", "spleen", "kidney_left", "kidney_right", "vertebrae_L1", "vertebrae_L2")

DENSE_RECIPE = Recipe(
    size_px=(32, 32),
    slices=6,
    beyond_mm=(4.0,),
    crop=MarginCrop(),
    channels=(
        ChannelSpec("image", window_hu=(-160.0, 240.0)),
        ChannelSpec("image", offset_mm=4.0, window_hu=(-1000.0, 1000.0)),
        ChannelSpec("mask"),
    ),
)
PAPER_RECIPE = Recipe(
    size_px=(256, 256),
    slices=10,
    placement="paper",
    crop=PaperCrop(),
    channels=(
        ChannelSpec("image", window_hu=(-200.0, 200.0), gain=4.0, bias=-2.0),
        ChannelSpec("mask", gain=2.0, bias=-1.0),
    ),
)


def write_dense(path: Path, **card: object) -> None:
    """precision, recall: means of two channels; truth_fraction: mean of the mask; expected: the mask, pooled."""
    channels = len(DENSE_RECIPE.channels)
    nodes = [
        helper.make_node("ReduceMean", ["slices", "plane"], ["means"], keepdims=0),
        helper.make_node("Split", ["means"], ["precision", "recall", "mask_mean"], axis=1, num_outputs=channels),
        helper.make_node("Cast", ["structure"], ["structure_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["structure_float", "zero"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "one"], ["nothing_column"]),
        helper.make_node("Add", ["mask_mean", "nothing_column"], ["truth_fraction"]),
        helper.make_node("Slice", ["slices", "mask_begin", "mask_end", "one"], ["mask_channel"]),
        helper.make_node("AveragePool", ["mask_channel"], ["expected"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    constants = [
        helper.make_tensor("plane", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("mask_begin", TensorProto.INT64, [1], [channels - 1]),
        helper.make_tensor("mask_end", TensorProto.INT64, [1], [channels]),
    ]
    outputs = ("precision", "recall", "truth_fraction", "expected")
    _write(path, nodes, constants, DENSE_RECIPE, outputs, **card)


def write_paper(path: Path, **card: object) -> None:
    """dice: mean of the image channel."""
    nodes = [
        helper.make_node("ReduceMean", ["slices", "plane"], ["means"], keepdims=0),
        helper.make_node("Split", ["means"], ["image_mean", "mask_mean"], axis=1, num_outputs=2),
        helper.make_node("Cast", ["structure"], ["structure_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["structure_float", "zero"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "one"], ["nothing_column"]),
        helper.make_node("Add", ["image_mean", "nothing_column"], ["dice"]),
    ]
    constants = [
        helper.make_tensor("plane", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    _write(path, nodes, constants, PAPER_RECIPE, ("dice",), **card)


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    recipe: Recipe,
    outputs: tuple[str, ...],
    *,
    metadata: str | None = "card",
    calibration: dict[str, Calibration] | None = None,
    structures: tuple[str, ...] = STRUCTURES,
) -> None:
    height, width = recipe.size_px
    slices = helper.make_tensor_value_info("slices", TensorProto.FLOAT, ["n", len(recipe.channels), height, width])
    structure = helper.make_tensor_value_info("structure", TensorProto.INT64, ["n"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "tiny", [slices, structure], values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    card = ModelCard(
        name="tiny",
        recipe=recipe,
        structures=structures,
        trained=frozenset(structures[:4]),
        outputs={name: name for name in outputs},
        calibration=calibration or {},
    )
    if metadata == "card":
        metadata = card.to_json()
    if metadata is not None:
        helper.set_model_props(model, {"segae": metadata})
    onnx.save(model, path)


def write_reference(path: Path) -> None:
    """A reference network that tells organs by their brightness: 80, 100, ... HU, as the phantom has without noise."""
    constants = [
        helper.make_tensor("begin", TensorProto.INT64, [1], [0]),
        helper.make_tensor("end", TensorProto.INT64, [1], [1]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("range", TensorProto.FLOAT, [], [100.0]),
        helper.make_tensor("width", TensorProto.FLOAT, [], [20.0]),
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("none", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("most", TensorProto.FLOAT, [], [4.0]),
    ]
    nodes = [
        helper.make_node("Slice", ["slices", "begin", "end", "one"], ["plane"]),
        helper.make_node("Squeeze", ["plane", "one"], ["share"]),
        helper.make_node("Mul", ["share", "range"], ["above_60_hu"]),
        helper.make_node("Div", ["above_60_hu", "width"], ["steps"]),
        helper.make_node("Add", ["steps", "half"], ["rounded_up"]),
        helper.make_node("Floor", ["rounded_up"], ["number"]),
        helper.make_node("Clip", ["number", "none", "most"], ["bounded"]),
        helper.make_node("Cast", ["bounded"], ["classes"], to=TensorProto.UINT8),
    ]
    slices = helper.make_tensor_value_info("slices", TensorProto.FLOAT, ["n", 1, "h", "w"])
    classes = helper.make_tensor_value_info("classes", TensorProto.UINT8, ["n", "h", "w"])
    graph = helper.make_graph(nodes, "tiny", [slices], [classes], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    card = ReferenceCard(
        classes=("liver", "spleen", "kidney_left", "kidney_right"),
        reliability={"liver": 0.95, "spleen": 0.9, "kidney_left": 0.9},
        narrow_mm=(0.0,),
        wide_mm=(),
        narrow_hu=(60.0, 160.0),
        wide_hu=(-1000.0, 1000.0),
        pixel_mm=2.0,
        step_mm=5.0,
        multiple=8,
        training={},
    )
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, path)
