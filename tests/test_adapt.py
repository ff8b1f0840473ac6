"""Adaptation: every mask is judged by a model that did not see its case, and what goes wrong costs no audit."""

from __future__ import annotations

import csv
import itertools
import os
import subprocess
import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("onnx")

from test_train import CPU, _judge, _scan  # noqa: E402

import segae.train  # noqa: E402
from segae import audit, structures  # noqa: E402
from segae.cli import main  # noqa: E402
from segae.cli import train as cli_train  # noqa: E402
from segae.cli.audit import minutes  # noqa: E402
from segae.errors import ParameterError  # noqa: E402
from segae.session import Session, card_of  # noqa: E402
from segae.train import adapting, data, export, fit, run, synthesis  # noqa: E402
from segae.train.adapting import Word  # noqa: E402
from segae.train.restore import restore  # noqa: E402

FEW = fit.Settings(steps=2, batch=8, ring=1, pull=1.0)
pytestmark = pytest.mark.filterwarnings("ignore::segae.NotCTWarning")  # the made-up scans have no air


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small network, samples made in this process; returns a model file and the cases of every run that began."""
    monkeypatch.setattr(fit, "new_judge", _judge)
    monkeypatch.setattr(export, "new_judge", _judge)
    monkeypatch.setattr(run, "_SETTLING", 2)
    monkeypatch.setattr(fit, "islice", lambda batches, count: itertools.islice(batches, min(count, 2)))
    begun = []

    def start(ring, source, seed, workers):
        ring.folder.mkdir(parents=True, exist_ok=True)
        begun.append(source)
        source = fit.Mixture(source.folder, source.leave_out, shard=16, open_visits=2, worth=source.worth)
        ring.put(next(source(np.random.default_rng(seed))), 0)
        return [SimpleNamespace(is_alive=lambda: True, terminate=lambda: None)] * workers

    monkeypatch.setattr(fit.feed, "start", start)
    _begun({"liver", "pancreas"}).save(tmp_path / "checkpoint.pt")
    export.export(tmp_path / "checkpoint.pt", tmp_path / "tiny.onnx", "tiny")
    return SimpleNamespace(model=tmp_path / "tiny.onnx", begun=begun)


def _begun(trained):
    """A run before its first step."""
    begin = fit.JudgeRun(fit.Settings(steps=1, batch=8), trained, CPU)
    with torch.no_grad():
        for weights in begin.average.module.parameters():  # equal tensors would be one in the file
            weights.add_(0.01 * torch.randn_like(weights))
    return begin


def _dataset(folder, cases, names=("liver", "spleen")):
    """Folders of masks, as `segae audit` reads them."""
    scan = _scan()
    lps = np.diag([-scan.spacing_mm[2], -scan.spacing_mm[1], scan.spacing_mm[0], 1.0])
    for i in range(cases):
        case = folder / f"case{i}"
        (case / "segmentations").mkdir(parents=True)
        nib.save(nib.Nifti1Image(scan.image.transpose(2, 1, 0), lps), case / "ct.nii.gz")
        for name in names:
            mask = scan.mask(name).astype(np.uint8).transpose(2, 1, 0)
            nib.save(nib.Nifti1Image(mask, lps), case / "segmentations" / f"{name}.nii.gz")
    return folder


def _all_sound(monkeypatch, dice=0.9):
    """The untrained judge's words are noise: masks are said to be sound, whatever it says."""
    monkeypatch.setattr(
        adapting, "_judge", lambda engine, scan: [Word(scan.case, name, dice) for name in sorted(scan.parts)]
    )


