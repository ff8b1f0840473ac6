"""Gives a model file an 8-bit form of its network, which CPUs with 8-bit dot products run in half the time."""

from __future__ import annotations

import base64
import logging
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from segae.int8 import INT8_KEY
from segae.train.feed import Ring
from segae.train.synthesis import nameless

log = logging.getLogger("segae.train")

Inputs = dict[str, npt.NDArray[Any]]

_BATCH = 32
# A form that says something else by more than this on average is left out.
_MOST_APART = 0.01
# What is compared: predictions, or the classes of a segmentation.
_COMPARED = ("precision", "recall", "classes")


def add_int8(model: Path, batches: Iterable[Inputs], calibrating: int = 384, compared: int = 512) -> bool:
    """Quantise the convolutions of a model file, and keep the outcome in its metadata.

    Activations get unsigned and weights signed 8 bits, weights a scale for every output channel.

    Parameters
    ----------
    model : Path
        Changed in place.
    batches : iterable of dict
        Inputs of the network as in use.
    calibrating, compared : int
        Slices that tell the range of every activation, and further ones on which both forms are compared.

    Returns
    -------
    bool
        False, and the file as it was, where the outcome differs by more than 0.01 from the float form on average (of
        classes: in more than a hundredth of the pixels), or there are too few slices to tell.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    parts = _parts(batches)
    first, others = _slices(parts, calibrating), _slices(parts, compared)
    if not others:
        log.warning("%s: too few samples for an 8-bit form", model.name)
        return False
    waiting = iter(first)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Inputs | None:
            return next(waiting, None)

    with tempfile.TemporaryDirectory() as place:
        plain, small = Path(place) / "plain.onnx", Path(place) / "small.onnx"
        file = onnx.load(str(model))
        del file.metadata_props[:]
        onnx.save(file, str(plain))
        quant_pre_process(str(plain), str(plain), skip_symbolic_shape=True)
        quantize_static(
            str(plain), str(small), Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["Conv"],
        )  # fmt: skip
        apart = _apart(plain, small, others)
        if apart > _MOST_APART:
            log.warning("%s: its 8-bit form says %.3f else on average and is left out", model.name, apart)
            return False
        data = small.read_bytes()
    file = onnx.load(str(model))
    kept = [entry for entry in file.metadata_props if entry.key != INT8_KEY]
    del file.metadata_props[:]
    file.metadata_props.extend(kept)
    entry = file.metadata_props.add()
    entry.key, entry.value = INT8_KEY, base64.b64encode(zlib.compress(data, 9)).decode("ascii")
    onnx.save(file, str(model))
    log.info("%s: 8-bit form of %.1f MB, %.4f from the float form on average", model.name, len(data) / 1e6, apart)
    return True


def samples_of(ring: Ring) -> Iterator[Inputs]:
    """The samples of a training as the network takes them, nameless regions left out."""
    for file in ring.files():
        samples = ring.get(file)
        samples = samples.take(np.flatnonzero(samples.structure < nameless()))
        slices = np.ascontiguousarray(samples.slices.transpose(0, 3, 1, 2), np.float32) / 255
        yield {"slices": slices, "structure": samples.structure.astype(np.int64)}


def _parts(batches: Iterable[Inputs]) -> Iterator[Inputs]:
    for batch in batches:
        for begin in range(0, len(batch["slices"]), _BATCH):
            yield {name: values[begin : begin + _BATCH] for name, values in batch.items()}


def _slices(parts: Iterator[Inputs], count: int) -> list[Inputs]:
    """Parts with so many slices or a few more; none where there are fewer."""
    taken: list[Inputs] = []
    for part in parts:
        taken.append(part)
        count -= len(part["slices"])
        if count <= 0:
            return taken
    return []


def _apart(plain: Path, small: Path, compared: Iterable[Inputs]) -> float:
    """Mean absolute difference of the two forms' predictions, or the share of pixels of another class."""
    import onnxruntime

    sessions = [onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (plain, small)]
    names = [output.name for output in sessions[0].get_outputs() if output.name in _COMPARED]
    differences = []
    for inputs in compared:
        for one, other in zip(*(session.run(names, inputs) for session in sessions), strict=True):
            apart = one != other if one.dtype.kind in "iu" else np.abs(one - other)
            differences.append(float(apart.mean()))
    return float(np.mean(differences))
