"""The published pipeline, written plainly in torch: what segae is measured against.

SegAE (arXiv 2601.14406), as issued: the slices that hold any of the mask are found with `np.any`, up to ten of them are
cropped with a margin of 20 pixels, stretched to 256 x 256 by Pillow, and go one at a time through a ResNet-50 whose
features are gated by a 512-d embedding of the structure's name; the mean over the slices is the score. Weights are
random: time does not depend on them. Nothing is made slower than it need be: the model is loaded once, in inference
mode, and uses as many threads as it is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

Array = npt.NDArray[Any]

SLICES = 10
SIDE_PX = 256
MARGIN_PX = 20
TEXT = 512
FEATURES = 2048


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut (He et al., arXiv 1512.03385)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class PaperNet(nn.Module):
    """ResNet-50 on CT and mask, its features gated by the structure's text embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        blocks = []
        inputs = 64
        for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for i in range(depth):
                blocks.append(Bottleneck(inputs, width, stride if i == 0 else 1))
                inputs = 4 * width
        self.layers = nn.Sequential(*blocks)
        self.attention1 = nn.Linear(FEATURES + TEXT, FEATURES)
        self.attention2 = nn.Linear(FEATURES + TEXT, 50)
        self.fc1 = nn.Linear(FEATURES, 50)
        self.fc2 = nn.Linear(50, 1)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        f = self.layers(self.stem(x)).mean(dim=(2, 3))
        both = torch.cat([f, text], dim=1)
        score: Tensor = self.fc2(self.attention2(both) * self.fc1(self.attention1(both) * f))
        return score


class Baseline:
    """The pipeline with its model loaded.

    Parameters
    ----------
    threads : int
        Of torch, for the whole process.
    """

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.net = PaperNet().eval()
        self.text = torch.randn(1, TEXT)

    @torch.inference_mode()
    def score(self, image: Array, mask: Array) -> float:
        """Score one mask [z, y, x] of an image in HU on the same grid."""
        scores = [self.net(x, self.text).item() for x in prepare(image, mask)]
        return float(np.mean(scores))


def prepare(image: Array, mask: Array) -> list[Tensor]:
    """Find, crop, window and resize the slices: network inputs float32 [1, 2, 256, 256]."""
    mask = mask.astype(np.float32)
    filled = np.where(np.any(mask, axis=(1, 2)))[0]
    if len(filled) > SLICES:
        filled = filled[[int(len(filled) / SLICES * i) for i in range(SLICES)]]
    return [_prepare_slice(image[z], mask[z]) for z in filled]


def _prepare_slice(ct: Array, mask: Array) -> Tensor:
    rows, columns = _crop_box(mask)
    ct, mask = ct[rows, columns].astype(np.float32), mask[rows, columns]
    ct = (np.clip(ct, -200, 200) + 200) / 400
    ct, mask = (
        np.asarray(Image.fromarray(a).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)) for a in (ct, mask)
    )
    return torch.from_numpy(np.stack([(ct - 0.5) / 0.25, (mask - 0.5) / 0.5]))[None]


def _crop_box(mask: Array) -> tuple[slice, slice]:
    """The mask's box, 20 pixels wider on each side and squared once, as far as the slice reaches."""
    height, width = mask.shape
    rows = np.where(np.any(mask, axis=1))[0]
    columns = np.where(np.any(mask, axis=0))[0]
    r0, r1 = max(rows[0] - MARGIN_PX, 0), min(rows[-1] + MARGIN_PX, height)
    c0, c1 = max(columns[0] - MARGIN_PX, 0), min(columns[-1] + MARGIN_PX, width)
    h, w = r1 - r0, c1 - c0
    if h > w:
        c0, c1 = max(c0 - (h - w) // 2, 0), min(c1 + (h - w) // 2, width)
    elif w > h:
        r0, r1 = max(r0 - (w - h) // 2, 0), min(r1 + (w - h) // 2, height)
    return slice(r0, r1), slice(c0, c1)
