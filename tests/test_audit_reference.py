"""An audit with masks of another origin beside those that are scored."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit_data
import audits
import nibabel as nib
import numpy as np
import pytest

from segae import audit
from segae.audit.report.page import write_report
from segae.audit.scoring import runner, worker
from segae.audit.scoring.weighing import weighed, with_adapted
from segae.audit.scoring.worker import Outcome, Settings
from segae.cli import main
from segae.datasets.case import Case
from segae.errors import AuditError, ParameterError
from segae.session import Session, model_path

Run = Callable[..., audit.Summary]
STRUCTURES = ("liver", "spleen")


@pytest.fixture
def run(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`audit.run` without worker processes."""

    def here(cases: Iterable[Case], workers: int, settings: Settings) -> Iterator[Outcome]:
        return (worker.score_case(case, settings) for case in cases)

    monkeypatch.setattr(runner, "score_here", here)

    def call(dataset: Any, out: Path, **more: Any) -> audit.Summary:
        return audit.run(dataset, out, **{"model": tiny_model, "device": "cpu", "progress": False, **more})

    return call


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for seed, case in enumerate(("s1", "s2", "s3")):
        audit_data.write_case(tmp_path / "data" / case, STRUCTURES, seed)
    return tmp_path / "data"


def _moved(path: Path, rows: int, goal: Path, value: int = 1) -> np.ndarray[Any, Any]:
    mask = nib.load(path)
    array = np.roll(np.asarray(mask.dataobj), rows, axis=1).astype(np.uint8) * np.uint8(value)
    goal.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, mask.affine), goal)
    return array


@pytest.fixture
def reference(dataset: Path, tmp_path: Path) -> Path:
    """A mask a structure in a folder a case, as TotalSegmentator writes them; nothing of s3."""
    for case in ("s1", "s2"):
        for name in STRUCTURES:
            source = dataset / case / "segmentations" / f"{name}.nii.gz"
            _moved(source, 1, tmp_path / "theirs" / case / f"{name}.nii.gz")
    return tmp_path / "theirs"


def test_masks_beside_the_references(run: Run, dataset: Path, reference: Path, tmp_path: Path) -> None:
    plain = {(m.case_id, m.structure): m for m in run(dataset, tmp_path / "plain", reference=None).results.masks}
    summary = run(dataset, tmp_path / "out", reference=reference)
    for mask in summary.results.masks:
        alone = plain[mask.case_id, mask.structure]
        assert mask.judge_dice == pytest.approx(alone.dice)
        if mask.case_id == "s3":
            assert mask.reference_source == ""
            assert mask.dice == alone.dice
        else:
            assert mask.reference_source == "given"
            assert 0.5 < mask.reference_dice < 1
            assert mask.dice_low <= mask.dice <= mask.dice_high
            # One reliability for a structure, drawn from its overlaps.
            assert 0.5 < mask.reference_reliability < 1
    lines = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    table = {(row["case"], row["structure"]): row for row in csv.DictReader(lines)}
    assert float(table["s1", "liver"]["reference_dice"]) > 0.5
    assert table["s3", "liver"]["reference_dice"] == ""
    # The reference is part of what was done: without a change nothing is done again, with another all is.
    assert run(dataset, tmp_path / "out", reference=reference).scored == 0
    assert run(dataset, tmp_path / "out", reference=None).scored == 3


def test_the_report_shows_both_outlines(run: Run, dataset: Path, reference: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "out", reference=reference)
    page = write_report(tmp_path / "out", device="cpu").read_text(encoding="utf-8")
    pictures = [json.loads(text) for text in re.findall(r'id="picture-\d+">(.*?)</script>', page, re.DOTALL)]
    outlined = [all(plane["reference"] for plane in picture["planes"][:3]) for picture in pictures]
    assert sum(outlined) == 4  # two structures of two cases
    assert len(outlined) == 6


def test_predictions_in_one_folder(run: Run, dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "predicted"
    for case in ("s1", "s2", "s3"):
        liver = _moved(dataset / case / "segmentations" / "liver.nii.gz", 1, folder / f"{case}.nii.gz", 2)
        assert liver.any()
    with pytest.raises(AuditError, match=r"reference: .* holds no masks"):
        run(dataset, tmp_path / "out", reference=folder)
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 2}}))
    masks = run(dataset, tmp_path / "out", reference=folder).results.masks
    assert {m.structure for m in masks if m.reference_source} == {"liver"}


