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
    """Channels at a half, a quarter, an eighth and a sixteenth of the input's resolution, and in the last layer.

    `wide` are those of the first layer that reads the wide views; they double twice.
    """

    half: int = 24
    quarter: int = 40
    eighth: int = 80
    sixteenth: int = 160
    last: int = 16
    structure: int = 64
    wide: int = 16


class Judgement(NamedTuple):
    """What the network says of a batch of slices."""

    precision: Tensor  # [n]
    recall: Tensor  # [n]
    truth_fraction: Tensor  # [n], share of the crop that the structure should cover
    whole_precision: Tensor  # [n], of the whole mask, as far as this slice and its surroundings tell
    whole_recall: Tensor  # [n]
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


class _Surroundings(nn.Module):
    """Wide views -> where in the body the slice lies, and how the mask goes on above and below it."""

    def __init__(self, channels: int, width: int, out: int) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.Sequential(
            *(_Unit(a, b, stride=2) for a, b in zip((channels, *widths[:-1]), widths, strict=True))
        )
        self.grid = nn.AdaptiveAvgPool2d(3)
        self.out = nn.Linear(9 * widths[-1], out)

    def forward(self, views: Tensor) -> Tensor:
        return torch.relu(self.out(self.grid(self.layers(views)).flatten(1)))


class _StructureCode(nn.Module):
    """Index of a structure -> its code: from the name's meaning and facts, plus a learned vector where it was trained.

    The learned vector is dropped for a share of the training samples, and is zero for structures that training never
    saw, so that those are judged by their name alone.
    """

    table: Tensor

    def __init__(self, text: Tensor, facts: Tensor, width: int, drop: float = 0.3) -> None:
        super().__init__()
        self.drop, self.text_width = drop, text.shape[1]
        self.register_buffer("table", torch.cat([text * text.shape[1] ** 0.5, facts], dim=1))
        self.learned = nn.Embedding(len(text), width)
        nn.init.zeros_(self.learned.weight)
        self.first = nn.Linear(self.table.shape[1], width)
        self.second = nn.Linear(width, width)

    def meaning(self, index: Tensor) -> Tensor:
        """Unit vectors [n, 384] of the structures' names."""
        text: Tensor = self.table[index, : self.text_width] / self.text_width**0.5
        return text

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
    channels, wide_channels : int
        Of the input: first those of the crop, then those of the wide views.
    mask_channel : int
        Which of the first is the given mask, in [0, 1].
    """

    def __init__(
        self, text: Tensor, facts: Tensor, channels: int, wide_channels: int, mask_channel: int, widths: Widths
    ) -> None:
        super().__init__()
        w = widths
        self.mask_channel, self.channels = mask_channel, channels
        self.code = _StructureCode(text, facts, w.structure)
        # The surroundings say something of the structure's place before anything is looked at, and something of the
        # whole mask in the end. Both begin as nothing.
        self.surroundings = _Surroundings(wide_channels, w.wide, 2 * w.structure)
        self.place = nn.Linear(3 * w.structure, w.structure)
        self.whole = nn.Linear(w.structure, 2)
        self.hint = nn.Linear(2 * w.structure, w.structure)
        for begun in (self.place, self.whole, self.hint):
            nn.init.zeros_(begun.weight)
            nn.init.zeros_(begun.bias)
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
        crop, views = slices[:, : self.channels], slices[:, self.channels :]
        code, around = self.code(structure), self.surroundings(views)
        code = code + self.place(torch.cat([code, around], dim=1))
        x0 = self.stem(crop)
        x1 = self.block1(self.down1(x0), code)
        x2 = self.block2(self.down2(x1), code)
        x3 = self.block3(self.down3(x2), code)
        y2 = self.up2(x2 + _double(self.lift3(x3)), code)
        y1 = self.up1(x1 + _double(self.lift2(y2)), code)
        logits = self.mask(self.up0(torch.relu(self.skip(x0) + _double(self.lift1(y1))))).float()
        given = functional.avg_pool2d(slices[:, self.mask_channel : self.mask_channel + 1], 2)
        pooled = torch.cat([x3.mean(dim=(2, 3)), x3.amax(dim=(2, 3)), code], dim=1).float()
        return self._judge(given, logits, pooled, self.hint(around).float())

    def _judge(self, given: Tensor, logits: Tensor, pooled: Tensor, hint: Tensor) -> Judgement:
        """Overlap of given and expected mask, corrected by what the pooled features and the surroundings say."""
        expected = torch.sigmoid(logits)
        shared, area, wanted = (m.mean(dim=(1, 2, 3)) for m in (given * expected, given, expected))
        overlap = torch.stack([shared / (area + EPS), shared / (wanted + EPS), wanted], dim=1)
        overlap = _logit(overlap)
        seen = torch.cat([pooled, overlap / 4, torch.sqrt(area)[:, None]], dim=1)
        thought = torch.relu(self.hidden(seen) + hint)
        correction = self.verdict(thought).float()
        verdict = torch.sigmoid(overlap + correction)
        # The whole mask is first taken to be like this slice.
        whole = torch.sigmoid((overlap + correction)[:, :2] + self.whole(thought).float())
        return Judgement(verdict[:, 0], verdict[:, 1], verdict[:, 2], whole[:, 0], whole[:, 1], logits)


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _logit(share: Tensor) -> Tensor:
    share = share.clamp(EPS, 1 - EPS)
    return torch.log(share) - torch.log1p(-share)
