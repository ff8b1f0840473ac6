"""A model file opened in ONNX Runtime. The only user of onnxruntime: providers, device check, threads, forks."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.errors import DeviceError, ModelFileError
from segae.recipe import METADATA_KEY, ModelCard
from segae.threads import available_threads

# Most slices that a CPU thread judges at once: more gain nothing, and activations stay in the tens of megabytes.
_CHUNK = 16

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_MODELS = Path(__file__).parent / "models"
_CHECKSUMS = _MODELS / "SHA256SUMS"
_MODEL_INPUTS = {"slices", "structure"}


class Session:
    """One model on one device.

    Threads may share a session. It pickles as its settings, and a forked child opens its own runtime, since ONNX
    Runtime's thread pool does not survive either.

    Parameters
    ----------
    model : "default" or path
        A file with segae's metadata.
    device : str
        "auto", "cpu", "cuda" or "cuda:N" ("gpu" says the same).
    threads : int or None
        How many may cut and judge slices at once on the CPU; None takes all that this process may use.

    Raises
    ------
    ModelFileError
        When the file is missing, damaged or foreign.
    DeviceError
        When a device is named and cannot be had.
    """

    def __init__(self, model: str | os.PathLike[str], device: str, threads: int | None) -> None:
        self.path = model_path(model)
        self.threads = threads or available_threads()
        self._wanted = _parse_device(device)
        self._lock = threading.Lock()
        self._open()

    @property
    def workers(self) -> int:
        """How many threads may call `run` at once, to make use of the device."""
        return self.threads if self.device == "cpu" else 1

    def chunk_size(self, slices: int) -> int:
        """How many of so many slices to hand to `run` at once."""
        return min(_CHUNK, -(-slices // self.workers))

    def run(
        self, slices: npt.NDArray[np.float32], structure: npt.NDArray[np.int64], roles: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Run the network, on the CPU in the caller's thread.

        Parameters
        ----------
        slices : float32 [n, c, h, w]
        structure : int64 [n]
            Index into ``card.structures``.
        roles : sequence of str, optional
            Of ``card.outputs``; default: all.

        Returns
        -------
        dict
            Role -> float32 array with n rows.
        """
        roles = list(self.card.outputs if roles is None else roles)
        names = [self.card.outputs[role] for role in roles]
        found = self._runtime().run(names, {"slices": slices, "structure": structure})
        return dict(zip(roles, found, strict=True))

    def structure_index(self, name: str) -> int:
        """Index of a canonical structure name in the model's table.

        Raises
        ------
        ModelFileError
            When the model has no row for the structure.
        """
        if name not in self._index:
            raise ModelFileError(f"model: {self.path.name} has no entry for the structure {name!r}.")
        return self._index[name]

    def _open(self) -> None:
        runtime = _import_runtime()
        options = runtime.SessionOptions()
        # Slices are judged independently of each other, so the threads are ours, one a chunk of slices: the runtime
        # has no pool that waits, spins or is lost in a fork.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers, self.device = _providers(runtime, self._wanted)
        try:
            self._session = runtime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise ModelFileError(
                f"model: {self.path} cannot be opened as an ONNX file ({type(error).__name__}: {error})."
            ) from error
        if self.device != "cpu" and self._session.get_providers()[0] != _CUDA:
            raise DeviceError(
                f"device: asked for {self.device}, but ONNX Runtime opened {self._session.get_providers()}. "
                f"`segae doctor` says what is missing."
            )
        self.card = _read_card(self._session, self.path)
        self._index = {name: index for index, name in enumerate(self.card.structures)}
        self._pid = os.getpid()  # last: it tells other threads that the session is this process's own

    def _runtime(self) -> Any:
        if self._pid != os.getpid():
            with self._lock:  # the parent never holds it, so a child never inherits it locked
                if self._pid != os.getpid():
                    # A forked child: the parent's thread pool is not here. Its session must not be torn down either.
                    _INHERITED.append(self._session)
                    self._open()
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "threads": self.threads, "_wanted": self._wanted}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._open()


