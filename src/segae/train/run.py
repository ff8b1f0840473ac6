"""A run of training: weights and their running average, optimiser, checkpoints, and a log of how it goes.

A subclass says what a batch costs (for the judge, `segae.train.fit`).
"""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Set
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from segae.errors import DeviceError
from segae.recipe import Recipe
from segae.train import feed
from segae.train.synthesis import Samples

log = logging.getLogger("segae.train")

Network = TypeVar("Network", bound=nn.Module)
# Batches that measure the normalisation of the averaged weights.
_SETTLING = 48
# Share of the samples that are clipped to a narrow window, and between which HU its two ends are drawn.
_WINDOWED_SHARE, _WINDOW_ENDS_HU = 0.25, ((-300.0, -100.0), (200.0, 500.0))


class Schedule(Protocol):
    """What a run must know of its settings (a dataclass; all of it is stored in the checkpoint)."""

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""

    @property
    def batch(self) -> int:
        """Samples in each."""

    @property
    def rate(self) -> float:
        """Peak learning rate."""

    @property
    def seed(self) -> int:
        """Seed of the order of the samples."""

    @property
    def average(self) -> float:
        """Decay of the running average of the weights, which is what is exported."""

    @property
    def leave_out(self) -> tuple[str, ...]:
        """Cases that are not learned from."""


def rate_factor(step: int, steps: int, warm_up: int, spent: float = 0.0) -> float:
    """Warm-up, plateau, and a linear fall over the second half: a run can be prolonged before the fall begins.

    `spent` is the share of the time that has passed; the run ends with its steps or its time, whichever comes first.
    """
    fall = (1 - max(step / steps, spent)) / 0.5
    return float(np.clip(min((step + 1) / warm_up, fall), 0.01, 1.0))