def test_a_reference_that_cannot_be_used_is_told_once(run: Run, dataset: Path, reference: Path, tmp_path: Path) -> None:
    (reference / "s1" / "liver.nii.gz").write_bytes(b"no image")
    masks = run(dataset, tmp_path / "out", reference=reference).results.masks
    told = [m.case_id for m in masks for flag in m.flags if flag.name == "reference_unusable"]
    assert told == ["s1"]
    assert all(m.error is None for m in masks)


def test_trust_comes_from_the_cohort() -> None:
    rows = [_row(f"c{i}", 0.93) for i in range(30)] + [_row("bad", 0.3)]
    found = {row.case_id: row for row in weighed(rows, (), None)}
    assert found["bad"].dice < 0.6, "the judge alone says 0.8"
    assert found["c0"].dice > 0.8
    assert found["c0"].reference_reliability == pytest.approx(0.92, abs=0.02)
    # Where masks and references never agree, nobody knows which is wrong: the judge is heard.
    apart = [_row(f"c{i}", 0.3) for i in range(30)]
    assert all(row.dice == pytest.approx(0.8, abs=0.01) for row in weighed(apart, (), None))


def test_verified_cases_decide_alone() -> None:
    rows = [_row(f"c{i}", 0.3) for i in range(30)] + [_row(f"v{i}", 0.95) for i in range(40)]
    found = weighed(rows, {f"v{i}" for i in range(40)}, None)
    assert all(row.reference_reliability > 0.9 for row in found)


def test_what_the_scan_took_stays_taken() -> None:
    rows = [_row(f"c{i}", 0.93) for i in range(30)] + [replace(_row("swap", 0.93), dice=0.05)]
    assert {row.case_id: row.dice for row in weighed(rows, (), None)}["swap"] == 0.05


def test_an_adapted_model_is_heard_in_the_judge_s_place() -> None:
    card = Session(model_path("default"), "cpu", 1).card
    alone = audits.mask_row("alone", dice=0.9, judge_dice=0.9)
    capped = audits.mask_row("capped", dice=0.1, judge_dice=0.9)
    twice = [replace(audits.mask_row("twice", dice=0.9, judge_dice=0.9), source=source) for source in "ab"]
    empty = audits.mask_row("empty", dice=math.nan, judge_dice=math.nan)
    rows = [alone, capped, *twice, empty, _row("reference", 0.93)]
    said = {(row.case_id, row.structure): 0.4 for row in rows}
    now = {row.case_id: row for row in with_adapted(rows, said, card)}
    assert now.keys() == {"alone", "capped", "reference"}
    assert now["alone"].dice == now["alone"].adapted_dice == 0.4
    assert now["alone"].dice_low < 0.4 < now["alone"].dice_high
    assert now["alone"].judge_dice == 0.9
    assert now["capped"].dice == now["capped"].dice_high == 0.1, "what the scan took stays taken"
    assert 0.4 < now["reference"].dice < _row("reference", 0.93).dice, "a reference is weighed with it"
    back = {row.case_id: row for row in with_adapted(list(now.values()), {}, card)}
    assert back["alone"].dice == 0.9, "what an earlier call brought is taken back"
    assert back["reference"].dice == pytest.approx(_row("reference", 0.93).dice)


def test_an_unknown_verified_case(run: Run, dataset: Path, reference: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"verified: .*'s9'"):
        run(dataset, tmp_path / "out", reference=reference, verified=["s9"])


def test_command_line(dataset: Path, reference: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ["--workers", "1", "--no-report", "--device", "cpu", "--reference", str(reference), "--verified", "s1,s2"]
    assert main(["audit", str(dataset), "-o", str(out), "--model", str(tiny_model), *more]) == 0
    assert any(mask.reference_dice > 0 for mask in audit.load(out).masks)


def _row(case: str, overlap: float, judge: float = 0.8) -> audit.MaskRow:
    from segae.audit.scoring.weighing import _comparison
    from segae.reference.fusion import fuse

    row = audits.mask_row(
        case, dice=0.0, judge_dice=judge, reference_source="given", reference_dice=overlap,
        reference_precision=overlap, reference_recall=overlap, reference_reliability=0.85,
    )  # fmt: skip
    return replace(row, dice=fuse("liver", judge, _comparison(row)).dice)
