"""A model file opened in ONNX Runtime. The only importer of onnxruntime: providers, device check, threads, forks."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.cards import read_card
from segae.cuda_driver import cuda_driver_devices, cuda_driver_version
from segae.errors import DeviceError, ModelFileError, ParameterError
from segae.int8 import fastest
from segae.onnx_graph import read_model
from segae.recipe import ModelCard

# Most slices that a CPU thread judges at once: more gain nothing, and activations stay in the tens of megabytes.
_CHUNK = 16
# On a GPU, batches are padded to one of these sizes, and each size has a runtime of its own: cuDNN plans a convolution
# anew whenever its shape changes, which takes ten times as long as the network. The first holds the slices of one mask.
_GPU_BATCHES = (16, 64, 256)

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_GPU_MEMORY = "cuda"
# A loop works on one stream, or on a few, with one or two sizes; each runtime holds the weights once more.
_MOST_RUNTIMES = 8
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
    threads : int
        How many may cut and judge slices at once on the CPU.

    Raises
    ------
    ModelFileError
        When the file is missing, damaged or foreign.
    DeviceError
        When a device is named and cannot be had.
    """

    def __init__(self, model: str | os.PathLike[str], device: str, threads: int) -> None:
        self.path = model_path(model)
        self.threads = threads
        self._wanted = _parse_device(device)
        self._lock, self._stream_lock = threading.Lock(), threading.Lock()
        self._open()

    @property
    def provider(self) -> str:
        """The execution provider that really runs the network."""
        return str(self._own_session().get_providers()[0])

    @property
    def workers(self) -> int:
        """How many threads may call `run` at once, to make use of the device."""
        return self.threads if self.device == "cpu" else 1

    def chunk_size(self, slices: int) -> int:
        """How many of so many slices to hand to `run` at once; the last chunk may hold fewer."""
        if self.device == "cpu":
            return max(1, min(_CHUNK, -(-slices // self.threads)))
        return next((size for size in _GPU_BATCHES if size >= slices), _GPU_BATCHES[-1])

    def run(
        self,
        slices: npt.NDArray[np.float32] | _core.DeviceSlices,
        structure: npt.NDArray[np.int64],
        roles: Sequence[str] | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Run the network: on the CPU in the caller's thread, on a GPU with the batch padded to a fixed size.

        Parameters
        ----------
        slices : float32 [n, c, h, w]
            In host memory; or on the session's GPU, with at least n rows, n being a size that `chunk_size` gave.
        structure : int64 [n]
            Index into ``card.structures``.
        roles : sequence of str, optional
            Of ``card.outputs``; default: all. No other output leaves the device.

        Returns
        -------
        dict
            Role -> float32 array with n rows, in host memory.
        """
        roles = list(self.card.outputs if roles is None else roles)
        names = [self.card.outputs[role] for role in roles]
        if isinstance(slices, np.ndarray):
            n = len(slices)
            size = n if self.device == "cpu" else max(n, self.chunk_size(n))
            inputs = {"slices": _padded(slices, size), "structure": _padded(structure, size)}
            found = self._runtime(size).run(names, inputs)
        else:
            n = len(structure)
            found = self._run_bound(names, slices, _padded(structure, slices.shape[0]))
        return {role: values[:n] for role, values in zip(roles, found, strict=True)}

    def _run_bound(
        self, names: list[str], slices: _core.DeviceSlices, structure: npt.NDArray[np.int64]
    ) -> list[npt.NDArray[Any]]:
        """Run on what lies on the GPU, behind the work that is queued on its stream; only `names` come back."""
        runtime = self._runtime(slices.shape[0], slices.stream)
        binding = runtime.io_binding()
        binding.bind_input("slices", _GPU_MEMORY, self._number, np.float32, list(slices.shape), slices.address)
        binding.bind_cpu_input("structure", structure)
        for name in names:
            binding.bind_output(name, "cpu")
        with self._stream_lock:  # one stream is one queue, whoever calls
            runtime.run_with_iobinding(binding)
            return list(binding.copy_outputs_to_cpu())

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
        self._runtimes: dict[tuple[int, int | None], Any] = {}
        model = read_model(self.path)
        self._session, self.device = open_runtime(model, self.path, self._wanted)
        self.card = read_card(model, self.path)
        _check_fits(self.card, self._session, self.path)
        self._index = {name: index for index, name in enumerate(self.card.structures)}
        self._pid = os.getpid()  # last: it tells other threads that the session is this process's own

    @property
    def _number(self) -> int:
        return int(self.device.partition(":")[2] or 0)

    def _own_session(self) -> Any:
        """The session that was opened first, by this process."""
        if self._pid != os.getpid():
            with self._lock:  # the parent never holds it, so a child never inherits it locked
                if self._pid != os.getpid():
                    # A forked child: the parent's session must neither be used nor torn down here.
                    _INHERITED.append((self._session, self._runtimes))
                    self._open()
        return self._session

    def _runtime(self, size: int, stream: int | None = None) -> Any:
        """What runs batches of a size: on a GPU, a session for each size and for each caller's stream."""
        first = self._own_session()
        if self.device == "cpu" or (stream is None and size == _GPU_BATCHES[0]):
            return first
        key = (size, stream)
        with self._stream_lock:
            if key not in self._runtimes:
                while len(self._runtimes) >= _MOST_RUNTIMES:
                    self._runtimes.pop(next(iter(self._runtimes)))
                self._runtimes[key] = open_runtime(read_model(self.path), self.path, self._wanted, stream)[0]
            return self._runtimes[key]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "threads": self.threads, "_wanted": self._wanted}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock, self._stream_lock = threading.Lock(), threading.Lock()
        self._open()


def open_runtime(model: bytes, path: Path, device: str, stream: int | None = None) -> tuple[Any, str]:
    """Open a model that was read; on a GPU, to work on a caller's stream where one is given.

    Parameters
    ----------
    model : bytes
        As `segae.onnx_graph.read_model` returns it.
    path : Path
        Where it lies; named in errors.
    device : str
    stream : int, optional

    Returns
    -------
    session : onnxruntime.InferenceSession
        With a single thread of its own: callers run it on as many threads as they like. The runtime then has no pool
        that waits, spins or is lost in a fork.
    device : str
        Where it really runs.

    Raises
    ------
    ModelFileError, DeviceError
    """
    runtime = _import_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers, device = _providers(runtime, _parse_device(device), stream)
    try:
        opened = runtime.InferenceSession(fastest(model, path, device), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ModelFileError(
            f"model: {path} cannot be opened as an ONNX file ({type(error).__name__}: {error})."
        ) from error
    if device != "cpu" and opened.get_providers()[0] != _CUDA:
        raise DeviceError(
            f"device: asked for {device}, but ONNX Runtime could only open {opened.get_providers()}. "
            f"{_why_no_cuda(runtime)}"
        )
    return opened, device


# Sessions of a parent process, kept until this child ends.
_INHERITED: list[Any] = []


def _padded(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if len(values) == size:
        return values
    padded = np.zeros((size, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded


def model_path(model: str | os.PathLike[str]) -> Path:
    """Path of a model file whose checksum, if it is one of the package, is right.

    Raises
    ------
    ModelFileError
        When there is no such file, or a packaged one differs from its known checksum.
    ParameterError
        When it is no path.
    """
    path = find_model(model)
    if path.parent == _MODELS:
        known = {name: digest for digest, name in map(str.split, _CHECKSUMS.read_text().splitlines())}
        if known.get(path.name) != hashlib.sha256(path.read_bytes()).hexdigest():
            raise ModelFileError(f"model: {path} differs from its checksum. Install segae again.")
    return path


def find_model(model: str | os.PathLike[str]) -> Path:
    """Absolute path of a model file: "default" is the one in the package.

    Raises
    ------
    ModelFileError
        When there is no such file.
    ParameterError
        When it is no path.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise ParameterError(f'model: expected "default" or the path of an .onnx file, got {model!r}.')
    # Absolute, so that an engine unpickled in another working directory finds it.
    path = _MODELS / "default.onnx" if model == "default" else Path(model).absolute()
    if not path.is_file():
        raise ModelFileError(f'model: no such file: {path}. Pass a path to an .onnx file, or "default".')
    return path


def runtime_providers() -> list[str]:
    """Execution providers that the installed ONNX Runtime was built with; whether they work is another matter."""
    return list(_import_runtime().get_available_providers())


def _import_runtime() -> Any:
    try:
        import onnxruntime
    except (ImportError, OSError, AttributeError) as error:  # also a package whose libraries cannot be loaded
        if not isinstance(error, ModuleNotFoundError) or error.name != "onnxruntime":
            raise DeviceError(
                f"ONNX Runtime is installed and cannot be loaded ({type(error).__name__}: {error}). pip uninstall "
                f"onnxruntime onnxruntime-gpu, then install one of them."
            ) from error
        raise DeviceError(
            "ONNX Runtime is not installed: pip install onnxruntime-gpu (Linux and Windows on x86-64) "
            "or pip install onnxruntime."
        ) from error
    # Two wheels share the folder onnxruntime: removing one takes files of the other, and an empty package is left.
    if not all(
        hasattr(onnxruntime, name) for name in ("InferenceSession", "SessionOptions", "get_available_providers")
    ):
        raise DeviceError(
            "ONNX Runtime is installed in part: files of it are missing, as when onnxruntime and onnxruntime-gpu were "
            "both installed and one was removed. pip uninstall onnxruntime onnxruntime-gpu, then install one of them."
        )
    return onnxruntime


def _parse_device(device: str) -> str:
    if not isinstance(device, str):
        raise DeviceError(f'device: expected "auto", "cpu", "cuda" or "cuda:N", got {device!r}.')
    text = device.lower().replace("gpu", "cuda")
    kind, _, number = text.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
        raise DeviceError(f'device: expected "auto", "cpu", "cuda" or "cuda:N", got {device!r}.')
    return f"cuda:{number or 0}" if kind == "cuda" else kind


def _providers(runtime: Any, wanted: str, stream: int | None) -> tuple[list[Any], str]:
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
    options: dict[str, Any] = {"cudnn_conv_algo_search": "HEURISTIC"}
    if number:  # ONNX Runtime warns of every number that it is told, the usual 0 among them
        options["device_id"] = number
    if stream is not None:
        # Never 0, which ONNX Runtime takes for "none given": the default stream is 1 here, as in CUDA's own headers.
        options["user_compute_stream"] = str(stream)
    return [(_CUDA, options), _CPU], wanted


def _why_no_cuda(runtime: Any) -> str:
    """What is likely missing when the CUDA provider does not open, and the line that installs it."""
    built_for = str(getattr(runtime, "cuda_version", "") or "")
    driver = cuda_driver_version()
    if built_for and driver and int(built_for.partition(".")[0]) > driver[0]:
        return (
            f"This ONNX Runtime was built for CUDA {built_for}, the NVIDIA driver knows CUDA up to "
            f"{driver[0]}.{driver[1]}: update the driver, or install a build of ONNX Runtime for CUDA {driver[0]}."
        )
    return (
        f"The libraries of CUDA {built_for or '(see its release notes)'} or cuDNN 9 are missing: "
        f"pip install 'segae[cuda]'. `segae doctor` tells what opens then."
    )


def card_of(model: str | os.PathLike[str]) -> ModelCard:
    """What a model file says of itself, without opening the network; the structures that it brings are known then.

    Raises
    ------
    ModelFileError
        As for `Session`.
    """
    path = model_path(model)
    return read_card(read_model(path), path)


def _check_fits(card: ModelCard, session: Any, path: Path) -> None:
    """Refuse a model whose network is not the one that its card describes."""
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
