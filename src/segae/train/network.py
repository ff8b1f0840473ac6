"""The judge: a small U-Net that draws the mask it would expect, and compares it with the given one.

Dense supervision teaches far more per slice than a single number, and shows where a mask is wrong. Precision and
recall start from the overlap of the given and the expected mask; a head that sees the pooled features corrects them.
Layers are plain 3x3 convolutions with few channels at high resolution: on CPUs these reach 40 to 70 GFLOP/s in ONNX
Runtime and in training, where depthwise ones reach 20 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-4


@dataclass(frozen=True)
class Widths:
    """Channels at a half, a quarter, an eighth and a sixteenth of the input's resolution, and in the last layer."""

    half: int = 24
    quarter: int = 40
    eighth: int = 80
    sixteenth: int = 160
    last: int = 16
    structure: int = 64


class Judgement(NamedTuple):
    """What the network says of a batch of slices."""

    precision: Tensor  # [n]
    recall: Tensor  # [n]
    truth_fraction: Tensor  # [n], share of the crop that the structure should cover
    expected_logits: Tensor  # [n, 1, h / 2, w / 2]


class _Unit(nn.Module):
    """Convolution, normalisation (folded into it on export) and rectifier."""

    def __init__(self, inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


class _Conditioned(nn.Module):
    """Residual convolution, scaled and shifted per channel by the structure (FiLM, arXiv 1709.07871)."""

    def __init__(self, channels: int, structure: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.film = nn.Linear(structure, 2 * channels)
        nn.init.normal_(self.film.weight, std=0.02)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, structure: Tensor) -> Tensor:
        scale, shift = self.film(structure)[:, :, None, None].chunk(2, dim=1)
        return x + torch.relu(self.norm(self.conv(x)) * (1 + scale) + shift)


class _StructureCode(nn.Module):
    """Index of a structure -> its code: from the name's meaning and facts, plus a learned vector where it was trained.

    The learned vector is dropped for a share of the training samples, and is zero for structures that training never
    saw, so that those are judged by their name alone.
    """

    table: Tensor

    def __init__(self, text: Tensor, facts: Tensor, width: int, drop: float = 0.3) -> None:
        super().__init__()
        self.drop = drop
        self.register_buffer("table", torch.cat([text * text.shape[1] ** 0.5, facts], dim=1))
        self.learned = nn.Embedding(len(text), width)
        nn.init.zeros_(self.learned.weight)
        self.first = nn.Linear(self.table.shape[1], width)
        self.second = nn.Linear(width, width)

    def forward(self, index: Tensor) -> Tensor:
        known = (
            functional.dropout1d(self.learned(index), self.drop, self.training)
            if self.training
            else self.learned(index)
        )
        x = self.first(self.table[index]) + known
        return torch.relu(x + self.second(torch.relu(x)))


class Judge(nn.Module):
    """Slices and structures -> `Judgement`.

    Parameters
    ----------
    text : tensor [structures, 384]
    facts : tensor [structures, f]
    channels : int
        Of the input.
    mask_channel : int
        Which of them is the given mask, in [-1, 1] or [0, 1] as `mask_gain` and `mask_bias` say.
    """

    def __init__(self, text: Tensor, facts: Tensor, channels: int, mask_channel: int, widths: Widths) -> None:
        super().__init__()
        w = widths
        self.mask_channel = mask_channel
        self.code = _StructureCode(text, facts, w.structure)
        self.stem = _Unit(channels, w.half, stride=2)
        self.down1, self.block1 = _Unit(w.half, w.quarter, stride=2), _Conditioned(w.quarter, w.structure)
        self.down2, self.block2 = _Unit(w.quarter, w.eighth, stride=2), _Conditioned(w.eighth, w.structure)
        self.down3, self.block3 = _Unit(w.eighth, w.sixteenth, stride=2), _Conditioned(w.sixteenth, w.structure)
        self.lift3, self.up2 = nn.Conv2d(w.sixteenth, w.eighth, 1), _Conditioned(w.eighth, w.structure)
        self.lift2, self.up1 = nn.Conv2d(w.eighth, w.quarter, 1), _Conditioned(w.quarter, w.structure)
        self.lift1, self.skip = nn.Conv2d(w.quarter, w.last, 1), nn.Conv2d(w.half, w.last, 1)
        self.up0, self.mask = _Unit(w.last, w.last), nn.Conv2d(w.last, 1, 1)
        self.hidden = nn.Linear(2 * w.sixteenth + w.structure + 4, w.structure)
        self.verdict = nn.Linear(w.structure, 3)
        nn.init.zeros_(self.verdict.weight)
        nn.init.zeros_(self.verdict.bias)

    def forward(self, slices: Tensor, structure: Tensor) -> Judgement:
        """Judge slices [n, c, h, w], sides divisible by 16, of structures [n]."""
        code = self.code(structure)
        x0 = self.stem(slices)
        x1 = self.block1(self.down1(x0), code)
        x2 = self.block2(self.down2(x1), code)
        x3 = self.block3(self.down3(x2), code)
        y2 = self.up2(x2 + _double(self.lift3(x3)), code)
        y1 = self.up1(x1 + _double(self.lift2(y2)), code)
        logits = self.mask(self.up0(torch.relu(self.skip(x0) + _double(self.lift1(y1)))))
        given = functional.avg_pool2d(slices[:, self.mask_channel : self.mask_channel + 1], 2)
        return self._judge(given, logits, x3, code)

    def _judge(self, given: Tensor, logits: Tensor, features: Tensor, code: Tensor) -> Judgement:
        """Overlap of given and expected mask, corrected by what the pooled features say."""
        expected = torch.sigmoid(logits)
        shared, area, wanted = (m.mean(dim=(1, 2, 3)) for m in (given * expected, given, expected))
        overlap = torch.stack([shared / (area + EPS), shared / (wanted + EPS), wanted], dim=1)
        overlap = _logit(overlap)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3)), code], dim=1)
        seen = torch.cat([pooled, overlap / 4, torch.sqrt(area)[:, None]], dim=1)
        verdict = torch.sigmoid(overlap + self.verdict(torch.relu(self.hidden(seen))))
        return Judgement(verdict[:, 0], verdict[:, 1], verdict[:, 2], logits)


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _logit(share: Tensor) -> Tensor:
    share = share.clamp(EPS, 1 - EPS)
    return torch.log(share) - torch.log1p(-share)
