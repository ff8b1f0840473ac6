"""Weights of the built-in reference in 8 bits, and an 8-bit form of the whole network beside them.

``python -m segae_lab.reference.int8 DATA MODEL`` changes MODEL in place, as ``segae_lab.reference.export`` wrote it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from segae import volume
from segae.reference.builtin import BuiltInReference, knows_scan
from segae.reference.network import ReferenceNetwork
from segae.train import data
from segae.train.int8 import Inputs, add_int8

# Every so many slices of so many scans are looked at.
_EVERY, _SCANS = 8, 24


def round_weights(model: Path) -> None:
    """Store convolutions' weights in 8 bits with a scale for every output channel; the runtime unfolds them again."""
    file = onnx.load(str(model))
    weights = {tensor.name: tensor for tensor in file.graph.initializer}
    for node in file.graph.node:
        tensor = weights.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None or len(tensor.dims) != 4:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float32)
        scale = np.maximum(np.abs(values).max(axis=(1, 2, 3)), 1e-12) / 127
        rounded = np.rint(values / scale[:, None, None, None]).astype(np.int8)
        file.graph.initializer.remove(tensor)
        file.graph.initializer.append(numpy_helper.from_array(rounded, tensor.name))
        file.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{tensor.name}_scale"))
        unfolded = helper.make_node(
            "DequantizeLinear", [tensor.name, f"{tensor.name}_scale"], list(node.output), axis=0
        )
        node.CopyFrom(unfolded)
    onnx.save(file, str(model))


class _Recorder:
    """Looks like the network, and keeps what it is shown."""

    def __init__(self, network: ReferenceNetwork) -> None:
        self.device, self.card = "cpu", network.card
        self.seen: list[npt.NDArray[np.float32]] = []

    def run(self, slices: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        self.seen.append(slices)
        return np.zeros((len(slices), *slices.shape[2:]), np.uint8)


def slices_of(folder: Path, model: Path) -> Iterator[Inputs]:
    """What the network is shown of training scans, trunks first."""
    recorder: Any = _Recorder(ReferenceNetwork(model, "cpu"))
    cases = sorted(data.cases(folder, "train"), key=lambda case: -case.image.stat().st_size)
    for case in cases[:_SCANS]:
        image = volume.load(case.image, "image")
        if knows_scan(image):
            reference = BuiltInReference(image, recorder, 1)
            for at in range(0, len(reference.index), _EVERY):
                reference.segment(np.array([at]))
                yield {"slices": recorder.seen.pop()}


def main() -> None:
    """Change the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    round_weights(options.model)
    if not add_int8(options.model, slices_of(options.data, options.model), calibrating=64, compared=160):
        raise SystemExit("the 8-bit form differs too much: the file has none")


if __name__ == "__main__":
    main()
