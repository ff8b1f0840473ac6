"""The small network in the package that segments a scan: its file, what it says of itself, and how it is run."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.errors import ModelFileError
from segae.onnx_graph import metadata, read_model
from segae.session import model_path, open_runtime

METADATA_KEY = "segae_reference"
METADATA_VERSION = 1
_FILE = Path(__file__).parent.parent / "models" / "reference.onnx"


@dataclass(frozen=True)
class ReferenceCard:
    """What the file says of itself.

    Attributes
    ----------
    classes : tuple of str
        Structures in the order of the output's values, from 1.
    reliability : dict
        Structure that the network may speak for -> Dice on held-out scans.
    narrow_mm, wide_mm : tuple of float
        Distances along z of the slices that go in, with each of the windows.
    narrow_hu, wide_hu : (float, float)
    pixel_mm : float
        In the plane.
    step_mm : float
        Between slices that are segmented.
    multiple : int
        Height and width of the input are multiples of it.
    training : dict
        Provenance, free form.
    """

    classes: tuple[str, ...]
    reliability: dict[str, float]
    narrow_mm: tuple[float, ...]
    wide_mm: tuple[float, ...]
    narrow_hu: tuple[float, float]
    wide_hu: tuple[float, float]
    pixel_mm: float
    step_mm: float
    multiple: int
    training: dict[str, Any]

    def to_json(self) -> str:
        """Text for the file."""
        return json.dumps({"version": METADATA_VERSION, **self.__dict__})

    @staticmethod
    def from_json(text: str, path: Path) -> ReferenceCard:
        """Read what `to_json` wrote.

        Raises
        ------
        ModelFileError
            When the text is not what this version of segae understands.
        """
        try:
            data = json.loads(text)
            if data.pop("version") != METADATA_VERSION:
                raise ValueError("another version")
            lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
            return ReferenceCard(**{**data, **lists})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(
                f"reference: the metadata of {path} is damaged ({error}). Install segae again."
            ) from error


class ReferenceNetwork:
    """The network, opened on a device; threads may share it, and a forked child opens its own."""

    def __init__(self, path: str | os.PathLike[str], device: str) -> None:
        self.path = model_path(path)
        self._wanted = device
        self._lock = threading.Lock()
        self._inherited: list[Any] = []
        self._open()

    def _open(self) -> None:
        model = read_model(self.path)
        self._runtime, self.device = open_runtime(model, self.path, self._wanted)
        text = metadata(model, METADATA_KEY)
        if text is None:
            raise ModelFileError(f"reference: {self.path} is no reference network of segae.")
        self.card = ReferenceCard.from_json(text.decode(errors="replace"), self.path)
        self._pid = os.getpid()

    def run(self, slices: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Segment slices [n, channels, h, w]; returns classes uint8 [n, h, w], 0 for none."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._inherited.append(self._runtime)  # the parent's must not be torn down here
                    self._open()
        (classes,) = self._runtime.run(["classes"], {"slices": slices})
        found: npt.NDArray[np.uint8] = classes
        return found


@lru_cache(maxsize=4)
def built_in_network(device: str) -> ReferenceNetwork:
    """The network in the package, opened once a device.

    Raises
    ------
    ModelFileError, DeviceError
    """
    return ReferenceNetwork(_FILE, device)
