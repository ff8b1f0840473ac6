"""The 8-bit form of a network that its model file carries: half the time on CPUs that have instructions for it.

Sums of products of 8-bit integers are exact, so that all such CPUs say the same; from the float form scores differ by
0.005 on average (docs/reliability.md).
"""

from __future__ import annotations

import base64
import os
import zlib
from pathlib import Path

from segae.cpu_features import has_int8
from segae.errors import ModelFileError
from segae.onnx_graph import MOST_BYTES, check_graph, metadata

INT8_KEY = "segae_int8"
"""Key in the metadata of the model file: an ONNX file with the same inputs and outputs, by zlib, in base64."""


def fastest(model: bytes, path: Path, device: str) -> bytes:
    """The graph of a model file that is the fastest on a device: the file itself, or the 8-bit form that it carries."""
    carried = metadata(model, INT8_KEY) if device == "cpu" and uses_int8() else None
    if carried is None:
        return model
    try:
        small = zlib.decompressobj().decompress(base64.b64decode(carried, validate=True), MOST_BYTES)
    except (ValueError, zlib.error) as error:
        raise ModelFileError(
            f"model: the 8-bit form in {path} is damaged ({error}). Export the model again."
        ) from error
    check_graph(small, path)
    return small


def uses_int8() -> bool:
    """Whether networks run in 8-bit integers where their file has such a form: on CPUs that are faster so.

    SEGAE_FULL_PRECISION=1 in the environment says no.
    """
    return has_int8() and os.environ.get("SEGAE_FULL_PRECISION", "0") in ("", "0")