def test_every_mask_is_judged_by_a_model_that_did_not_see_its_case(tmp_path, small, monkeypatch):
    _all_sound(monkeypatch)
    folder, out = _dataset(tmp_path / "set", 5), tmp_path / "out"
    found = segae.train.adapt(folder, out, small.model, folds=2, minutes=10, device="cpu", threads=1, settings=FEW)
    assert len(found.masks) == 10
    assert {mask.by for mask in found.masks} == {"adapted"}
    assert [path.name for path in found.models] == ["fold1.onnx", "fold2.onnx", "all.onnx"]
    left_out = [set(source.leave_out) for source in small.begun]
    assert left_out[:2] == left_out[2:4], "two rounds over the same folds"
    assert left_out[0] | left_out[1] == {f"case{i}" for i in range(5)}
    assert not left_out[0] & left_out[1]
    assert left_out[4] == set()
    for mask in found.masks:
        assert mask.case in left_out[mask.fold - 1]
    card = Session(found.models[-1], "cpu", 1).card
    assert card.trained == {"liver", "spleen", "pancreas"}, "what was known is still known"
    rows = list(csv.DictReader((out / "adapted.csv").read_text().splitlines()))
    assert len(rows) == 10
    assert float(rows[0]["score"]) == pytest.approx(found.masks[0].score)
    again = len(small.begun)
    assert (
        segae.train.adapt(folder, out, small.model, folds=2, minutes=10, device="cpu", threads=1, settings=FEW) == found
    )
    assert len(small.begun) == again, "nothing is learned twice"


def test_a_killed_adaptation_goes_on(tmp_path, small, monkeypatch):
    _all_sound(monkeypatch)
    folder, out = _dataset(tmp_path / "set", 5), tmp_path / "out"
    whole = adapting.ship
    shipped = []

    def killed(*arguments):
        shipped.append(arguments[1].name)
        if len(shipped) == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(adapting, "ship", killed)
    same = {"folds": 2, "minutes": 10, "device": "cpu", "threads": 1, "settings": FEW}
    with pytest.raises(KeyboardInterrupt):
        adapting.adapt(folder, out, small.model, **same)
    adapting.adapt(folder, out, small.model, **same)
    assert shipped == ["fold1.onnx", "fold2.onnx", "fold2.onnx", "fold1.onnx", "fold2.onnx", "all.onnx"]
    (folder / "case0" / "segmentations" / "liver.nii.gz").touch()
    adapting.adapt(folder, out, small.model, **same)
    assert len(shipped) == 11, "a corrected mask is learned anew"


def test_few_sound_masks_leave_the_word_to_the_given_model(tmp_path, small, monkeypatch):
    _all_sound(monkeypatch)
    folder = _dataset(tmp_path / "set", 5)
    (folder / "case0" / "segmentations" / "spleen.nii.gz").unlink()
    found = adapting.adapt(folder, tmp_path / "out", small.model, folds=2, device="cpu", threads=1, settings=FEW)
    assert found.kept == {"spleen": 4}
    assert {(mask.structure, mask.by) for mask in found.masks} == {("liver", "adapted"), ("spleen", "default")}


@pytest.fixture
def unregistered(monkeypatch):
    """Names that a test registers are forgotten."""
    monkeypatch.setenv("SEGAE_STRUCTURES", "")
    table = structures._table()
    before = [dict(known) for known in (table.by_name, table.by_key)]
    yield
    for known, kept in zip((table.by_name, table.by_key), before, strict=True):
        known.clear()
        known.update(kept)


def test_names_that_nobody_knew_are_learned(tmp_path, small, monkeypatch, unregistered):
    folder, out = _dataset(tmp_path / "set", 5), tmp_path / "out"
    for i in range(5):
        masks = folder / f"case{i}" / "segmentations"
        (masks / "spleen.nii.gz").rename(masks / "Odd Lesion.nii.gz")
    (folder / "case0" / "segmentations" / "rare.nii.gz").write_bytes((masks / "liver.nii.gz").read_bytes())
    found = adapting.adapt(folder, out, small.model, folds=2, device="cpu", threads=1, settings=FEW)
    assert found.new == ("odd_lesion",), "and a name that one mask bears is left out"
    lesions = [mask for mask in found.masks if mask.structure == "odd_lesion"]
    assert len(lesions) == 5
    assert all(np.isnan(mask.default) and 0 <= mask.adapted <= 1 and mask.by == "adapted" for mask in lesions)
    assert Session(found.models[-1], "cpu", 1).card.structures[-1] == "odd_lesion"
    code = (
        "import sys, segae; engine = segae.Engine(sys.argv[1], 'cpu');"
        "print(engine.score(sys.argv[2], sys.argv[3], 'Odd lesion'))"
    )
    case = folder / "case0"
    arguments = [str(found.models[-1]), str(case / "ct.nii.gz"), str(case / "segmentations" / "Odd Lesion.nii.gz")]
    environment = {**os.environ, "SEGAE_STRUCTURES": ""}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(
        segae.Engine(found.models[-1], "cpu").score(*arguments[1:], "odd_lesion"), abs=1e-6
    )


