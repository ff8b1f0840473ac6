"""Decisions that reviewers export are merged into an audit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from audits import mask_row, write_audit

from segae import cli
from segae.audit.review import decisions
from segae.errors import AuditError

SOURCE = "{}/segmentations/liver.nii.gz"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_audit(tmp_path / "out", [mask_row(case) for case in ("a", "b", "=c", "'d")])


def _entry(case: str, decision: str = "reject", time: str = "2026-03-01T10:00:00.000Z", **more: str) -> dict[str, str]:
    return {
        "case": case,
        "structure": "liver",
        "source": SOURCE.format(case),
        "decision": decision,
        "time": time,
    } | more


def _json(path: Path, *entries: dict[str, str]) -> Path:
    path.write_text(json.dumps({"segae_decisions": 1, "decisions": entries}), encoding="utf-8")
    return path


def _choices(out: Path) -> dict[str, str]:
    return {key[0]: entry.decision for key, entry in decisions.load(out).items()}


def test_the_later_decision_holds_whatever_the_order_of_merging(out: Path, tmp_path: Path) -> None:
    early = _json(tmp_path / "early.json", _entry("a", "accept"), _entry("b", "accept"))
    late = _json(tmp_path / "late.json", _entry("a", "reject", "2026-03-02T09:00:00+02:00", reviewer="two"))
    merged = decisions.merge(out, late)
    assert (merged.new, merged.changed, merged.older) == (1, 0, 0)
    merged = decisions.merge(out, early)
    assert (merged.new, merged.changed, merged.older) == (1, 0, 1)
    assert _choices(out) == {"a": "reject", "b": "accept"}
    assert decisions.load(out)["a", "liver", SOURCE.format("a")].time == "2026-03-02T07:00:00.000Z"


def test_an_undone_decision_undoes_the_one_before(out: Path, tmp_path: Path) -> None:
    decisions.merge(out, _json(tmp_path / "1.json", _entry("a", "reject")))
    merged = decisions.merge(out, _json(tmp_path / "2.json", _entry("a", "", "2026-03-03T00:00:00.000Z")))
    assert merged.changed == 1
    assert _choices(out) == {"a": ""}


def test_a_table_written_by_hand(out: Path, tmp_path: Path) -> None:
    file = tmp_path / "hand.csv"
    file.write_text(f"decision,case,source,structure\n Accept,b,{SOURCE.format('b')},liver\n", encoding="utf-8-sig")
    assert decisions.merge(out, file).new == 1
    assert _choices(out) == {"b": "accept"}


def test_formula_like_and_quoted_names_come_back_as_they_were(out: Path, tmp_path: Path) -> None:
    note = "=cmd|' /C calc'!A0, \"x\"\nsecond line"
    given = [_entry(case, note=note, dice="0.5") for case in ("=c", "'d")]
    decisions.merge(out, _json(tmp_path / "x.json", *given))
    with (out / decisions.DECISIONS).open(encoding="utf-8", newline="") as file:
        for row in list(csv.reader(file))[1:]:
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
    assert _choices(out) == {"'d": "reject", "=c": "reject"}
    assert {entry.note for entry in decisions.load(out).values()} == {note}
    again = decisions.merge(out, out / decisions.DECISIONS)  # its own file is one it reads
    assert (again.new, again.changed) == (0, 0)


def test_unknown_masks_and_outdated_cases_are_named(out: Path, tmp_path: Path) -> None:
    given = [_entry("a", fingerprint="print of a"), _entry("b", fingerprint="another"), _entry("z")]
    merged = decisions.merge(out, _json(tmp_path / "x.json", *given))
    assert merged.new == 2
    assert [key[0] for key in merged.unknown] == ["z"]
    assert [key[0] for key in merged.outdated] == ["b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"decisions": [', "is not what the report exports"),
        ('{"decisions": 5}', "is not what the report exports"),
        ('{"decisions": [{"case": "a"}]}', "without case, structure, source or decision"),
        ("case;structure\na;liver\n", "lacks the columns source, decision"),
        (f"case,structure,source,decision\na,liver,{SOURCE.format('a')},maybe\n", "entry 1: expected decision accept"),
        (f"case,structure,source,decision,time\na,liver,{SOURCE.format('a')},accept,noon\n", "expected a time such as"),
        ("case,structure,source,decision\nz,liver,z,accept\n", "export of another audit"),
        ("\xff", "export of another audit|lacks the columns"),
    ],
)
def test_files_that_are_none(out: Path, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "x"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AuditError, match=message):
        decisions.merge(out, file)
    assert decisions.load(out) == {}


def test_unreadable_files(out: Path, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="cannot be read"):
        decisions.merge(out, tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(AuditError, match="cannot be read"):
        decisions.merge(out, tmp_path / "binary")
    with pytest.raises(AuditError, match=r"results\.sqlite"):
        decisions.merge(tmp_path, tmp_path / "none.csv")


def test_command(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _json(tmp_path / "x.json", _entry("a"), _entry("z"))
    assert cli.main(["audit", "-o", str(out), "--decisions", str(file), "--no-report"]) == 0
    assert "1 new" in capsys.readouterr().out
    assert _choices(out) == {"a": "reject"}
