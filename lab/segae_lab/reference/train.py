"""Train the reference network for a given time, resumably.

``python -m segae_lab.reference.train DATA OUT --minutes 60 --threads 2``
"""

from __future__ import annotations

import argparse
import copy
import logging
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segae_lab.reference.classes import CLASSES
from segae_lab.reference.draws import Batch, Draws
from segae_lab.reference.network import ReferenceNet
from segae_lab.reference.scans import UNDECIDED, load_scans
from segae_lab.reference.validate import held_out_dice

log = logging.getLogger("segae_lab")

_RATE, _WARM_UP_STEPS, _AVERAGE_OVER = 3e-3, 100, 300


def partial_label_loss(scores: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy and soft Dice that never punish what a slice's labels cannot decide.

    A voxel without a label may be background or any class that its slice does not know: their probabilities are
    summed (the marginal loss of Shi et al. 2021). The Dice term counts, for every class, the slices that know it.
    """
    labels = batch.labels.long()
    decided = labels != UNDECIDED
    target = torch.where(decided, labels, 0)
    logs = torch.log_softmax(scores.float(), dim=1)
    first = torch.ones(len(labels), 1, dtype=torch.bool)
    may_be = torch.cat([first, ~batch.known], dim=1)[:, :, None, None]
    unlabelled = torch.logsumexp(logs.masked_fill(~may_be, -1e4), dim=1)
    own = logs.gather(1, target[:, None])[:, 0]
    entropy = -torch.where(target == 0, unlabelled, own)
    weight = torch.where(target == 0, 1.0, 2.0) * decided
    cross_entropy = (entropy * weight).sum() / weight.sum().clamp_min(1)

    counted = decided[:, None] & batch.known[:, :, None, None]
    truth = (target[:, None] == torch.arange(1, scores.shape[1])[None, :, None, None]) & counted
    likely = logs[:, 1:].exp() * counted
    both = (likely * truth).sum(dim=(0, 2, 3))
    sizes = likely.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    seen = truth.any(dim=3).any(dim=2).any(dim=0)
    dice = (2 * both + 20) / (sizes + 20)
    return cross_entropy + (1 - dice[seen]).mean() if seen.any() else cross_entropy


def train(data: Path, out: Path, minutes: float, batch_size: int, seed: int) -> None:
    """Train; a run that was killed goes on from its last checkpoint with the time that was left."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    draws = Draws(load_scans(data, hold_out=False), np.random.default_rng([seed, int(time.time())]))
    held_out = load_scans(data, hold_out=True)
    network = ReferenceNet(len(CLASSES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.02)
    kept = out / "checkpoint.pt"
    step, spent = 0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True, map_location="cpu")
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    log.info("%d parameters", sum(p.numel() for p in network.parameters()))
    network.train()
    last, loss_sum, checked = time.monotonic(), 0.0, time.monotonic()
    while spent < minutes * 60:
        done = spent / (minutes * 60)
        rate = _RATE * min(1.0, (step + 1) / _WARM_UP_STEPS) * (1 - done) ** 0.9
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = draws.batch(batch_size)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = network(batch.slices.contiguous(memory_format=torch.channels_last))
        loss = partial_label_loss(scores, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        step += 1
        _follow(average, network, min(1 - 1 / _AVERAGE_OVER, step / (step + 10)))
        loss_sum += loss.item()
        now = time.monotonic()
        spent, last = spent + now - last, now
        if step % 100 == 0:
            log.info("step %d, %.1f min, loss %.4f", step, spent / 60, loss_sum / 100)
            loss_sum = 0.0
        if now - checked > 360 or spent >= minutes * 60:
            checked = now
            state = {"network": network.state_dict(), "average": average.state_dict(), "step": step, "spent": spent}
            torch.save({**state, "optimiser": optimiser.state_dict()}, kept.with_suffix(".part"))
            kept.with_suffix(".part").replace(kept)
            _report(held_out_dice(average, held_out, every_mm=9.0))


def _follow(average: torch.nn.Module, network: torch.nn.Module, keep: float) -> None:
    with torch.no_grad():
        for mine, other in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.mul_(keep).add_(other, alpha=1 - keep)
            else:
                mine.copy_(other)


def _report(dice: dict[tuple[str, str], float]) -> None:
    for name in CLASSES:
        values = [f"{case} {value:.2f}" for (case, organ), value in dice.items() if organ == name]
        log.info("%-20s %s", name, ", ".join(values))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    train(arguments.data, arguments.out, arguments.minutes, arguments.batch, arguments.seed)


if __name__ == "__main__":
    main()
