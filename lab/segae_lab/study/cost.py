"""What it costs to rate masks: segae, against the entropy and the Monte-Carlo dropout of a segmentation network.

The network is a 3D U-Net of the usual form with random weights: time and memory do not depend on them. It sees the scan
patch by patch, without overlap, and nothing of a patch is kept but two sums per structure, which is the least that it
can cost. It rates all structures at once; segae is told for one mask and for all. Each way runs in a process of its
own. Time is CPU time, so that a busy machine tells it too; memory is the peak beyond what the process held with torch
or ONNX Runtime imported and the inputs in place: weights, activations, work buffers.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.errors import DeviceError

_SPACING_MM = (3.0, 2.0, 2.0)
_MASKS = 24
_MiB = 1 << 20


@dataclass(frozen=True)
class Setting:
    """Voxels of the scan and of a patch, channels of the levels, passes of dropout, repeats of the cheap ways."""

    shape: tuple[int, int, int]
    patch: tuple[int, int, int]
    widths: tuple[int, ...]
    passes: int = 10
    repeats: int = 2


SETTINGS = {
    "small": Setting((48, 96, 96), (48, 96, 96), (16, 32, 64, 128)),
    "large": Setting((192, 256, 256), (96, 128, 128), (32, 64, 128, 256, 320), passes=20),
}

WAYS = ("segae, one mask", "segae, all masks", "entropy", "mc dropout")


def run_cost(model: str, size: str, device: str, threads: int) -> str:
    """Measure every way and return the table in Markdown.

    Raises
    ------
    DeviceError
        When `device` is not the CPU: the memory of a process on a GPU is not measured here.
    """
    if device != "cpu":
        raise DeviceError(f"device: got {device!r}; the study of costs measures a process on the CPU.")
    setting = SETTINGS[size]
    told = {}
    for way in WAYS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            told[way] = pool.submit(measured, way, setting, model, threads).result()
    base_seconds, base_bytes = told["segae, all masks"]
    lines = [
        f"Scan {setting.shape}, {_MASKS} masks; 3D U-Net of {setting.widths} channels, patch {setting.patch}, "
        f"{setting.passes} passes of dropout; {threads} thread(s).",
        "",
        "| rating | CPU time | against segae, all masks | peak memory | against segae, all masks |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for way, (seconds, size_bytes) in told.items():
        lines.append(
            f"| {way} | {seconds:.3g} s | {seconds / base_seconds:.2g}x | {size_bytes / _MiB:.0f} MiB "
            f"| {size_bytes / base_bytes:.2g}x |"
        )
    return "\n".join([*lines, ""])


def measured(way: str, setting: Setting, model: str, threads: int) -> tuple[float, int]:
    """CPU seconds, and the peak memory in bytes that a way needs beside its inputs. For a process of its own."""
    image, labels = scene(setting.shape)
    rate = (_judge if way.startswith("segae") else _network)(way, setting, model, threads)
    _forget_peak()
    before = _memory("VmRSS")
    times = []
    for _ in range(1 if way == "mc dropout" else setting.repeats + 1):
        begin = time.process_time()
        rate(image, labels)
        times.append(time.process_time() - begin)
    # The first turn opens the model and warms caches; the long way needs no warming.
    return statistics.median(times[1:] or times), _memory("VmHWM") - before


def scene(shape: tuple[int, int, int]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Noise in HU, and `_MASKS` boxes of labels 1, 2, ..."""
    rng = np.random.default_rng(0)
    image = rng.normal(40, 60, shape).astype(np.int16)
    labels = np.zeros(shape, np.uint8)
    rows = shape[1] // 6
    columns = shape[2] // 4
    for label in range(_MASKS):
        y, x = (label // 4) * rows, (label % 4) * columns
        labels[4:-4, y + 2 : y + rows - 2, x + 2 : x + columns - 2] = label + 1
    return image, labels


_Rate = Callable[[npt.NDArray[np.int16], npt.NDArray[np.uint8]], Any]


def _judge(way: str, _: Setting, model: str, threads: int) -> _Rate:
    import onnxruntime  # noqa: F401 - imported here so that it does not count

    from segae import Engine, structures

    named = dict(zip(range(1, _MASKS + 1), structures.names(), strict=False))
    opened: list[Engine] = []

    def rate(image: npt.NDArray[np.int16], labels: npt.NDArray[np.uint8]) -> Any:
        if not opened:
            opened.append(Engine(model, "cpu", threads))
        if way == "segae, one mask":
            return opened[0].score(image, labels, named[1], label=1, spacing=_SPACING_MM)
        return opened[0].assess_labels(image, labels, named, spacing=_SPACING_MM)

    return rate


def _network(way: str, setting: Setting, _: str, threads: int) -> _Rate:
    import torch

    torch.set_num_threads(threads)
    opened: list[torch.nn.Module] = []

    @torch.inference_mode()
    def rate(image: npt.NDArray[np.int16], _: npt.NDArray[np.uint8]) -> Any:
        if not opened:
            opened.append(plain_unet(setting.widths, _MASKS + 1).eval())
        net = opened[0]
        for layer in net.modules():
            if isinstance(layer, torch.nn.Dropout3d):
                layer.train(way == "mc dropout")
        uncertain, count = torch.zeros(_MASKS), torch.zeros(_MASKS)
        for place in patches(setting):
            hu = torch.from_numpy(image[place]).float()[None, None] / 200
            if way == "entropy":
                p = torch.softmax(net(hu)[0], dim=0)[1:]
                doubt, seen = -(p * torch.log(p + 1e-6)), p
            else:
                seen, squares = torch.zeros(_MASKS, *hu.shape[2:]), torch.zeros(_MASKS, *hu.shape[2:])
                for _turn in range(setting.passes):
                    p = torch.softmax(net(hu)[0], dim=0)[1:]
                    seen += p / setting.passes
                    squares += p.square_().div_(setting.passes)
                doubt = squares.sub_(seen.square())
            perhaps = seen > 1 / (2 * _MASKS)
            uncertain += (doubt * perhaps).sum(dim=(1, 2, 3))
            count += perhaps.sum(dim=(1, 2, 3))
        return uncertain / count.clamp(min=1)

    return rate


def patches(setting: Setting) -> list[tuple[slice, slice, slice]]:
    """Places of the patches, which tile the scan."""
    starts = [range(0, n, p) for n, p in zip(setting.shape, setting.patch, strict=True)]
    d, h, w = setting.patch
    return [
        (slice(z, z + d), slice(y, y + h), slice(x, x + w)) for z in starts[0] for y in starts[1] for x in starts[2]
    ]


def plain_unet(widths: tuple[int, ...], classes: int) -> Any:
    """3D U-Net: two 3x3x3 convolutions a level, strided down, transposed up, dropout behind every level."""
    from torch import Tensor, cat, nn

    def level(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, stride, 1), nn.InstanceNorm3d(outputs), nn.LeakyReLU(inplace=True),
            nn.Conv3d(outputs, outputs, 3, 1, 1), nn.InstanceNorm3d(outputs), nn.LeakyReLU(inplace=True),
            nn.Dropout3d(0.2),
        )  # fmt: skip

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = level(1, widths[0])
            self.down = nn.ModuleList(level(a, b, stride=2) for a, b in pairwise(widths))
            self.lift = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, 2) for a, b in pairwise(widths))
            self.up = nn.ModuleList(level(2 * a, a) for a in widths[:-1])
            self.out = nn.Conv3d(widths[0], classes, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            seen = []
            for block in self.down:
                seen.append(x)
                x = block(x)
            for i in reversed(range(len(self.up))):
                x = self.up[i](cat([seen.pop(), self.lift[i](x)], dim=1))
            logits: Tensor = self.out(x)
            return logits

    return UNet()


def _forget_peak() -> None:
    """Let the peak begin anew: Linux, this process only."""
    Path("/proc/self/clear_refs").write_text("5")


def _memory(field: str) -> int:
    """Bytes that this process holds (VmRSS), or held at most (VmHWM)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