# Sessions of a parent process, kept until this child ends.
_INHERITED: list[Any] = []


def model_path(model: str | os.PathLike[str]) -> Path:
    """Path of a model file: "default" is the one in the package.

    Raises
    ------
    ModelFileError
        When there is no such file, or a packaged one differs from its known checksum.
    """
    # Absolute, so that an engine unpickled in another working directory finds it.
    path = _MODELS / "default.onnx" if model == "default" else Path(model).absolute()
    if not path.is_file():
        raise ModelFileError(f'model: no such file: {path}. Pass a path to an .onnx file, or "default".')
    if path.parent == _MODELS:
        known = {name: digest for digest, name in map(str.split, _CHECKSUMS.read_text().splitlines())}
        if known.get(path.name) != hashlib.sha256(path.read_bytes()).hexdigest():
            raise ModelFileError(f"model: {path} differs from its checksum. Install segae again.")
    return path


def runtime_providers() -> list[str]:
    """Execution providers that the installed ONNX Runtime was built with; whether they work is another matter."""
    return list(_import_runtime().get_available_providers())


def cuda_driver_devices() -> int:
    """Number of CUDA devices that the installed driver shows; 0 without a driver.

    Asked of the driver itself, because ONNX Runtime prints errors when its CUDA provider is tried without one.
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _import_runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceError(
            "ONNX Runtime is not installed: pip install onnxruntime-gpu (Linux and Windows on x86-64) "
            "or pip install onnxruntime."
        ) from error
    return onnxruntime


def _parse_device(device: str) -> str:
    text = str(device).lower().replace("gpu", "cuda")
    kind, _, number = text.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
        raise DeviceError(f'device: expected "auto", "cpu", "cuda" or "cuda:N", got {device!r}.')
    return f"cuda:{number or 0}" if kind == "cuda" else kind


def _providers(runtime: Any, wanted: str) -> tuple[list[Any], str]:
    """Providers to ask for, and the device that they mean."""
    if wanted == "cpu":
        return [_CPU], "cpu"
    built_in = _CUDA in runtime.get_available_providers()
    devices = cuda_driver_devices() if built_in else 0
    if wanted == "auto":
        if devices == 0:
            return [_CPU], "cpu"
        wanted = "cuda:0"
    number = int(wanted.partition(":")[2])
    if not built_in:
        raise DeviceError(
            f"device: {wanted} needs a GPU build of ONNX Runtime; installed providers: "
            f"{runtime.get_available_providers()}. pip uninstall onnxruntime && pip install onnxruntime-gpu"
        )
    if number >= devices:
        raise DeviceError(
            f"device: {wanted} was asked for, but the NVIDIA driver shows {devices} device(s). "
            f'Use device="cpu", or check `nvidia-smi` and CUDA_VISIBLE_DEVICES.'
        )
    if hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    return [(_CUDA, {"device_id": number, "cudnn_conv_algo_search": "HEURISTIC"}), _CPU], wanted


def _read_card(session: Any, path: Path) -> ModelCard:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelFileError(
            f"model: {path} is an ONNX file without segae's metadata, so its recipe is unknown. "
            f"Export it with segae.train, or convert the authors' checkpoint."
        )
    card = ModelCard.from_json(text, str(path))
    inputs = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    missing = set(card.outputs.values()) - {tensor.name for tensor in session.get_outputs()}
    if inputs.keys() != _MODEL_INPUTS or missing:
        raise ModelFileError(
            f"model: {path} has inputs {sorted(inputs)} (expected {sorted(_MODEL_INPUTS)}) "
            f"and lacks the outputs {sorted(missing)} that its metadata names."
        )
    wanted = [len(card.recipe.channels), *card.recipe.size_px]
    given = inputs["slices"][1:]
    if len(given) != 3 or any(isinstance(g, int) and g != w for g, w in zip(given, wanted, strict=True)):
        raise ModelFileError(
            f"model: {path} takes slices of shape [n, c, h, w] = {inputs['slices']}, but the recipe in its metadata "
            f"makes {wanted}. Export the model again."
        )
    return card
