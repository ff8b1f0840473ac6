"""What scoring costs on an NVIDIA GPU, device arrays in and scores out. Needs torch with CUDA and a CUDA build.

    python benchmarks/bench_gpu.py [--turns 20] [--out FILE]

Times are from call to scores in hand, the device idle before and after; medians of turns taken in alternation. The
bytes that scan and sample must move are those of the volumes and crops that they read and of the slices that they
write, and the bandwidth that they are held against is that of a copy on the same device.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scene
import torch
from torch import nn

import segae
from segae import _core
from segae.judging import check_places, plan
from segae.masks import read_masks
from segae.slices import cut_on_device
from segae.volume import Geometry, load_pair

DEVICE = "cuda"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--out", type=Path, help="append the table to this file")
    given = parser.parse_args()
    if not torch.cuda.is_available() or not _core.built_with_cuda():
        sys.exit("bench_gpu: needs a GPU, torch with CUDA and a build with SEGAE_CUDA=ON. Nothing was measured.")
    lines = ["| what | measured | against | ratio | wanted |", "|---|---:|---:|---:|---:|"]
    print("\n".join(lines))
    for measure in (scores, paper_size, bandwidth, training_step):
        for line in measure(given.turns):
            lines.append(line)
            print(line, flush=True)
    if given.out:
        with given.out.open("a") as file:
            file.write("\n".join([*heading(given.turns), *lines, ""]))


def scores(turns: int) -> list[str]:
    """The default model: one mask of a whole scan, and 64 patches."""
    engine = segae.Engine(device=DEVICE)
    ct, liver = torch.as_tensor(scene.ct(), device=DEVICE), torch.as_tensor(scene.liver(), device=DEVICE)
    images, masks = patches(64)
    one, many = medians(
        [
            lambda: engine.score(ct, liver, "liver", spacing=scene.SPACING_MM),
            lambda: engine.score_batch(images, masks, "liver", spacing=scene.SPACING_MM),
        ],
        turns,
    )
    return [
        f"| score, 512x512x300 on the device | {1e3 * one:.2f} ms | the paper: 60 ms | {0.06 / one:.0f}x | 3 ms |",
        f"| score_batch, 64 patches of 128^3, a mask | {1e3 * many / 64:.3f} ms | | | 0.3 ms |",
    ]


def paper_size(turns: int) -> list[str]:
    """A ResNet-50 of the paper's size in half precision, with random weights, through the same path."""
    from segae.recipe import ModelCard
    from segae.train.convert import PAPER_RECIPE
    from segae.train.export import write_onnx
    from segae.train.paper import TEXT_WIDTH, PaperJudge

    class InHalf(nn.Module):
        def __init__(self, judge: nn.Module) -> None:
            super().__init__()
            self.judge = judge.half()

        def forward(self, slices: torch.Tensor, structure: torch.Tensor) -> torch.Tensor:
            return self.judge(slices.half(), structure).float()

    names = ("liver", "spleen")
    card = ModelCard("random-resnet50-fp16", PAPER_RECIPE, names, frozenset(names), {"dice": "dice"})
    images, masks = patches(64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.onnx"
        write_onnx(InHalf(PaperJudge(torch.randn(len(names), TEXT_WIDTH))).eval(), card, path)
        engine = segae.Engine(path, DEVICE)
        (many,) = medians([lambda: engine.score_batch(images, masks, "liver", spacing=scene.SPACING_MM)], turns)
    return [f"| ResNet-50, fp16, 64 patches of 128^3, a mask | {1e3 * many / 64:.3f} ms | | | 2 ms |"]


def bandwidth(turns: int) -> list[str]:
    """Finding and cutting the slices of 64 patches against the bytes that must move."""
    engine = segae.Engine(device=DEVICE)
    session, recipe = engine._judge.session, engine._judge.session.card.recipe
    images, masks = patches(64)
    pairs = [
        load_pair(image, mask, Geometry(spacing=scene.SPACING_MM)) for image, mask in zip(images, masks, strict=True)
    ]
    check_places(pairs, engine.device)
    names = [f"masks[{i}]" for i in range(len(pairs))]
    scans = [labels for _, labels in read_masks([mask for _, mask in pairs], names, 1, binary=True)]
    liver = segae.structures.get("liver")
    tasks = [plan(*pair, liver, scan[1], session, 1) for pair, scan in zip(pairs, scans, strict=True)]
    lent = [(image.array.lent, mask.array.lent) for image, mask in pairs]
    n = [len(task.plan.index) for task in tasks]
    pair_of = np.repeat(np.arange(len(tasks)), n)
    index = np.concatenate([task.plan.index for task in tasks])
    crop = np.concatenate([task.plan.crop for task in tasks])
    label = np.ones(len(index), np.int64)
    spacings = [scene.SPACING_MM] * len(tasks)

    source = torch.empty(1 << 29, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    copy, scan_time, sample_time = medians(
        [
            lambda: target.copy_(source),
            lambda: _core.scan_batch([mask for _, mask in lent]),
            lambda: cut_on_device(lent, recipe, spacings, pair_of, index, crop, label, len(index)),
        ],
        turns,
    )
    bytes_a_second = 2 * source.numel() / copy
    scan_bytes = masks.numel() * masks.element_size()
    shown = np.clip(crop, 0, 128)
    pixels = ((shown[:, 1] - shown[:, 0]) * (shown[:, 3] - shown[:, 2])).sum()
    # Channels of one slice share what they read; wide views are counted as if they read what the crop does.
    planes = {(channel.source, channel.offset_mm, channel.view) for channel in recipe.channels}
    item = {"image": images.element_size(), "mask": masks.element_size()}
    read = sum(item[source] for source, _, _ in planes) * pixels
    written = 4 * len(index) * len(recipe.channels) * recipe.size_px[0] * recipe.size_px[1]
    rows = []
    for name, seconds, moved in (("scan", scan_time, scan_bytes), ("sample", sample_time, read + written)):
        floor = moved / bytes_a_second
        rows.append(
            f"| {name}, 64 patches | {1e3 * seconds:.3f} ms | {1e3 * floor:.3f} ms to move {moved / 1e6:.0f} MB "
            f"at {bytes_a_second / 1e9:.0f} GB/s | {seconds / floor:.1f}x | 2x |"
        )
    return rows


def training_step(turns: int) -> list[str]:
    """A step of a 3D U-Net on 8 patches of 128^3, with and without scoring its predictions."""
    engine = segae.Engine(device=DEVICE)
    net = UNet().to(DEVICE)
    optimiser = torch.optim.AdamW(net.parameters())
    images, truth = patches(8)

    def step(*, scored: bool) -> None:
        with torch.autocast(DEVICE, dtype=torch.float16):
            logits = net(images[:, None].clamp(-160, 240).float() / 200)
        loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0].float(), truth.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if scored:
            # The truth stands for a prediction: that of a net after few steps is empty, and costs nothing to score.
            engine.score_batch(images, truth, "liver", spacing=scene.SPACING_MM)

    plain, scored = medians([lambda: step(scored=False), lambda: step(scored=True)], turns)
    return [
        f"| training step of a 3D U-Net, 8 patches of 128^3, scored | {1e3 * scored:.1f} ms | {1e3 * plain:.1f} ms "
        f"without | {100 * (scored / plain - 1):+.1f} % | +3 % |"
    ]


class UNet(nn.Module):
    """Four levels of 32 to 256 channels, two convolutions each."""

    def __init__(self) -> None:
        super().__init__()
        widths = [32, 64, 128, 256]
        self.down = nn.ModuleList(self._level(i, o) for i, o in zip([1, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(self._level(i + o, o) for i, o in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Conv3d(widths[0], 1, 1)

    @staticmethod
    def _level(inputs: int, outputs: int) -> nn.Module:
        layers: list[nn.Module] = []
        for i in (inputs, outputs):
            layers += [nn.Conv3d(i, outputs, 3, padding=1), nn.InstanceNorm3d(outputs, affine=True), nn.LeakyReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for i, level in enumerate(self.down):
            x = level(nn.functional.max_pool3d(x, 2) if i else x)
            kept.append(x)
        for level, skip in zip(self.up, kept[-2::-1], strict=True):
            x = level(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), skip], 1))
        return self.last(x)


def patches(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """CT int16 and masks uint8, [n, 128, 128, 128], cut from a scan around its liver."""
    ct, liver = scene.ct(), scene.liver()
    rng = np.random.default_rng(1)
    corners = rng.integers((60, 150, 80), (120, 220, 150), (n, 3))
    cut = [tuple(slice(c, c + 128) for c in corner) for corner in corners]
    return tuple(torch.as_tensor(np.stack([volume[c] for c in cut]), device=DEVICE) for volume in (ct, liver))


def medians(jobs: list[Callable[[], object]], turns: int) -> list[float]:
    """Median seconds of each job; the first three turns, which open models and warm caches, do not count."""
    times: list[list[float]] = [[] for _ in jobs]
    for turn in range(turns + 3):
        for job, mine in zip(jobs, times, strict=True):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            job()
            torch.cuda.synchronize()
            if turn >= 3:
                mine.append(time.perf_counter() - begin)
    return [statistics.median(mine) for mine in times]


def heading(turns: int) -> list[str]:
    return [
        "",
        "## Benchmarks",
        "",
        f"{datetime.date.today()}, {torch.cuda.get_device_name()}, segae {segae.__version__}, "
        f"torch {torch.__version__}, Python {platform.python_version()}; medians of {turns} turns.",
        "",
    ]


if __name__ == "__main__":
    main()
