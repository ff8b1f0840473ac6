"""A whole audit, in this process: rows, resuming, what is broken in a dataset, tables."""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit_data
import nibabel as nib
import numpy as np
import phantom
import pytest

import segae
from segae import audit
from segae.audit.results import MaskRow, Results
from segae.audit.review.verdict import KINDS
from segae.audit.scoring import runner, worker
from segae.audit.scoring.worker import Outcome, Settings
from segae.audit.store import RESULTS, Store
from segae.audit.tables import write_tables
from segae.datasets import find_cases
from segae.datasets.case import Case
from segae.errors import AuditError, ModelFileError, ParameterError

Run = Callable[..., audit.Summary]


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
        audit_data.write_case(tmp_path / "data" / case, ("liver", "spleen"), seed)
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def rows(out: Path) -> dict[tuple[str, str], MaskRow]:
    found = {(mask.case_id, mask.structure): mask for mask in audit.load(out).masks}
    assert len(found) == len(audit.load(out).masks)
    return found


def content(out: Path) -> list[list[str]]:
    """The table without its times."""
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    return [[value for key, value in row.items() if key != "seconds"] for row in table]


def test_rows_are_what_the_engine_says(run: Run, dataset: Path, out: Path, tiny_model: Path) -> None:
    summary = run(dataset, out)
    assert (summary.scored, summary.unchanged, summary.failed) == (3, 0, 0)
    found = rows(out)
    assert len(found) == 6
    engine = segae.Engine(tiny_model, "cpu")
    for (case, name), row in found.items():
        ct, mask = dataset / case / "ct.nii.gz", dataset / case / f"segmentations/{name}.nii.gz"
        assert (row.image, row.mask, row.source) == (str(ct), str(mask), f"{case}/segmentations/{name}.nii.gz")
        said = engine.assess(ct, mask, name)
        for field in ("dice", "precision", "recall", "raw", "volume_ml"):
            assert getattr(row, field) == pytest.approx(getattr(said, field), rel=1e-6)
        assert row.flags == said.flags
        assert row.bbox == said.bbox
        assert row.centroid_mm == pytest.approx(said.centroid_mm)
        assert [s.index for s in row.slices] == [s.index for s in said.slices]
        np.testing.assert_allclose([s.dice for s in row.slices], [s.dice for s in said.slices], atol=1e-5)
        assert row.error is None
        assert row.seconds > 0
    meta = audit.load(out).meta
    assert meta["dataset"] == str(dataset)
    assert meta["layout"] == "TotalSegmentator"
    assert meta["segae"] == segae.__version__
    assert meta["started"] <= meta["finished"]
    assert {row.model_sha256 for row in found.values()} == {meta["model_sha256"]}


def test_labelmaps_and_regions(run: Run, tmp_path: Path, out: Path, tiny_model: Path) -> None:
    root = audit_data.write_nnunet(tmp_path / "nn", ["a"])
    run(root, out, names={"Leber": "liver"})
    found = rows(out)
    assert {name for _, name in found} == {"liver", "spleen", "kidney_left", "kidney_right", "vertebrae_L1"}
    ct, labels = root / "imagesTr/a_0001.nii.gz", root / "labelsTr/a.nii.gz"
    engine = segae.Engine(tiny_model, "cpu")
    assert found["a", "spleen"].dice == pytest.approx(engine.score(ct, labels, "spleen", label=2), rel=1e-6)
    union = nib.Nifti1Image((np.isin(nib.load(labels).dataobj, (1, 2))).astype(np.uint8), audit_data.AFFINE)
    assert found["a", "vertebrae_L1"].dice == pytest.approx(engine.score(ct, union, "vertebrae_L1"), rel=1e-6)
    assert found["a", "vertebrae_L1"].labels == (1, 2)
    assert found["a", "vertebrae_L1"].source == "labelsTr/a.nii.gz#1+2"


