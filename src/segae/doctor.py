"""`segae doctor`: what is installed and what of it really works."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata

from segae import _core
from segae.cuda_driver import cuda_driver_devices
from segae.errors import DeviceError, SegaeError
from segae.session import Session, runtime_providers
from segae.threads import available_threads


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    detail: str
    good: bool = True


def examine() -> list[Finding]:
    """Look at the platform, the installed distribution, ONNX Runtime, CUDA and the default model, in that order."""
    return [
        Finding("segae", f"{_core.__version__} on Python {platform.python_version()}, {platform.platform()}"),
        _distribution(),
        _runtimes(),
        _kernels(),
        *(_device(device) for device in ("cpu", *(["cuda"] if cuda_driver_devices() else []))),
    ]


def _installed(*names: str) -> list[str]:
    """Which of these distributions are installed, with their versions."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def _distribution() -> Finding:
    installed = _installed("segae", "segae-cpu")
    if len(installed) == 2:
        return Finding(
            "distribution",
            f"{' and '.join(installed)} overwrite each other's files: "
            f"pip uninstall segae segae-cpu, then install one of them",
            good=False,
        )
    return Finding("distribution", installed[0] if installed else "none: imported from a folder of sources")


def _runtimes() -> Finding:
    installed = _installed("onnxruntime", "onnxruntime-gpu")
    if not installed:
        return Finding("ONNX Runtime", "not installed: pip install onnxruntime-gpu, or onnxruntime", good=False)
    if len(installed) == 2:
        return Finding(
            "ONNX Runtime",
            f"{' and '.join(installed)} overwrite each other's files: "
            f"pip uninstall onnxruntime onnxruntime-gpu, then install one of them",
            good=False,
        )
    try:
        providers = ", ".join(runtime_providers())
    except DeviceError as error:
        return Finding("ONNX Runtime", f"{installed[0]}: {error}", good=False)
    return Finding("ONNX Runtime", f"{installed[0]}, built with {providers}")


def _kernels() -> Finding:
    if not _core.built_with_cuda():
        return Finding("CUDA kernels", "not built in (SEGAE_CUDA=ON pip install ... builds them)")
    devices = ", ".join(_core.cuda_devices()) or "no device in this machine"
    return Finding("CUDA kernels", f"built in; {devices}")


def _device(device: str) -> Finding:
    try:
        session = Session("default", device, available_threads())
    except SegaeError as error:
        return Finding(f"default model on {device}", str(error), good=False)
    card = session.card
    return Finding(
        f"default model on {session.device}",
        f"{card.name}, {len(card.structures)} structures ({len(card.trained)} seen in training, "
        f"{len(card.synthetic)} of them in synthetic scans only), "
        f"{session.threads} threads, run by {session.provider}",
    )
