"""Checkpoint -> ``reference.onnx``: batch norms folded, weights in half precision, a map of classes as output.

``python -m segae_lab.reference.export CHECKPOINT OUT.onnx --reliability RELIABILITY.json``
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from segae.reference.network import METADATA_KEY, ReferenceCard
from segae_lab.reference.classes import CLASSES
from segae_lab.reference.network import (
    MULTIPLE,
    NARROW_HU,
    NARROW_MM,
    WIDE_HU,
    WIDE_MM,
    ReferenceNet,
)
from segae_lab.reference.scans import PIXEL_MM

_OPSET, _STEP_MM = 17, 3.0
Float32 = npt.NDArray[np.float32]


class _Graph:
    """Nodes and weights as they are added; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: npt.NDArray[np.generic]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def weights(self, values: Float32) -> str:
        """Stored in half precision, computed with in single: the runtime folds the cast when it opens the file."""
        return self.add("Cast", self.constant(values.astype(np.float16)), to=TensorProto.FLOAT)

    def convolution(self, x: str, weight: Float32, bias: Float32) -> str:
        pad = weight.shape[-1] // 2
        return self.add("Conv", x, self.weights(weight), self.weights(bias), pads=[pad] * 4)

    def block(self, x: str, block: nn.Sequential) -> str:
        """Convolution, batch norm and ReLU, twice."""
        layers = list(block)
        for convolution, norm in zip(layers[0::3], layers[1::3], strict=True):
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            x = self.add("Relu", self.convolution(x, *_folded(convolution, norm)))
        return x


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Float32, Float32]:
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    return (convolution.weight * scale[:, None, None, None]).detach().numpy(), bias.detach().numpy()


def export(network: ReferenceNet, out: Path, reliability: dict[str, float], training: dict[str, object]) -> None:
    """Write the model file.

    Parameters
    ----------
    network : ReferenceNet
    out : Path
    reliability : dict
        Structure that the network may speak for -> Dice on held-out scans.
    training : dict
        Provenance.
    """
    network = network.eval()
    graph = _Graph()
    x = graph.add(
        "Sub",
        graph.add("Mul", "slices", graph.constant(np.array([2.0], np.float32))),
        graph.constant(np.array([1.0], np.float32)),
    )
    x = graph.add("SpaceToDepth", x, blocksize=2)
    seen = []
    for level, block in enumerate(network.down):
        assert isinstance(block, nn.Sequential)
        if level:
            x = graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = graph.block(x, block if level else _depth_first(block))
        seen.append(x)
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    for level in reversed(range(len(network.up))):
        block = network.up[level]
        assert isinstance(block, nn.Sequential)
        wide = graph.add("Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric",
                         nearest_mode="floor")  # fmt: skip
        x = graph.block(graph.add("Concat", seen[level], wide, axis=1), block)
    assert network.out.bias is not None
    x = graph.convolution(x, network.out.weight.detach().numpy(), network.out.bias.detach().numpy())
    x = graph.add("DepthToSpace", x, blocksize=2, mode="CRD")
    best = graph.add("ArgMax", x, axis=1, keepdims=0)
    graph.nodes.append(helper.make_node("Cast", [best], ["classes"], to=TensorProto.UINT8))

    channels = len(NARROW_MM) + len(WIDE_MM)
    slices = helper.make_tensor_value_info("slices", TensorProto.FLOAT, ["n", channels, "h", "w"])
    classes = helper.make_tensor_value_info("classes", TensorProto.UINT8, ["n", "h", "w"])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "reference", [slices], [classes], graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=9,
    )
    card = ReferenceCard(
        CLASSES, reliability, NARROW_MM, WIDE_MM, NARROW_HU, WIDE_HU, PIXEL_MM, _STEP_MM, MULTIPLE, training
    )
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, out)


def _depth_first(block: nn.Sequential) -> nn.Sequential:
    """The first block for ONNX's order of channels: SpaceToDepth counts pixels first, PyTorch's unshuffle channels."""
    first = block[0]
    assert isinstance(first, nn.Conv2d)
    channels = first.in_channels // 4
    order = np.arange(4 * channels).reshape(channels, 4).T.ravel()
    turned = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=False)
    turned.weight.data = first.weight.data[:, order]
    return nn.Sequential(turned, *list(block)[1:])


def load(checkpoint: Path) -> ReferenceNet:
    """The averaged network of a checkpoint."""
    network = ReferenceNet(len(CLASSES))
    network.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu")["average"])
    return network.eval()


def write_checksum(file: Path) -> None:
    """Enter a file into the ``SHA256SUMS`` beside it."""
    sums = file.parent / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {file.name}")]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    sums.write_text("\n".join([*lines, f"{digest}  {file.name}"]) + "\n")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--reliability", type=Path, required=True, help="JSON: structure -> Dice on held-out scans")
    arguments = parser.parse_args()
    state = torch.load(arguments.checkpoint, weights_only=True, map_location="cpu")
    training = {"steps": state["step"], "minutes": round(state["spent"] / 60, 1)}
    export(load(arguments.checkpoint), arguments.out, json.loads(arguments.reliability.read_text()), training)
    if (arguments.out.parent / "SHA256SUMS").exists():
        write_checksum(arguments.out)


if __name__ == "__main__":
    main()