class Run(ABC, Generic[Network]):
    """Network, running average, optimiser and place in the schedule."""

    warm_up = 200
    """Steps until the rate has reached its peak."""
    seconds: float | None = None
    """Time that the steps may take, over all interruptions; None for as long as they need."""
    pull: float = 0.0
    """How strongly weights are drawn to those that the run began with: per step, by this share times the rate.

    L2-SP (Li et al., arXiv:1802.01483), kept apart from the gradient as AdamW keeps weight decay.
    """

    def __init__(
        self,
        network: Network,
        settings: Schedule,
        trained: set[str],
        recipe: Recipe,
        device: torch.device,
        watch: Callable[[], None] = lambda: None,
        synthetic: Set[str] = frozenset(),
    ) -> None:
        self.settings = settings
        self.watch = watch  # called now and then; raises when samples are no longer made
        self.trained, self.synthetic = trained, synthetic
        self.device = device
        self.network: Network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(self.network, avg_fn=self._averaged, use_buffers=True)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        free = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": free, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self.rate_factor)
        self.step, self.spent_s = 0, 0.0
        self.anchor: dict[str, Tensor] = {}
        self.rng = np.random.default_rng(settings.seed)
        self.jitter = Jitter(settings.batch, recipe, device)

    @abstractmethod
    def loss(self, samples: Samples) -> Tensor:
        """What `network` should be punished with for what it says of a batch."""

    @abstractmethod
    def show(self, network: Network, samples: Samples) -> None:
        """Have a network look at a batch, as in training."""

    def figures(self) -> str:
        """What to log of the averaged weights, beside the loss."""
        return ""

    def rate_factor(self, step: int) -> float:
        """Learning rate of a step, as a share of the peak."""
        return rate_factor(step, self.settings.steps, self.warm_up, self._spent())

    def _spent(self) -> float:
        return 0.0 if self.seconds is None else self.spent_s / self.seconds

    def _averaged(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        """Exponential average that forgets its beginning: the first weights are random."""
        if not average.is_floating_point():
            return current
        decay = min(self.settings.average, (1 + float(count)) / (10 + float(count)))
        return torch.lerp(current, average, decay)

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Start from weights that have learned something already."""
        self.network.load_state_dict(weights)
        self._hold_on()
        self.average.module.load_state_dict(weights)
        # The average is as good as its beginning: it need not forget it.
        self.average.n_averaged.fill_(round(1 / (1 - self.settings.average)))

    def _hold_on(self) -> None:
        if self.pull:
            self.anchor = {name: p.detach().clone() for name, p in self.network.named_parameters()}

    @torch.no_grad()
    def _pull_back(self) -> None:
        share = min(self.pull * self.schedule.get_last_lr()[0], 1.0)
        for name, parameter in self.network.named_parameters():
            parameter.lerp_(self.anchor[name], share)

    def resume(self, file: Path) -> None:
        """Continue from a checkpoint, if there is one."""
        if not file.exists():
            return
        state = torch.load(file, weights_only=True, map_location=self.device)
        self.network.load_state_dict(state["network"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_averaged.fill_(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.last_epoch = self.step = state["step"]
        self.spent_s = state.get("spent_s", 0.0)
        self.anchor = state.get("anchor", {})
        torch.set_rng_state(state["torch_rng"].cpu())
        self.rng.bit_generator.state = json.loads(state["numpy_rng"])
        log.info("continued at step %d", self.step)

    def save(self, file: Path) -> None:
        """Write all that `resume` and an export need; the file is replaced at once."""
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "average": self.average.module.state_dict(),
            "averaged": int(self.average.n_averaged),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
            "anchor": self.anchor,
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": json.dumps(self.rng.bit_generator.state),
            "settings": json.dumps(asdict(self.settings)),  # type: ignore[call-overload]
            "trained": sorted(self.trained),
            "synthetic": sorted(self.synthetic),
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)

    def train(self, ring: feed.Ring, file: Path, every: int) -> None:
        """Run to the last step, logging and saving on the way; then measure the averaged weights' normalisation."""
        self.network.train()
        started, losses = time.monotonic(), []
        begun = started - self.spent_s
        batches = self.batches(ring)
        with tqdm(total=self.settings.steps, initial=self.step, desc="train", unit="step", mininterval=5) as bar:
            while not self._over():
                losses.append(self._learn(next(batches)))
                self.spent_s = time.monotonic() - begun
                bar.update()
                if self.step % every == 0 or self._over():
                    rate = len(losses) * self.settings.batch / (time.monotonic() - started)
                    log.info("step %d loss %.4f, %.0f samples/s%s", self.step, np.mean(losses), rate, self.figures())
                    self.save(file)
                    started, losses = time.monotonic(), []
        self.settle(batches)
        self.save(file)

    def _over(self) -> bool:
        return self.step >= self.settings.steps or self._spent() >= 1

    def batches(self, ring: feed.Ring) -> Iterator[Samples]:
        """Batches of the ring's samples, without end."""
        return feed.batches(ring, self.settings.batch, self.rng, self.watch)

    def _learn(self, samples: Samples) -> float:
        loss = self.loss(samples)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        if self.anchor:
            self._pull_back()
        self.schedule.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def settle(self, batches: Iterator[Samples]) -> None:
        """Measure the averaged weights' normalisation: averages of the layers' statistics do not belong to them."""
        average: Network = self.average.module  # type: ignore[assignment]
        layers = [layer for layer in average.modules() if isinstance(layer, nn.BatchNorm2d)]
        usual = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over what follows
        average.train()
        for samples in islice(batches, _SETTLING):
            self.show(average, samples)
        average.eval()
        for layer, momentum in zip(layers, usual, strict=True):
            layer.momentum = momentum


class Jitter:
    """Brightness, contrast, grain and HU window of each sample's image channels, drawn anew for every batch.

    A share of the samples is clipped to a narrow window first, as many archives clip their scans: no channel then shows
    air or bone.

    Normal numbers are dear: one field of grain is drawn once, and turned and shared out anew for every batch.
    """

    def __init__(self, batch: int, recipe: Recipe, device: torch.device) -> None:
        image = torch.tensor([float(channel.source == "image") for channel in recipe.channels])[:, None, None]
        grain = torch.randn(batch, len(recipe.channels), *recipe.size_px) * image
        self._image = image.to(device)
        self._grain = grain.to(device, memory_format=torch.channels_last)
        windows = torch.tensor([channel.window_hu for channel in recipe.channels], device=device)
        self._low_hu, self._range_hu = windows[:, 0], windows[:, 1] - windows[:, 0]

    def __call__(self, slices: Tensor) -> Tensor:
        """Changed copy of slices [n, c, h, w], n at most the batch."""
        n, _, height, width = slices.shape
        device = slices.device
        slices = self._clipped(slices)
        gain = 1 + 0.08 * torch.randn(n, 1, 1, 1, device=device) * self._image
        bias = 0.03 * torch.randn(n, len(self._image), 1, 1, device=device) * self._image + 0.5 * (1 - gain)
        top, left = (
            int(torch.randint(self._grain.shape[2 + i] - side + 1, ())) for i, side in enumerate((height, width))
        )
        grain = self._grain[torch.randperm(len(self._grain))[:n], :, top : top + height, left : left + width]
        # The mask's channels are left alone: gain 1, bias and grain 0, and they are within [0, 1] already.
        strength = 0.02 * torch.rand(n, 1, 1, 1, device=device)
        return torch.addcmul(slices * gain + bias, grain, strength).clamp_(0, 1)

    def _clipped(self, slices: Tensor) -> Tensor:
        """Some of the samples clipped to a narrow HU window."""
        n, device = len(slices), slices.device
        chosen = (torch.rand(n, 1, device=device) < _WINDOWED_SHARE) & (self._image.flatten() > 0)
        low, high = (least + (most - least) * torch.rand(n, 1, device=device) for least, most in _WINDOW_ENDS_HU)
        floor, ceiling = ((end - self._low_hu) / self._range_hu for end in (low, high))
        floor, ceiling = torch.where(chosen, floor, 0.0), torch.where(chosen, ceiling, 1.0)
        return slices.clamp(floor[:, :, None, None].clamp(0, 1), ceiling[:, :, None, None].clamp(0, 1))


def log_to(file: Path) -> None:
    """Write the figures of a run to a file and to the terminal, whatever the program's own logging."""
    for earlier in list(log.handlers):  # of the run before, in the same program
        log.removeHandler(earlier)
        earlier.close()
    for handler in (logging.FileHandler(file), logging.StreamHandler()):
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def torch_device(wanted: str) -> torch.device:
    """Device of a name; "auto" is the GPU where torch finds one.

    Raises
    ------
    DeviceError
        When torch cannot have it.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f'device: torch cannot use {wanted!r} ({reason}). Use "cpu" or "auto".') from error
    return device
