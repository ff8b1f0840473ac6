"""The network of SegAE and Quality Sentinel (arXiv:2601.14406, arXiv:2406.00327), with the tensors of its checkpoint.

A ResNet sees CT and mask as two channels; the features are gated by linear maps of features and name embedding, and
one number per slice comes out. Module names are those of the published state dict, so that it loads as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TEXT_WIDTH = 512
GATE_WIDTH = 50

# Residual blocks per stage, and whether a block is a bottleneck (He et al., arXiv:1512.03385, table 1).
DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


class _Block(nn.Module):
    """Residual block of two 3x3 convolutions, or of 1x1, 3x3, 1x1 with four times the outputs."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * 4 if bottleneck else width
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(outputs)
        else:
            self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(torch.relu(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(y + shortcut)


class _Stages(nn.Module):
    """The four stages of a ResNet; the published code keeps them under ``net``."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks, bottleneck = DEPTHS[depth]
        inputs = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            layers = []
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                layers.append(_Block(inputs, width, stride, bottleneck))
                inputs = width * 4 if bottleneck else width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.features = inputs

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.children():
            x = stage(x)
        return x


class PaperJudge(nn.Module):
    """Slices [n, 2, h, w] and structure index [n] -> Dice [n], not bounded.

    Parameters
    ----------
    text : tensor [structures, 512]
        Name embeddings, a row per structure.
    depth : int
        18, 34, 50, 101 or 152.
    """

    text: Tensor

    def __init__(self, text: Tensor, depth: int = 50) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 64, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.net = _Stages(depth)
        features, joined = self.net.features, self.net.features + text.shape[1]
        self.attention1 = nn.Linear(joined, features)
        self.attention2 = nn.Linear(joined, GATE_WIDTH)
        self.fc1 = nn.Linear(features, GATE_WIDTH)
        self.fc2 = nn.Linear(GATE_WIDTH, 1)
        self.register_buffer("text", text, persistent=False)

    def forward(self, slices: Tensor, structure: Tensor) -> Tensor:
        """Judge each slice."""
        x = self.net(self.pool(torch.relu(self.bn1(self.conv1(slices)))))
        features = x.mean(dim=(2, 3))
        text = self.text[structure]
        gated = self.attention1(torch.cat([features, text], dim=1)) * features
        gate = self.attention2(torch.cat([features, text], dim=1))
        dice: Tensor = self.fc2(gate * self.fc1(gated))[:, 0]
        return dice
