"""The paper's recipe, retrained: its samples are what the engine cuts, a run can be killed, the file says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("onnx")

import segae  # noqa: E402
import segae.masks  # noqa: E402
import segae.slices  # noqa: E402
from segae import structures  # noqa: E402
from segae.train import data, feed, synthesis  # noqa: E402
from segae.train.paper import PaperJudge  # noqa: E402
from segae.train.run import rate_factor  # noqa: E402
from segae.train.synthesis import structure_names  # noqa: E402
from segae_lab import rival  # noqa: E402

CPU = torch.device("cpu")
SHIPPED = rival.shipped_recipe(128)


@pytest.fixture
def scan() -> data.LabelledScan:
    rng = np.random.default_rng(0)
    labels = np.zeros((24, 48, 48), np.uint8)
    labels[4:20, 10:30, 8:24] = structures.get("liver").id
    labels[6:16, 14:26, 30:42] = structures.get("spleen").id
    image = np.where(labels > 0, 60, -100) + rng.normal(0, 10, labels.shape)
    parts = {name: (structures.get(name).id,) for name in ("liver", "spleen")}
    return data.LabelledScan("made_up", image.astype(np.int16), labels, parts, (3.0, 2.0, 2.0))


def _judge(_: int = 18) -> PaperJudge:
    torch.manual_seed(0)
    return PaperJudge(torch.randn(len(structure_names()) + 1, 8), 18)


class _Always:
    """A mixture that draws from one scan."""

    def __init__(self, scan: data.LabelledScan) -> None:
        self.scan = scan

    def __call__(self, rng):
        while True:
            yield synthesis.Visit(self.scan, rng, rival.sample_recipe(128)).draw(40)


def test_samples_are_what_the_engine_cuts(scan: data.LabelledScan):
    """Stored samples, normalised as training does, are the network input that the engine cuts by the shipped recipe."""
    target = synthesis.target_of(scan, "liver", synthesis.structure_boxes(scan)["liver"])
    truth = scan.mask("liver").view(np.uint8)
    given = np.zeros_like(truth)
    given[9:17] = np.roll(truth, 3, axis=2)[9:17]
    samples = synthesis.cut_samples(
        scan, target, given, truth, "shift", np.random.default_rng(0), rival.sample_recipe(128)
    )
    found = segae.masks.scan_labels(given, "mask", 1)[1]
    plan = segae.slices.plan_slices(given, found, SHIPPED, scan.spacing_mm, 1)
    assert (plan.area > 0).all(), "the paper looks at no slice beyond the ends"
    ones = np.ones(len(plan.index), np.int64)
    cut = segae.slices.cut(scan.image, given, SHIPPED, scan.spacing_mm, plan.index, plan.crop, ones, 1)
    slices, structure, dice = rival.tensors(samples, CPU)
    for mine in rival.normalised(slices).numpy():
        assert np.abs(cut - mine).max(axis=(1, 2, 3)).min() < 4 / 255 / 2 + 1e-5, "8 bits, times the gain of 4"
    assert (structure == structure_names().index("liver")).all()
    wanted = 2 * (given & truth)[10].sum() / (given[10].sum() + truth[10].sum())
    assert dice.numpy() == pytest.approx(wanted)


def test_only_slices_where_mask_and_truth_meet(scan: data.LabelledScan, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rival, "_SHARD", 64)
    parts = list(rival.PaperSource(_Always(scan), files=2)(np.random.default_rng(0)))
    assert [len(part) for part in parts] == [64, 64]
    assert all((part.pixels[:, 0] >= 20).all() for part in parts)


def test_fit_resume_and_export(scan: data.LabelledScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One step, a kill, one more; then the file says what the averaged network says."""
    monkeypatch.setattr(rival, "new_rival", _judge)
    samples = synthesis.Visit(scan, np.random.default_rng(0), rival.sample_recipe(128)).draw(16)
    ring = feed.Ring(tmp_path / "ring", 1)
    ring.folder.mkdir()
    ring.put(samples, 0)
    checkpoint = tmp_path / rival.CHECKPOINT
    rival.RivalRun(_judge(), rival.Settings(samples=8, batch=8), {"liver"}, CPU).train(ring, checkpoint, 1)
    longer = rival.RivalRun(_judge(), rival.Settings(samples=16, batch=8), {"liver"}, CPU)
    longer.resume(checkpoint)
    assert longer.step == 1
    longer.train(ring, checkpoint, 25)
    assert longer.step == 2

    card = rival.export_rival(checkpoint, tmp_path / "rival.onnx")
    assert card.training["samples"] == 16
    assert "reduced" in card.training["method"]
    engine = segae.Engine(tmp_path / "rival.onnx", "cpu")
    mask = scan.mask("liver").view(np.uint8)
    found = segae.masks.scan_labels(mask, "mask", 1)[1]
    plan = segae.slices.plan_slices(mask, found, SHIPPED, scan.spacing_mm, 1)
    ones = np.ones(len(plan.index), np.int64)
    cut = segae.slices.cut(scan.image, mask, SHIPPED, scan.spacing_mm, plan.index, plan.crop, ones, 1)
    with torch.inference_mode():
        index = torch.full((len(cut),), structure_names().index("liver"))
        wanted = longer.average.module.eval()(torch.from_numpy(cut), index).mean().item()
    assert engine.assess(scan.image, mask, "liver", spacing=scan.spacing_mm).raw == pytest.approx(wanted, abs=1e-4)


def test_sample_counts():
    settings = rival.Settings(samples=40_960, batch=64)
    assert (settings.steps, settings.files) == (640, 20)
    assert rate_factor(0, 640, 50) < rate_factor(100, 640, 50) == 1.0
    assert rate_factor(639, 640, 50) < 0.02
