"""Training: samples are what the engine would cut, a run can be killed, the file says what the network says."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("onnx")

import segae  # noqa: E402
import segae.session  # noqa: E402
import segae.slices  # noqa: E402
from segae import structures  # noqa: E402
from segae.train import data, export, fit, losses, spoil, synthesis  # noqa: E402
from segae.train.network import Judge, Widths  # noqa: E402
from segae.train.synthesis import RECIPE, STRUCTURES  # noqa: E402

SMALL = Widths(half=8, quarter=8, eighth=16, sixteenth=16, last=8, structure=16)


def _judge(seed: int = 0) -> Judge:
    torch.manual_seed(seed)
    count = len(STRUCTURES)
    return Judge(torch.randn(count, 24), torch.randn(count, 8), len(RECIPE.channels), synthesis.MASK_CHANNEL, SMALL)


def _scan(seed: int = 0) -> data.LabelledScan:
    rng = np.random.default_rng(seed)
    labels = np.zeros((24, 48, 48), np.uint8)
    labels[4:20, 10:30, 8:24] = structures.get("liver").id
    labels[6:16, 14:26, 30:42] = structures.get("spleen").id
    image = np.where(labels > 0, 60, -100) + rng.normal(0, 10, labels.shape)
    parts = {name: (structures.get(name).id,) for name in ("liver", "spleen")}
    return data.LabelledScan("made_up", image.astype(np.int16), labels, parts, (3.0, 2.0, 2.0))


def _folder(tmp_path, scan):
    """A data folder with one training case and one that is held out."""
    for case in ("a", "b"):
        for kind, array in (("ct", scan.image), ("seg", scan.labelmap)):
            lps = np.diag([-scan.spacing_mm[2], -scan.spacing_mm[1], scan.spacing_mm[0], 1.0])
            nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), lps), tmp_path / f"{case}_{kind}.nii.gz")
    with (tmp_path / "cases.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "use"), ("a", "train"), ("b", "train")])
    return tmp_path


@pytest.mark.parametrize("kind", spoil.LOCAL_KINDS)
def test_spoiled_masks_come_near_the_dice_wanted(kind):
    scan = _scan()
    target = spoil.target_of(scan, "liver", synthesis.structure_boxes(scan)["liver"])
    reached = []
    for wanted in (0.4, 0.8):
        given = spoil.spoil(target, np.arange(len(target.mask)), kind, wanted, np.random.default_rng(1), whole=True)
        reached.append(2 * (given & target.mask).sum() / (given.sum() + target.mask.sum()))
    if kind == "untouched":
        assert reached == [1, 1]
    else:
        assert reached[0] < reached[1]
        assert reached[1] == pytest.approx(0.8, abs=0.15)


def test_samples_are_what_the_engine_cuts():
    """The slice that training sees of a mask is the slice that the engine cuts of it."""
    scan = _scan()
    target = spoil.target_of(scan, "liver", synthesis.structure_boxes(scan)["liver"])
    steps, z = synthesis.context_steps(scan.spacing_mm), 12
    whole = scan.mask("liver")
    sample = synthesis.cut_sample(scan, target, whole[z + steps], z, synthesis.bounds(whole[z]), "untouched")
    recipe = segae.recipe.Recipe(**{**RECIPE.__dict__, "slices": 16, "beyond_mm": ()})
    stats = next(e for e in segae._core.scan(whole.view(np.uint8), 1)["labels"] if e[0] == 1)
    plan = segae.slices.plan_slices(
        whole.view(np.uint8), segae.slices.LabelScan.from_core(stats), recipe, scan.spacing_mm, 1
    )
    row = int(np.flatnonzero(plan.index == z)[0])
    spec = segae.slices.sample_spec(RECIPE, scan.spacing_mm)
    cut = segae._core.sample(scan.image, whole.view(np.uint8), spec, [z], plan.crop[row : row + 1], [1], 1)
    assert np.array_equal(sample.slices, np.rint(cut * 255).astype(np.uint8))
    assert sample.pixels[0].tolist() == [whole[z].sum()] * 3


def test_mirroring_swaps_the_names():
    labels = np.zeros((2, 4, 6), np.uint8)
    left, right = structures.get("kidney_left"), structures.get("kidney_right")
    labels[..., 4], labels[..., 1] = left.id, right.id
    scan = data.LabelledScan(
        "x", labels.astype(np.int16), labels, {left.name: (left.id,), right.name: (right.id,)}, (1, 1, 1)
    )
    assert np.array_equal(scan.mirrored().mask("kidney_left"), scan.mask("kidney_right")[:, :, ::-1])


def test_fit_resume_and_export(tmp_path, monkeypatch):
    """Two steps, a kill, two more; then the file says what the network says."""
    monkeypatch.setattr(fit, "new_judge", _judge)
    monkeypatch.setattr(export, "new_judge", _judge)
    folder = _folder(tmp_path, _scan())
    from segae.train.sources import Mixture

    samples = next(Mixture(folder, ("b",), 0.0, tmp_path / "none", shard=32, open_visits=2)(np.random.default_rng(0)))
    settings = fit.Settings(steps=2, batch=8, leave_out=("b",), synthetic=0.0, ring=2)
    ring = fit.feed.Ring(tmp_path / "ring", 2)
    ring.folder.mkdir()
    ring.put(samples, 0)
    checkpoint = tmp_path / fit.CHECKPOINT
    fit.Run(settings, {"liver"}).train(ring, checkpoint, {"again": samples})
    longer = fit.Run(fit.Settings(**{**settings.__dict__, "steps": 4}), {"liver"})
    longer.resume(checkpoint)
    assert longer.step == 2
    longer.train(ring, checkpoint, {})
    assert longer.step == 4

    model = tmp_path / "model.onnx"
    card = export.export(checkpoint, model, "tiny")
    assert card.training["steps"] == 4
    slices, structure, _ = fit.tensors(samples)
    with torch.no_grad():
        wanted = export.ShippedJudge(longer.average.module)(slices, structure)
    session = segae.session.Session(model, "cpu", 1)
    found = session.run(slices.contiguous().numpy(), structure.numpy())
    for role, tensor in wanted._asdict().items():
        np.testing.assert_allclose(found[role], tensor.numpy(), atol=2e-4, err_msg=role)
    assert 0 <= segae.Engine(model, "cpu").score(_scan().image, _scan().mask("liver"), "liver", spacing=(3, 2, 2)) <= 1


def test_losses_are_least_at_the_truth():
    truth = torch.tensor([0.1, 0.5, 0.9])
    assert losses.interval_mse(truth, truth) == 0
    # The lowest Dice weighs 7, the highest 2 (up to 0.9).
    assert losses.interval_mse(truth + torch.tensor([0.1, 0, 0]), truth) == pytest.approx(7 * 0.01 / 3)
    assert losses.interval_mse(truth + torch.tensor([0, 0, 0.1]), truth) == pytest.approx(2 * 0.01 / 3)
    embedding = torch.nn.functional.normalize(torch.randn(3, 4, generator=torch.manual_seed(0)))
    assert losses.pair_ranking(truth, truth, embedding) == 0
    assert losses.pair_ranking(1 - truth, truth, embedding) > 0


def test_curve_is_monotone():
    rng = np.random.default_rng(0)
    said = rng.random(300)
    curve = export.monotone_curve(said, np.clip(said**2 + rng.normal(0, 0.05, 300), 0, 1))
    assert (np.diff(curve.raw) >= 0).all()
    assert (np.diff(curve.dice) >= 0).all()
    assert np.interp(0.5, curve.raw, curve.dice) == pytest.approx(0.25, abs=0.06)


def test_figures_of_known_predictions():
    from segae.train.evaluate import Row, figures

    true = np.linspace(0.1, 1, 20)
    rows = [Row(f"c{i % 4}", "liver", "erode", 0, -1, 99, t, t / 2, 1, 1, 1, 1) for i, t in enumerate(true)]
    told = figures(rows, draws=20)
    assert told.lcc[0] == pytest.approx(1)
    assert told.slope[0] == pytest.approx(2)
    assert told.auroc[0] == 1
    assert told.mae[0] == pytest.approx(np.mean(true / 2))
    assert (told.n, told.cases) == (20, 4)
    assert json.dumps(told.__dict__)
