"""Training: samples are what the engine would cut, a run can be killed, the file says what the network says."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import multiprocessing
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("onnx")

import tiny_models  # noqa: E402

import segae  # noqa: E402
import segae.masks  # noqa: E402
import segae.session  # noqa: E402
import segae.slices  # noqa: E402
from segae import structures  # noqa: E402
from segae.cli import main  # noqa: E402
from segae.train import calibration, data, export, fit, losses, passing_off, restore, spoil, synthesis  # noqa: E402
from segae.train.network import Judge, Widths  # noqa: E402
from segae.train.synthesis import RECIPE, structure_names  # noqa: E402

CPU = torch.device("cpu")
SMALL = Widths(half=8, quarter=8, eighth=16, sixteenth=16, last=8, structure=16, wide=4)


def _judge(seed: int = 0) -> Judge:
    torch.manual_seed(seed)
    count = len(structure_names()) + 1
    return Judge(torch.randn(count, 24), torch.randn(count, 8), 7, 4, synthesis.MASK_CHANNEL, SMALL)


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
        given = spoil.spoil(target, kind, wanted, np.random.default_rng(1))
        reached.append(2 * (given & target.mask).sum() / (given.sum() + target.mask.sum()))
    if kind == "untouched":
        assert reached == [1, 1]
    else:
        assert reached[0] < reached[1]
        assert reached[1] == pytest.approx(0.8, abs=0.15)


def test_samples_are_what_the_engine_cuts():
    """The slices that training sees of a mask are among those that the engine cuts of it."""
    scan = _scan()
    target = spoil.target_of(scan, "liver", synthesis.structure_boxes(scan)["liver"])
    truth, given = scan.mask("liver").view(np.uint8), np.zeros(scan.image.shape, np.uint8)
    given[9:15] = truth[9:15]
    samples = synthesis.cut_samples(scan, target, given, truth, "truncate", np.random.default_rng(0))
    found = segae.masks.scan_labels(given, "mask", 1)[1]
    plan = segae.slices.plan_slices(given, found, RECIPE, scan.spacing_mm, 1)
    ones = np.ones(len(plan.index), np.int64)
    cut = segae.slices.cut(scan.image, given, RECIPE, scan.spacing_mm, plan.index, plan.crop, ones, 1)
    known = np.rint(cut * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    rows = [int(np.flatnonzero((known == mine).all(axis=(1, 2, 3)))[0]) for mine in samples.slices]
    for row, pixels in zip(rows, samples.pixels, strict=True):
        z = plan.index[row]
        assert pixels.tolist() == [given[z].sum(), given[z].sum(), truth[z].sum()]
    assert (plan.area[rows] == 0).sum() == 2, "two slices beyond the ends"
    assert samples.whole[:, 0] == pytest.approx(1)
    assert samples.whole[:, 1] == pytest.approx(given.sum() / truth.sum())


def test_every_kind_of_spoiled_mask_can_be_drawn():
    """And leaves no trace of one mask in the next."""
    scan = _scan()
    scan = dataclasses.replace(scan, predictions=(np.roll(scan.labelmap, 2, axis=2),))
    visit = synthesis.Visit(scan, np.random.default_rng(0))
    drawn = [kind for kind in synthesis.KINDS for _ in range(6) if visit._draw_mask(visit._target("liver"), kind)]
    assert set(drawn) == set(synthesis.KINDS)
    assert not visit._given.any()
    assert not visit._truth.any()
    untouched = visit._draw_mask(visit._target("liver"), "untouched")[0]
    assert (untouched.whole == 1).all()


def test_mirroring_swaps_the_names():
    labels = np.zeros((2, 4, 6), np.uint8)
    left, right = structures.get("kidney_left"), structures.get("kidney_right")
    labels[..., 4], labels[..., 1] = left.id, right.id
    scan = data.LabelledScan(
        "x", labels.astype(np.int16), labels, {left.name: (left.id,), right.name: (right.id,)}, (1, 1, 1)
    )
    assert np.array_equal(scan.mirrored().mask("kidney_left"), scan.mask("kidney_right")[:, :, ::-1])


@pytest.mark.filterwarnings("ignore::segae.NotCTWarning")  # the made-up scan has no air
def test_fit_resume_and_export(tmp_path, monkeypatch):
    """Two steps, a kill, two more; then the file says what the network says."""
    monkeypatch.setattr(fit, "new_judge", _judge)
    monkeypatch.setattr(export, "new_judge", _judge)
    folder = _folder(tmp_path, _scan())
    from segae.train.sources import Mixture

    samples = next(Mixture(folder, ("b",), shard=32, open_visits=2)(np.random.default_rng(0)))
    settings = fit.Settings(steps=2, batch=8, leave_out=("b",), ring=2)
    ring = fit.feed.Ring(tmp_path / "ring", 2)
    ring.folder.mkdir()
    ring.put(samples, 0)
    checkpoint = tmp_path / fit.CHECKPOINT
    fit.JudgeRun(settings, {"liver"}, CPU, checks={"again": samples}).train(ring, checkpoint, 1)
    longer = fit.JudgeRun(fit.Settings(**{**settings.__dict__, "steps": 4}), {"liver"}, CPU)
    longer.resume(checkpoint)
    assert longer.step == 2
    longer.train(ring, checkpoint, 100)
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


def test_calibration_can_be_lent(tmp_path, monkeypatch):
    """A model that no case was held out for takes the curve of another, or stays as it is."""
    from segae.recipe import Calibration
    from segae.train.ship import ship

    monkeypatch.setattr(fit, "new_judge", _judge)
    monkeypatch.setattr(export, "new_judge", _judge)
    checkpoint = tmp_path / fit.CHECKPOINT
    fit.JudgeRun(fit.Settings(steps=1, batch=8), {"liver"}, CPU).save(checkpoint)
    curves = {"default": Calibration((0.0, 0.4, 1.0), (0.0, 0.6, 1.0))}
    export.export(checkpoint, tmp_path / "lender.onnx", "lender", curves)
    assert ship(checkpoint, tmp_path / "own.onnx", "own", []).calibration == {}
    assert ship(checkpoint, tmp_path / "lent.onnx", "lent", [], tmp_path / "lender.onnx").calibration == curves


def test_a_run_stops_when_no_more_samples_are_made(tmp_path, monkeypatch):
    """A scan that breaks the process that makes samples must not leave the other learning the same ones for hours."""
    monkeypatch.setattr(fit, "new_judge", _judge)
    ring = fit.feed.Ring(tmp_path / "ring", 2)
    ring.folder.mkdir()
    ring.put(synthesis.Visit(_scan(), np.random.default_rng(0)).draw(16), 0)
    ended = multiprocessing.get_context("spawn").Process(target=int)
    ended.start()
    ended.join()
    settings = fit.Settings(steps=100, batch=8, leave_out=())
    run = fit.JudgeRun(settings, {"liver"}, CPU, functools.partial(fit.feed.require_alive, [ended]))
    with pytest.raises(RuntimeError, match="exit code 0"):
        run.train(ring, tmp_path / fit.CHECKPOINT, 100)


def _numbered(rng):
    """A source whose samples tell which random numbers made them."""
    samples = synthesis.Visit(_scan(), np.random.default_rng(0)).draw(4)
    while True:
        yield dataclasses.replace(samples, fraction=rng.random(4).astype(np.float32))


def test_several_processes_take_turns(tmp_path):
    """Each writes samples of its own, and none where another did."""
    ring = fit.feed.Ring(tmp_path / "ring", 1000)
    processes = fit.feed.start(ring, _numbered, 7, workers=3)
    fit.feed.wait_for(ring, 12, processes)
    for process in processes:
        process.terminate()
        process.join()
    found = [ring.get(file).fraction.tolist() for file in ring.files()[:12]]
    assert len({tuple(fractions) for fractions in found}) == len(found)
    with pytest.raises(RuntimeError, match="exit code"):
        fit.feed.require_alive(processes)


def test_what_a_run_begins_with_is_looked_for_first(tmp_path):
    """Not after minutes of making samples."""
    with pytest.raises(segae.ParameterError, match=r"initial: no such file: .*absent.pt. Pass a checkpoint, a model"):
        fit.fit(tmp_path, tmp_path / "work", fit.Settings(), threads=1, initial=tmp_path / "absent.pt")
    assert not (tmp_path / "work").exists()
    assert fit._file_to_begin_with(Path("default")) == segae.session.find_model("default")


@pytest.mark.parametrize("workers", [0, -1, 1.5])
def test_workers_are_a_positive_number(tmp_path, workers):
    with pytest.raises(segae.ParameterError, match="workers: expected a"):
        fit.fit(tmp_path, tmp_path / "work", fit.Settings(), threads=1, workers=workers)
    assert not (tmp_path / "work").exists()


def test_a_model_file_can_be_trained_on(tmp_path, monkeypatch):
    """What export folds away comes back: the restored judge says what the file says, normalised as in training."""
    monkeypatch.setattr(fit, "new_judge", _judge)
    monkeypatch.setattr(export, "new_judge", _judge)
    run = fit.JudgeRun(fit.Settings(steps=1, batch=8), {"liver"}, CPU)
    visit = synthesis.Visit(_scan(), np.random.default_rng(0))
    slices, structure, _ = fit.tensors(visit.draw(24))
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        run.network(slices, structure)  # statistics that are not those of an untrained network
    run.average.module.load_state_dict(run.network.state_dict())
    run.save(tmp_path / "checkpoint.pt")
    export.export(tmp_path / "checkpoint.pt", tmp_path / "model.onnx", "tiny")

    fresh = _judge(seed=0)
    folded = restore.restore(fresh, tmp_path / "model.onnx")
    assert "surroundings.layers.0.norm" in folded
    restore.normalise(fresh, iter([(slices, structure)]), folded)
    with torch.no_grad():
        wanted, found = run.network.eval()(slices, structure), fresh.eval()(slices, structure)
        in_training = fresh.train()(slices, structure)
    for name, said in wanted._asdict().items():
        torch.testing.assert_close(getattr(found, name), said, atol=1e-4, rtol=1e-3, msg=name)
    assert torch.isfinite(in_training.precision).all()
    with pytest.raises(segae.SegaeError, match="another network"):
        restore.restore(_judge_of_other_size(), tmp_path / "model.onnx")


def _judge_of_other_size() -> Judge:
    count = len(structure_names()) + 1
    return Judge(torch.randn(count, 24), torch.randn(count, 8), 7, 4, synthesis.MASK_CHANNEL, Widths())


def test_losses_are_least_at_the_truth():
    truth = torch.tensor([0.1, 0.5, 0.9])
    assert losses.interval_mse(truth, truth) == 0
    # The lowest Dice weighs 7, the highest 2 (up to 0.9).
    assert losses.interval_mse(truth + torch.tensor([0.1, 0, 0]), truth) == pytest.approx(7 * 0.01 / 3)
    assert losses.interval_mse(truth + torch.tensor([0, 0, 0.1]), truth) == pytest.approx(2 * 0.01 / 3)
    embedding = torch.nn.functional.normalize(torch.randn(3, 4, generator=torch.manual_seed(0)))
    assert losses.pair_ranking(truth, truth, embedding) == 0
    assert losses.pair_ranking(1 - truth, truth, embedding) > 0


def test_the_paper_s_losses_rank_and_the_judge_learns_with_them(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "new_judge", _judge)
    samples = synthesis.Visit(_scan(), np.random.default_rng(0)).draw(16)
    run = fit.JudgeRun(fit.Settings(steps=1, batch=16, paper_losses=True), {"liver"}, CPU)
    before = run.network.verdict.weight.clone()
    assert np.isfinite(run._learn(samples))
    assert not torch.equal(before, run.network.verdict.weight)
    meaning = run.network.code.meaning(torch.arange(3))
    assert meaning.shape == (3, 24)


def test_curve_is_monotone():
    rng = np.random.default_rng(0)
    said = rng.random(300)
    curve = calibration.monotone_curve(said, np.clip(said**2 + rng.normal(0, 0.05, 300), 0, 1))
    assert (np.diff(curve.raw) >= 0).all()
    assert (np.diff(curve.dice) >= 0).all()
    assert np.interp(0.5, curve.raw, curve.dice) == pytest.approx(0.25, abs=0.06)


def test_figures_of_known_predictions():
    from segae.train.figures import figures
    from segae.train.judged import Row

    true = np.linspace(0.1, 1, 20)
    rows = [Row(f"c{i % 4}", "liver", "erode", 0, -1, 99, t, t / 2, 1, 1, 1, 1) for i, t in enumerate(true)]
    told = figures(rows, draws=20)
    assert told.lcc[0] == pytest.approx(1)
    assert told.slope[0] == pytest.approx(2)
    assert told.auroc[0] == 1
    assert told.mae[0] == pytest.approx(np.mean(true / 2))
    assert (told.n, told.cases) == (20, 4)
    assert json.dumps(told.__dict__)


def test_evaluate_writes_figures_and_pictures(tmp_path, capsys):
    """The command, from a folder of cases to tables, with what networks made of the scan beside."""
    scan = _scan()
    folder = _folder(tmp_path, scan)
    image = nib.load(folder / "a_seg.nii.gz")
    nib.save(
        nib.Nifti1Image(np.roll(scan.labelmap, 1, axis=2).transpose(2, 1, 0), image.affine), folder / "a_pred_x.nii.gz"
    )
    tiny_models.write_dense(tmp_path / "dense.onnx", calibration={})
    out = tmp_path / "out"
    arguments = [
        str(tmp_path / "dense.onnx"),
        str(folder),
        "--use",
        "train",
        "--cases",
        "a",
        "-o",
        str(out),
        "--failures",
    ]
    assert main(["evaluate", *arguments]) == 0
    assert "P1 masks" in capsys.readouterr().out
    told = json.loads((out / "figures.json").read_text())
    assert told["P6 masks"]["n"] == 2
    rows = list(csv.DictReader((out / "masks.csv").read_text().splitlines()))
    assert {row["structure"] for row in rows} == {"liver", "spleen"}
    assert all((out / name).stat().st_size > 1000 for name in ("scatter.png", "failures.png"))


def test_evaluate_says_that_there_are_no_cases(tmp_path, capsys):
    folder = _folder(tmp_path, _scan())
    assert main(["evaluate", "default", str(folder), "-o", str(tmp_path / "out")]) == 2
    assert "--use dev" in capsys.readouterr().err


def _targets(n: int) -> losses.Targets:
    truth = torch.zeros(n, 1, 8, 8)
    truth[:, :, 2:6, 2:6] = 1
    one = torch.ones(n)
    return losses.Targets(truth, one, one, one, one / 4, one, torch.ones(n, 2), torch.ones_like(truth), one)


def test_structures_of_one_scan_are_named_for_each_other():
    """Never for a part of itself, nor for what no scan shows beside it."""
    scan = _scan()
    scan = dataclasses.replace(scan, parts={**scan.parts, "abdominal_tissue": tuple(sum(scan.parts.values(), ()))})
    near = passing_off.nearness([scan])
    liver, spleen, both = (structure_names().index(name) for name in ("liver", "spleen", "abdominal_tissue"))
    assert near[liver, spleen] == near[spleen, liver] == 1
    assert not near[both].any()
    assert not near[:, both].any()
    assert near.sum() == 2


def test_a_mask_that_is_passed_off_is_wrong_as_a_whole():
    torch.manual_seed(0)
    near = torch.zeros(synthesis.nameless() + 1, synthesis.nameless() + 1)
    near[3, 5] = 1.0
    structure = torch.tensor([3] * 200 + [4] * 200 + [3] * 200)
    given = _targets(600)._replace(precision=torch.tensor([1.0] * 400 + [0.5] * 200))
    renamed, targets = passing_off.passed_off(structure, given, near)
    changed = renamed != structure
    assert 10 < changed[:200].sum() < 45
    assert not changed[200:].any(), "no neighbour is known, or the mask is not the structure's own"
    assert (renamed[changed] == 5).all()
    for column in ("precision", "recall", "dice", "whole", "truth", "fraction_known"):
        assert not getattr(targets, column)[changed].any()
        assert torch.equal(getattr(targets, column)[~changed], getattr(given, column)[~changed])
    assert torch.equal(targets.known[changed], given.truth[changed]), "known is where the other structure lies"
    assert (targets.known[~changed] == 1).all()


def test_what_is_not_known_of_the_expected_mask_costs_nothing():
    truth = torch.zeros(2, 1, 8, 8)
    known = torch.zeros_like(truth)
    known[:, :, :4] = 1
    logits = torch.full_like(truth, -20.0)
    free = logits.clone()
    free[:, :, 4:] = 20.0
    wrong = logits.clone()
    wrong[:, :, :4] = 20.0
    assert losses.mask_loss(free, truth, known) == pytest.approx(0, abs=1e-6)
    assert losses.mask_loss(wrong, truth, known) > 5
