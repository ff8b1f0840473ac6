"""How the reference network is trained, exported and weighed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from segae.reference.network import ReferenceNetwork
from segae_lab.reference import fuse
from segae_lab.reference.classes import CLASSES
from segae_lab.reference.draws import CROP, Batch, Draws
from segae_lab.reference.export import export
from segae_lab.reference.judged import Judged
from segae_lab.reference.network import NARROW_MM, WIDE_MM, ReferenceNet
from segae_lab.reference.scans import UNDECIDED, PartlyLabelled
from segae_lab.reference.train import partial_label_loss

LIVER, SPLEEN = 1 + CLASSES.index("liver"), 1 + CLASSES.index("spleen")


def _loss(label: int, predicted: int, *known: str) -> float:
    scores = torch.zeros(1, 1 + len(CLASSES), 4, 4)
    scores[:, predicted] = 8.0
    told = torch.tensor([[name in known for name in CLASSES]])
    return float(partial_label_loss(scores, Batch(scores, torch.full((1, 4, 4), label, dtype=torch.uint8), told)))


def test_what_labels_cannot_decide_is_not_punished() -> None:
    assert _loss(0, LIVER, "spleen") < 0.05  # nobody outlined livers in this slice
    assert _loss(0, LIVER, "liver") > 4  # livers were outlined, and there is none here
    assert _loss(LIVER, LIVER, "liver") < 0.1
    assert _loss(LIVER, SPLEEN, "liver") > 4
    assert _loss(UNDECIDED, SPLEEN, "liver", "spleen") < 0.05


def test_exported_network_says_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ReferenceNet(len(CLASSES), widths=(6, 8, 10, 12)).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    export(network, tmp_path / "reference.onnx", {"liver": 0.9}, {"steps": 1})
    opened = ReferenceNetwork(tmp_path / "reference.onnx", "cpu")
    assert opened.card.classes == CLASSES
    assert opened.card.narrow_mm == NARROW_MM
    slices = torch.rand(2, len(NARROW_MM) + len(WIDE_MM), 32, 48)
    with torch.no_grad():
        wanted = network(slices).argmax(dim=1).numpy()
    # Weights are kept in half precision: a few near ties may fall the other way.
    assert np.mean(opened.run(slices.numpy()) == wanted) > 0.98


def test_draws_are_cut_from_the_scan(rng: np.random.Generator) -> None:
    hu = np.full((9, 160, 200), 40, np.int16)
    labels = np.full(hu.shape, LIVER, np.uint8)
    known = np.ones((9, len(CLASSES)), bool)
    scan = PartlyLabelled("a", "b", hu, labels, known, (3.0, 2.0, 2.0), 1.0)
    batch = Draws([scan], rng).batch(4)
    assert batch.slices.shape == (4, len(NARROW_MM) + len(WIDE_MM), *CROP)
    assert 0 <= float(batch.slices.min()) <= float(batch.slices.max()) <= 1
    assert set(batch.labels.unique().tolist()) <= {0, LIVER}
    assert (batch.labels == LIVER).float().mean() > 0.5


def _row(true: float, judge: float, overlap: float, structure: str = "liver") -> Judged:
    return Judged("case", "source", structure, "erode", 0, true, judge, overlap, 0.9, float("nan"), float("nan"), "")


def test_weights_follow_whoever_is_right(rng: np.random.Generator) -> None:
    true = rng.uniform(0.1, 0.95, 120)
    noise = rng.uniform(0, 1, 120)
    by_reference = fuse.weights_of([_row(t, n, 0.9 * t) for t, n in zip(true, noise, strict=True)], "built-in")["other"]
    by_judge = fuse.weights_of([_row(t, t, n) for t, n in zip(true, noise, strict=True)], "built-in")["other"]
    assert by_reference.overlap > 0.8
    assert by_reference.judge < 0.1
    assert by_judge.judge > 0.8
    assert by_judge.overlap == pytest.approx(0.05, abs=0.03)  # never less: more overlap is never worse
    assert by_reference.error < 0.1