def test_absent_and_unnamed_values(run: Run, tmp_path: Path, out: Path) -> None:
    """A value of dataset.json that the scan lacks is no mask; one that a table asks for is an empty mask."""
    root = audit_data.write_nnunet(tmp_path / "nn", ["a"])
    labels = phantom.labelmap()
    labels[labels == 2] = 9
    audit_data.save(labels, root / "labelsTr/a.nii.gz")
    summary = run(root, out)
    assert ("a", "spleen") not in rows(out)
    assert summary.unnamed == {9: 1}  # "Leber" is unknown, but its value is part of the region
    table = tmp_path / "list.csv"
    table.write_text("image,labelmap,structure,label\nnn/imagesTr/a_0001.nii.gz,nn/labelsTr/a.nii.gz,spleen,2\n")
    run(table, tmp_path / "out2")
    (row,) = audit.load(tmp_path / "out2").masks
    assert [flag.name for flag in row.flags] == ["empty"]
    assert math.isnan(row.dice)


def test_a_structure_that_the_model_does_not_know(run: Run, tmp_path: Path, out: Path) -> None:
    """The others of the labelmap are scored."""
    root = audit_data.write_nnunet(tmp_path / "nn", ["a"])
    summary = run(root, out, names={"Leber": "aorta"})
    found = rows(out)
    assert {name for (_, name), row in found.items() if row.error} == {"aorta"}
    assert "no entry for the structure 'aorta'" in (found["a", "aorta"].error or "")
    assert summary.unnamed == {}


def test_given_cases(run: Run, dataset: Path, out: Path) -> None:
    mask = audit.MaskFile("Liver", dataset / "s1/segmentations/liver.nii.gz")
    run([audit.Case("one", dataset / "s1/ct.nii.gz", (mask,))], out)
    (row,) = audit.load(out).masks
    assert (row.case_id, row.structure, row.name) == ("one", "liver", "Liver")


# Going on


def test_nothing_is_done_twice(run: Run, dataset: Path, out: Path) -> None:
    run(dataset, out)
    before = (content(out), rows(out))
    summary = run(dataset, out)
    assert (summary.scored, summary.unchanged) == (0, 3)
    assert (content(out), rows(out)) == before


def test_changed_files_are_scored_again(run: Run, dataset: Path, out: Path) -> None:
    run(dataset, out)
    before = rows(out)
    audit_data.save(audit_data.mask("kidney_left"), dataset / "s2/segmentations/liver.nii.gz")
    (dataset / "s3/segmentations/spleen.nii.gz").unlink()
    summary = run(dataset, out)
    assert (summary.scored, summary.unchanged) == (2, 1)
    after = rows(out)
    assert after["s2", "liver"].volume_ml != before["s2", "liver"].volume_ml
    assert after["s1", "liver"] == before["s1", "liver"]
    assert ("s3", "spleen") not in after


def test_another_model_scores_again(run: Run, dataset: Path, out: Path) -> None:
    run(dataset, out)
    summary = run(dataset, out, model="default")
    assert summary.scored == 3


def test_cases_that_are_gone_and_come_back(run: Run, dataset: Path, out: Path) -> None:
    run(dataset, out)
    before = content(out)
    (dataset / "s2").rename(dataset.parent / "s2")
    assert run(dataset, out).gone == 1
    assert {case for case, _ in rows(out)} == {"s1", "s3"}
    (dataset.parent / "s2").rename(dataset / "s2")
    summary = run(dataset, out)
    assert (summary.scored, summary.gone) == (0, 0)
    assert content(out) == before