def test_codes_follow_their_names(tmp_path, small, unregistered):
    """Where another file brought another name first, a model's new structure has another place than in its file."""
    structures.register("lesion")
    begin = _begun({"lesion"})
    begin.save(tmp_path / "lesion.pt")
    export.export(tmp_path / "lesion.pt", tmp_path / "lesion.onnx", "lesion")
    wanted = begin.average.module.eval().code(torch.tensor([structures.names().index("lesion")]))
    for known in (structures._table().by_name, structures._table().by_key):
        known.pop(next(key for key, made in known.items() if made.name == "lesion"))
    structures.register("another")
    assert "lesion" not in structures.names()
    assert "lesion" in card_of(tmp_path / "lesion.onnx").structures
    restored = _judge()
    restore(restored, tmp_path / "lesion.onnx")
    found = restored.eval().code(torch.tensor([structures.names().index("lesion")]))
    assert torch.allclose(found, wanted, atol=1e-3)


def test_registering_a_name(unregistered):
    with pytest.raises(segae.UnknownStructureError):
        structures.get("Psoas_Left")
    made = structures.register("Psoas Left")
    assert (made.name, made.side, made.group) == ("psoas_left", "left", "tissue")
    assert structures.register("psoas_left") is made is structures.get("LEFT PSOAS")
    assert structures.register("Liver").name == "liver"
    assert structures.names()[-1] == "psoas_left"
    assert structures.register("psoas right").id == made.id + 1
    for wrong in ("", "7", "x" * 65, "???"):
        with pytest.raises(ParameterError, match="name: "):
            structures.register(wrong)


def test_what_masks_teach():
    words = [Word("a", "liver", 0.9), Word("b", "liver", 0.9, ("gaps",)), Word("c", "liver", float("nan"))]
    assert adapting._worth(words, None) == {"a": {"liver": 1}, "b": {"liver": 0}, "c": {"liver": 0}}
    judged = [Word("a", "liver", 0.6), Word("b", "liver", 0.9)]
    assert adapting._worth(words, judged)["a"]["liver"] == pytest.approx(0.5)
    assert adapting._worth(words, judged)["b"]["liver"] == 0


def test_masks_that_teach_nothing_are_not_drawn():
    scan = _scan()
    weighed = scan.weighed({"liver": 0.25, "spleen": 0.0})
    assert weighed.parts.keys() == {"liver"}
    visit = synthesis.Visit(weighed, np.random.default_rng(0))
    assert set(visit.draw(8).structure.tolist()) == {synthesis.structure_names().index("liver")}
    parts = {"lung_left": (1,), "lung_right": (2,), "lung": (1, 2)}
    lungs = data.LabelledScan("x", scan.image, scan.labelmap, parts, (1, 1, 1))
    assert lungs.weighed({"lung_left": 0.0, "lung_right": 1.0}).parts.keys() == {"lung_right"}
    assert lungs.mirrored().weighed({"lung_right": 0.5}).worth["lung"] == 0.5


def test_the_pull_leads_back_to_the_first_weights(small):
    """A strong pull leaves the weights where they were; without one they move."""
    ring_samples = synthesis.Visit(_scan(), np.random.default_rng(0)).draw(8)
    moved = []
    for pull in (0.0, 1e9):
        judge = fit.JudgeRun(fit.Settings(steps=2, batch=8, pull=pull), {"liver"}, CPU)
        first = {name: value.clone() for name, value in judge.network.named_parameters()}
        judge.begin_with(judge.network.state_dict())
        judge.network.train()
        judge._learn(ring_samples)
        moved.append(max(float((v - first[n]).abs().max().detach()) for n, v in judge.network.named_parameters()))
    assert moved[0] > 0 == moved[1]


