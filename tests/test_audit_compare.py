"""`segae compare`: paired statistics of versions, the best of several candidates."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import audits
import numpy as np
import pytest
from audits import failed_row, mask_row, write_audit
from scipy import stats

from segae import cli
from segae.assessment import Flag
from segae.audit.review.compare import best, compare, holm, sign_test
from segae.errors import AuditError, ParameterError

NAMES = ["liver", "spleen", "aorta"]


def _versions(tmp_path: Path, shift: dict[str, float], cases: int = 40) -> tuple[Path, Path]:
    rng = np.random.default_rng(4)
    a = audits.cohort(NAMES, cases, bad_share=0)
    b = [
        dataclasses.replace(row, dice=float(np.clip(row.dice + shift[row.structure] + rng.normal(0, 0.01), 0, 1)))
        for row in a
    ]
    return write_audit(tmp_path / "old", a), write_audit(tmp_path / "new", b)


def test_finds_which_version_is_better_per_structure(tmp_path: Path) -> None:
    found = compare(*_versions(tmp_path, {"liver": -0.05, "spleen": 0.02, "aorta": 0.0}))
    verdicts = {entry.structure: entry.verdict for entry in found.structures}
    assert verdicts == {"liver": "A", "spleen": "B", "aorta": ""}
    liver = found.structures[0]
    assert liver.structure == "liver"  # the largest difference first
    assert liver.n == 40
    assert liver.low < liver.mean < liver.high < 0
    assert liver.mean == pytest.approx(-0.05, abs=0.005)
    assert liver.mean_b - liver.mean_a == pytest.approx(liver.mean)
    assert found.all is not None
    assert found.all.n == 120
    assert [found.only_a, found.only_b, found.ambiguous] == [[], [], []]


def test_the_same_labels_differ_nowhere(tmp_path: Path) -> None:
    rows = audits.cohort(NAMES, 20)
    found = compare(write_audit(tmp_path / "a", rows), write_audit(tmp_path / "b", rows))
    assert {(e.mean, e.low, e.high, e.better, e.worse, e.p, e.verdict) for e in found.structures} == {
        (0.0, 0.0, 0.0, 0, 0, 1.0, "")
    }
    assert found.all is not None
    assert found.all.verdict == ""


def test_swapping_the_versions_swaps_the_answer(tmp_path: Path) -> None:
    a, b = _versions(tmp_path, {"liver": 0.04, "spleen": 0.04, "aorta": -0.04})
    there, back = compare(a, b), compare(b, a)
    for one in there.structures:
        other = next(entry for entry in back.structures if entry.structure == one.structure)
        assert other.mean == pytest.approx(-one.mean)
        assert (other.better, other.worse, other.p) == (one.worse, one.better, one.p)
        assert {one.verdict, other.verdict} == {"A", "B"}


def test_unmatched_and_ambiguous_masks_are_listed_not_guessed(tmp_path: Path) -> None:
    a = [mask_row("1"), mask_row("2"), mask_row("3"), mask_row("4"), failed_row("5")]
    b = [mask_row("1"), failed_row("2"), mask_row("3"), mask_row("3", source="twice"), mask_row("6")]
    found = compare(write_audit(tmp_path / "a", a), write_audit(tmp_path / "b", b))
    assert found.only_a == [("2", "liver"), ("4", "liver")]
    assert found.only_b == [("6", "liver")]
    assert found.ambiguous == [("3", "liver")]
    assert [entry.n for entry in found.structures] == [1]


def test_intervals_of_all_together_draw_whole_cases(tmp_path: Path) -> None:
    """Fifty copies of each case's difference say no more than one."""
    rng = np.random.default_rng(1)
    differences = rng.normal(0.01, 0.05, 12)
    structures = [f"s{i}" for i in range(50)]
    a = [mask_row(f"c{i}", name, 0.5) for i in range(12) for name in structures]
    b = [mask_row(f"c{i}", name, 0.5 + float(differences[i])) for i in range(12) for name in structures]
    found = compare(write_audit(tmp_path / "a", a), write_audit(tmp_path / "b", b))
    assert found.all is not None
    half = (found.all.high - found.all.low) / 2
    assert half == pytest.approx(1.96 * differences.std() / np.sqrt(12), rel=0.2)


def test_different_models_do_not_compare(tmp_path: Path) -> None:
    a = write_audit(tmp_path / "a", [mask_row()])
    b = write_audit(tmp_path / "b", [mask_row()], model_sha256="1" * 64)
    with pytest.raises(AuditError, match="different models"):
        compare(a, b)
    with pytest.raises(ParameterError, match="at least two"):
        best([a])


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (5, 5), (9, 2), (120, 80), (3000, 2800)])
def test_sign_test_is_the_exact_binomial_test(better: int, worse: int) -> None:
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert sign_test(better, worse) == pytest.approx(expected, rel=1e-6)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_best_candidate_for_each_mask(tmp_path: Path) -> None:
    one = write_audit(tmp_path / "one", [mask_row("1", dice=0.5), mask_row("2", dice=0.9), mask_row("3", dice=0.7)])
    two = write_audit(tmp_path / "two", [mask_row("1", dice=0.8), mask_row("2", dice=0.9)])
    three = write_audit(tmp_path / "three", [mask_row("1", dice=0.6), failed_row("2"), mask_row("4", dice=0.2)])
    found, ambiguous = best([one, two, three])
    assert [(e.case_id, e.candidate, e.candidates) for e in found] == [
        ("1", 1, 3),
        ("2", 0, 2),
        ("3", 0, 1),
        ("4", 2, 1),
    ]
    assert found[0].margin == pytest.approx(0.2)
    assert found[1].margin == 0.0
    assert np.isnan(found[2].margin)
    assert ambiguous == []


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = _versions(tmp_path, {"liver": -0.05, "spleen": 0.02, "aorta": 0.0})
    assert cli.main(["compare", str(a), str(b), "--best", str(tmp_path / "best.csv")]) == 0
    printed = capsys.readouterr().out
    assert "A: old" in printed
    assert "all together" in printed
    assert "no clear difference" in printed
    with (tmp_path / "best.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    assert {row["best"] for row in rows} == {"old", "new"}


def test_command_with_three_candidates_and_formula_like_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = [
        write_audit(tmp_path / name, [mask_row("=1+1", dice=dice)])
        for name, dice in zip("abc", (0.1, 0.3, 0.2), strict=True)
    ]
    assert cli.main(["compare", *map(str, outs), "--best", str(tmp_path / "best.csv")]) == 0
    assert "all together  0  1  0" in capsys.readouterr().out
    assert "'=1+1,liver,b,0.3,0.1,3," in (tmp_path / "best.csv").read_text(encoding="utf-8")


def test_command_needs_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(tmp_path)]) == 2
    assert cli.main(["compare", str(tmp_path), str(tmp_path)]) == 1
    assert "holds no results.sqlite" in capsys.readouterr().err


def test_contradictions_across_structures_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (Flag("out_of_order", "T8 and T9 are exchanged."),)
    rows = [mask_row("one", "vertebrae_T8", 0.05, flags=flags), mask_row("one", "vertebrae_T9", 0.05, flags=flags)]
    mended = [dataclasses.replace(row, dice=0.9, flags=()) for row in rows]
    a, b = write_audit(tmp_path / "a", rows), write_audit(tmp_path / "b", mended)
    assert compare(a, b).contradicted == {"out_of_order": (2, 0)}
    assert cli.main(["compare", str(a), str(b)]) == 0
    assert "out_of_order" in capsys.readouterr().out