def test_an_interrupted_run_goes_on(run: Run, dataset: Path, out: Path, tmp_path: Path) -> None:
    def stop(outcome: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(dataset, out, on_case=stop)
    assert len(audit.load(out).cases) == 1
    assert "finished" not in audit.load(out).meta
    assert run(dataset, out).scored == 2
    run(dataset, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def test_a_folder_belongs_to_one_dataset(run: Run, dataset: Path, out: Path, tmp_path: Path) -> None:
    run(dataset, out)
    audit_data.write_case(tmp_path / "other" / "s1", ("liver",))
    with pytest.raises(AuditError, match="holds the audit of"):
        run(tmp_path / "other", out)


def test_two_runs_on_one_folder(run: Run, dataset: Path, out: Path) -> None:
    with Store(out), pytest.raises(AuditError, match="another audit is writing"):
        run(dataset, out)
    assert run(dataset, out).scored == 3


def test_finished_results_are_one_plain_file(run: Run, dataset: Path, out: Path) -> None:
    """A reader in a read-only folder cannot make the files that SQLite's log needs."""
    run(dataset, out)
    assert sorted(path.name for path in out.glob("results.*")) == ["results.lock", RESULTS]
    assert (out / RESULTS).read_bytes()[18:20] == b"\1\1"  # no write-ahead log, in SQLite's file format


def test_reading_while_it_runs(run: Run, dataset: Path, out: Path) -> None:
    seen: list[int] = []
    run(dataset, out, on_case=lambda outcome: seen.append(len(audit.load(out).cases)))
    assert seen == [1, 2, 3]


# What is broken


def spoil(dataset: Path, kind: str) -> None:
    ct, liver = dataset / "s2/ct.nii.gz", dataset / "s2/segmentations/liver.nii.gz"
    if kind == "no CT":
        ct.unlink()
    elif kind == "no masks":
        for path in (dataset / "s2/segmentations").iterdir():
            path.unlink()
    elif kind == "truncated CT":
        ct.write_bytes(ct.read_bytes()[:-2000])
    elif kind == "truncated mask":
        liver.write_bytes(liver.read_bytes()[:-20])
    elif kind == "flipped bits":
        content = bytearray(ct.read_bytes())
        content[len(content) // 2] ^= 0xFF
        ct.write_bytes(content)
    elif kind == "zero bytes":
        liver.write_bytes(b"")
    elif kind == "no gzip":
        liver.write_bytes(b"hello, world" * 50)
    elif kind == "other grid":
        audit_data.save(audit_data.mask("liver")[:-1], liver)
    elif kind == "not binary":
        audit_data.save(audit_data.mask("liver") * 3 + 5 * audit_data.mask("spleen"), liver)
    elif kind == "link to itself":
        liver.unlink()
        liver.symlink_to(liver.name)
    elif kind == "folder":
        liver.unlink()
        liver.mkdir()


@pytest.mark.parametrize(
    ("kind", "failed", "message"),
    [
        ("no CT", {"liver", "spleen"}, "image: the case has no CT"),
        ("no masks", {""}, "the case has none that is known"),
        ("truncated CT", {"liver", "spleen"}, "truncated or damaged"),
        ("truncated mask", {"liver"}, "truncated or damaged"),
        ("flipped bits", {"liver", "spleen"}, "truncated or damaged"),
        ("zero bytes", {"liver"}, "not an image that nibabel can read"),
        ("no gzip", {"liver"}, "not an image that nibabel can read"),
        ("other grid", {"liver"}, "not on the image's grid: their shapes differ"),
        ("not binary", {"liver"}, "holds the values 3, 5"),
    ],
)
def test_a_broken_case_does_not_end_the_run(
    kind: str, failed: set[str], message: str, run: Run, dataset: Path, out: Path
) -> None:
    spoil(dataset, kind)
    summary = run(dataset, out)
    assert summary.failed == 1
    found = rows(out)
    assert {(case, name) for (case, name), row in found.items() if row.error} == {("s2", name) for name in failed}
    assert all(message in (found["s2", name].error or "") for name in failed)
    assert {case for case, _ in found} == {"s1", "s2", "s3"}
    state = {case.case_id: case.state for case in audit.load(out).cases}
    assert state["s2"] == ("failed" if failed != {"liver"} else "done")


@pytest.mark.parametrize("kind", ["link to itself", "folder"])
def test_what_is_no_file_is_no_mask(kind: str, run: Run, dataset: Path, out: Path) -> None:
    spoil(dataset, kind)
    run(dataset, out)
    assert ("s2", "liver") not in rows(out)
    assert ("s2", "spleen") in rows(out)


def test_a_file_that_may_not_be_read(run: Run, dataset: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read anything, so rights alone would not do here."""
    real = segae.readers.open_gzip

    def refuse(path: Path) -> Any:
        if path.name == "liver.nii.gz":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("segae.readers.open_gzip", refuse)
    run(dataset, out)
    assert all("Permission denied" in (row.error or "") for (_, name), row in rows(out).items() if name == "liver")
    assert all(row.error is None for (_, name), row in rows(out).items() if name == "spleen")


def test_cases_with_errors_are_tried_again(run: Run, dataset: Path, out: Path, tmp_path: Path) -> None:
    spoil(dataset, "zero bytes")
    run(dataset, out)
    assert run(dataset, out).scored == 1
    audit_data.save(audit_data.mask("liver"), dataset / "s2/segmentations/liver.nii.gz")
    assert run(dataset, out).failed == 0


def test_an_error_that_nobody_thought_of(run: Run, dataset: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **more: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("segae.engine.flags.check", fail)
    assert run(dataset, out).failed == 3
    assert {row.error for row in rows(out).values()} == {"ZeroDivisionError: division by zero"}


def test_empty_masks(run: Run, dataset: Path, out: Path) -> None:
    audit_data.save(audit_data.mask("liver") * 0, dataset / "s2/segmentations/liver.nii.gz")
    assert run(dataset, out).failed == 0
    row = rows(out)["s2", "liver"]
    assert [flag.name for flag in row.flags] == ["empty"]
    assert math.isnan(row.dice)
    assert (row.volume_ml, row.bbox, row.centroid_mm, row.slices) == (0.0, None, None, ())


def test_a_lost_mount_stops_the_run(run: Run, dataset: Path, out: Path) -> None:
    """No case is to blame; what was done is kept, and the run goes on when the dataset is back."""

    def unmount(outcome: Outcome) -> None:
        dataset.rename(dataset.parent / "elsewhere")
        dataset.mkdir()

    with pytest.raises(AuditError, match="was a mount lost"):
        run(dataset, out, on_case=unmount)
    assert [case.case_id for case in audit.load(out).cases] == ["s1"]
    dataset.rmdir()
    (dataset.parent / "elsewhere").rename(dataset)
    summary = run(dataset, out)
    assert (summary.scored, summary.failed) == (2, 0)


def test_a_full_disk_stops_the_run(
    run: Run, dataset: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite is told that the file may not grow, and fails as on a full disk."""

    def fill(outcome: Outcome) -> None:
        pages = stores[-1]._database.execute("PRAGMA page_count").fetchone()[0]
        stores[-1]._database.execute(f"PRAGMA max_page_count = {pages}")

    stores: list[Store] = []

    class Watched(Store):
        def __init__(self, out: Path) -> None:
            super().__init__(out)
            stores.append(self)

        def commit(self, case: audit.CaseRow, masks: Iterable[MaskRow]) -> None:
            long = [replace(mask, slices_json="[" + "[1,1,1,1,1,1]," * 3000 + "[1,1,1,1,1,1]]") for mask in masks]
            super().commit(case, long)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "Store", Watched)
        with pytest.raises(AuditError, match=r"disk is full.*All cases that were finished before are kept"):
            run(dataset, out, on_case=fill)
    assert [case.case_id for case in audit.load(out).cases] == ["s1"]
    database = sqlite3.connect(out / RESULTS)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert run(dataset, out).scored == 2


def test_tables_that_cannot_be_written(run: Run, dataset: Path, out: Path) -> None:
    (out / "scores.csv").mkdir(parents=True)
    with pytest.raises(AuditError, match=r"scores\.csv cannot be written.*The results are safe"):
        run(dataset, out)
    (out / "scores.csv").rmdir()
    assert run(dataset, out).unchanged == 3
    assert not list(out.glob("*.new"))


def test_damaged_results(run: Run, dataset: Path, out: Path) -> None:
    out.mkdir()
    (out / RESULTS).write_bytes(b"no database at all, but long enough to look at" * 100)
    with pytest.raises(AuditError, match="move it away"):
        run(dataset, out)
    with pytest.raises(AuditError, match="cannot be read"):
        audit.load(out)
    (out / RESULTS).unlink()
    with pytest.raises(AuditError, match="holds no results"):
        audit.load(out)


def test_wrong_use(run: Run, dataset: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="workers"):
        run(dataset, out, workers=0)
    with pytest.raises(ModelFileError, match="no such file"):
        run(dataset, out, model=tmp_path / "missing.onnx")
    (tmp_path / "file").touch()
    with pytest.raises(AuditError, match="cannot be written"):
        run(dataset, tmp_path / "file" / "out")
    (tmp_path / "unknown/s1/segmentations").mkdir(parents=True)
    (tmp_path / "unknown/s1/segmentations/livver.nii.gz").touch()
    with pytest.raises(AuditError, match=r"no mask of a known structure.*livver \(closest: liver\)"):
        run(tmp_path / "unknown", out)


# Tables

NASTY = ("=1+1", "+1", "-1", "@a", "'=1", 'say "a,b"', "<script>alert(1)</script>", "ü 脾", "a;b", "../../etc/passwd")


@pytest.fixture
def nasty(run: Run, tmp_path: Path, out: Path) -> Path:
    """Cases whose names are meant to do harm."""
    case = audit_data.write_case(tmp_path / "one", ("liver",))
    mask = audit.MaskFile("liver", case / "segmentations/liver.nii.gz")
    run([audit.Case(name, case / "ct.nii.gz", (mask,)) for name in NASTY], out)
    return out


def test_nothing_is_written_outside(nasty: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "out"]
    assert sorted(path.name for path in nasty.iterdir()) == [
        "dataset.csv", "matrix.csv", "results.lock", RESULTS, "scores.csv", "summary.csv",
    ]  # fmt: skip


def test_no_cell_is_a_formula(nasty: Path) -> None:
    for table in nasty.glob("*.csv"):
        with table.open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        for cell in cells:
            number = cell.lstrip("-").replace(".", "").replace("e", "").isdigit()
            assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert {mask.case_id for mask in audit.load(nasty).masks} == set(NASTY)


@pytest.mark.parametrize("reader", ["pandas", "polars"])
def test_tables_are_read_as_they_are(reader: str, run: Run, dataset: Path, out: Path) -> None:
    library = pytest.importorskip(reader)
    audit_data.save(audit_data.mask("liver") * 0, dataset / "s2/segmentations/liver.nii.gz")
    run(dataset, out)
    scores = library.read_csv(out / "scores.csv")
    assert list(scores["case"]) == ["s1", "s1", "s2", "s2", "s3", "s3"]
    dice = [float("nan") if value is None else value for value in scores["dice"].to_list()]
    np.testing.assert_allclose(dice, [mask.dice for mask in audit.load(out).masks], rtol=1e-5)
    ranked = audit.rank(audit.load(out))
    told = list(zip(scores["rank"], scores["case"], scores["structure"], strict=True))
    assert sorted(told) == [(entry.place, entry.mask.case_id, entry.mask.structure) for entry in ranked]
    assert set(scores["finding"]) <= set(KINDS)
    assert library.read_csv(out / "matrix.csv").shape == (3, 3)
    assert library.read_csv(out / "summary.csv").shape[0] == 2
    assert library.read_csv(out / "dataset.csv").shape[0] == 1


def test_summaries_by_hand(out: Path) -> None:
    def row(case: str, structure: str, dice: float, **more: Any) -> MaskRow:
        nan = float("nan")
        told = {
            "source": case, "name": structure, "precision": nan, "recall": nan, "raw": nan, "volume_ml": 10 * dice,
            "flags": (), "image": "", "mask": "", "labels": (), "bbox": None, "centroid_mm": None, "slices_json": "[]",
            "seconds": 0.0, "model_sha256": "", "error": None,
        }  # fmt: skip
        return MaskRow(case_id=case, structure=structure, dice=dice, **{**told, **more})

    masks = [row(str(k), "liver", k / 100) for k in range(101)]
    masks += [
        row("0", "liver", 0.9, source="second"),
        row("1", "spleen", float("nan"), error="broken", volume_ml=float("nan")),
        row("2", "spleen", float("nan"), flags=(segae.Flag("empty", ""),), volume_ml=0.0),
    ]
    cases = [audit.CaseRow(str(k), "done", "", "broken" if k == 1 else None, 0.0) for k in range(101)]
    out.mkdir()
    write_tables(Results(out, masks, cases, {}))

    def table(name: str) -> list[dict[str, str]]:
        with (out / name).open(newline="") as file:
            return list(csv.DictReader(file))

    liver, spleen = table("summary.csv")
    assert float(liver["dice_p50"]) == pytest.approx(np.percentile([*(k / 100 for k in range(101)), 0.9], 50), abs=1e-6)
    assert (liver["masks"], liver["failed"], liver["empty"]) == ("102", "0", "0")
    assert (spleen["masks"], spleen["failed"], spleen["empty"], spleen["flagged"]) == ("2", "1", "1", "1")
    assert (spleen["dice_p50"], spleen["volume_ml_p50"]) == ("", "")
    (whole,) = table("dataset.csv")
    assert (whole["cases"], whole["cases_with_errors"], whole["structures"], whole["masks"]) == ("101", "1", "2", "104")
    matrix = {entry["case"]: entry for entry in table("matrix.csv")}
    assert matrix["0"]["liver"] == "0"  # the worse of two
    assert matrix["1"]["spleen"] == ""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_stays_flat(dataset: Path, tiny_model: Path) -> None:
    """However many cases a worker has seen."""
    import resource

    def held_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    case = find_cases(dataset).cases[0]
    settings = Settings(str(tiny_model), worker.sha256_of(tiny_model), "cpu", 1, str(dataset))
    for _ in range(10):
        worker.score_case(case, settings)
    before = held_mb()
    for _ in range(100):
        worker.score_case(case, settings)
    assert held_mb() - before < 10


def test_progress_where_a_person_looks(run: Run, dataset: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    run(dataset, out, progress=True)
    last = terminal.getvalue().split("\r")[-1]
    assert "3/3" in last
    assert "6 masks" in last
    assert "case" in last
    terminal.truncate(0)
    run(dataset, out, progress=False)
    assert terminal.getvalue() == ""


# The command


def test_dry_run(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from segae.cli import main

    (dataset / "s1/segmentations/livver.nii.gz").touch()
    assert main(["audit", str(dataset), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "TotalSegmentator\n  3 cases, 6 masks of 2 structures" in told
    assert "livver, 1 times: closest: liver" in told


def test_command(run: Run, dataset: Path, out: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from segae.cli import main

    command = ["audit", str(dataset), "-o", str(out), "--no-report", "--model", str(tiny_model), "--device", "cpu"]
    spoil(dataset, "zero bytes")
    assert main(command) == 0
    told = capsys.readouterr()
    assert "3 cases scored" in told.out
    assert "1 cases with errors:\n  s2: 1 of 2 masks: mask: " in told.out
    assert told.err == ""  # no bar where nobody looks
    assert main([*command, "--json-lines"]) == 0
    told = capsys.readouterr()
    (line,) = told.out.splitlines()
    assert json.loads(line)["case"] == "s2"
    assert json.loads(line)["masks"][1]["dice"] == pytest.approx(rows(out)["s2", "spleen"].dice, abs=1e-6)
    assert "unchanged" in told.err


def test_gate(run: Run, dataset: Path, out: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from segae.cli import main

    command = ["audit", str(dataset), "-o", str(out), "--no-report", "--model", str(tiny_model), "--device", "cpu"]
    run(dataset, out)
    dice = [mask.dice for mask in rows(out).values()]
    assert main([*command, "--fail-below", str(min(dice) - 1e-6)]) == 0
    assert main([*command, "--fail-below", str(min(dice) + 1e-6)]) == 3
    assert "1 masks below" in capsys.readouterr().out
    spoil(dataset, "zero bytes")
    assert main([*command, "--fail-below", "0"]) == 3
    assert "1 could not be scored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data"], "say where the results go"),
        (["-o", "out"], "name the folder or table"),
        (["--dry-run"], "name the folder or table"),
        (["data", "-o", "out", "--workers", "0"], "workers"),
    ],
)
def test_wrong_options(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    from segae.cli import main

    assert main(["audit", *arguments]) == 2
    assert message in capsys.readouterr().err