def test_a_run_ends_with_its_time(tmp_path, small):
    ring = fit.feed.Ring(tmp_path / "ring", 1)
    ring.folder.mkdir()
    ring.put(synthesis.Visit(_scan(), np.random.default_rng(0)).draw(8), 0)
    judge = fit.JudgeRun(fit.Settings(steps=10**6, batch=8, seconds=0.5, pull=1.0), {"liver"}, CPU)
    judge.begin_with(judge.network.state_dict())
    judge.train(ring, tmp_path / "checkpoint.pt", 50)
    assert 0 < judge.step < 10**6
    again = fit.JudgeRun(judge.settings, {"liver"}, CPU)
    again.resume(tmp_path / "checkpoint.pt")
    assert again.spent_s >= 0.5
    assert again.anchor.keys() == judge.anchor.keys() != set()


@pytest.mark.parametrize(("cases", "dice"), [(2, 0.9), (5, 0.1), (5, float("nan"))])
def test_nothing_to_learn_from(tmp_path, small, monkeypatch, cases, dice):
    """Two cases; labels that are all wrong; empty masks only."""
    _all_sound(monkeypatch, dice)
    folder = _dataset(tmp_path / "set", cases)
    with pytest.raises(ParameterError, match="no structure has 5"):
        adapting.adapt(folder, tmp_path / "out", small.model, folds=2, device="cpu", settings=FEW)
    assert not small.begun


def test_more_folds_than_cases(tmp_path, small):
    with pytest.raises(ParameterError, match="folds: expected 2 or more"):
        adapting.adapt(_dataset(tmp_path / "set", 2), tmp_path / "out", small.model, folds=3)


@pytest.mark.parametrize("fault", ["torch", "disk", "cases"])
def test_the_audit_stands_when_adaptation_fails(tmp_path, monkeypatch, capsys, small, fault):
    folder, out = _dataset(tmp_path / "set", 2, ("liver",)), tmp_path / "out"
    if fault == "torch":
        monkeypatch.setattr(cli_train, "find_spec", lambda name: None)
    if fault == "disk":

        def full(*arguments, **named):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(adapting, "adapt", full)
    options = ["--adapt", "--model", str(small.model), "--no-report", "--workers", "1", "--device", "cpu"]
    assert main(["audit", str(folder), "-o", str(out), *options]) == 2
    said = capsys.readouterr().err
    assert {"torch": "segae[train]", "disk": "No space left", "cases": "folds"}[fault] in said
    assert "stands" in said
    assert (out / "scores.csv").exists()


def test_the_audit_shows_what_the_adapted_models_say(tmp_path, monkeypatch, small):
    _all_sound(monkeypatch, 0.75)
    monkeypatch.setattr(adapting, "_SETTINGS", FEW)
    monkeypatch.setattr(adapting.adapt, "__kwdefaults__", {**adapting.adapt.__kwdefaults__, "settings": FEW})
    folder, out = _dataset(tmp_path / "set", 5, ("liver",)), tmp_path / "out"
    options = ["--model", str(small.model), "--workers", "1", "--device", "cpu", "--reference", "none"]
    assert main(["audit", str(folder), "-o", str(out), *options, "--adapt", "--folds", "2"]) == 0
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [row["adapted_dice"] for row in rows] == ["0.75"] * 5
    assert all(float(row["dice"]) <= 0.75 for row in rows)
    assert all(row["judge_dice"] != "0.75" for row in rows), "what the model said before stays"
    assert '"adapted":[0.75' in (out / "report.html").read_text(encoding="utf-8")
    assert main(["audit", str(folder), "-o", str(out), *options, "--no-report"]) == 0
    assert [mask.adapted_dice for mask in audit.load(out).masks] == [0.75] * 5, "a later audit keeps it"
    mask = folder / "case0" / "segmentations" / "liver.nii.gz"
    mask.write_bytes(mask.read_bytes())
    assert main(["audit", str(folder), "-o", str(out), *options, "--no-report"]) == 0
    assert [m.case_id for m in audit.load(out).masks if m.adapted_dice != 0.75] == ["case0"], "but not of a new file"


def test_lengths_of_time():
    assert [minutes(text) for text in ("90s", "30m", "2h", "5")] == [1.5, 30, 120, 5]
    with pytest.raises(Exception, match="30m"):
        minutes("soon")
