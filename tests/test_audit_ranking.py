"""Ranking, review budget, cohort outliers and verdicts, on made-up cohorts."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import audits
import numpy as np
import pytest
from audits import failed_row, flags, mask_row

from segae.assessment import SliceScore
from segae.audit.results import MaskRow, slices_to_json
from segae.audit.review import outliers
from segae.audit.review.outliers import MIN_COHORT, cohort_flags
from segae.audit.review.ranking import STRONG_FLAGS, WEAK_FLAGS, Ranked, choose, rank
from segae.audit.review.verdict import KINDS, verdict
from segae.errors import ParameterError


def _spread(structure: str, centre: float, n: int = 30, width: float = 0.02) -> list[MaskRow]:
    dice = centre + width * np.linspace(-1, 1, n)
    return [mask_row(f"{structure}_{i:03d}", structure, float(d)) for i, d in enumerate(dice)]


def test_worst_first_within_a_structure() -> None:
    ranked = rank(_spread("liver", 0.9) + _spread("spleen", 0.8))
    for structure in ("liver", "spleen"):
        dice = [entry.mask.dice for entry in ranked if entry.mask.structure == structure]
        assert dice == sorted(dice)


def test_scores_are_compared_within_their_structure() -> None:
    """0.8 is poor among livers of 0.95 and good among adrenal glands of 0.7."""
    rows = [*_spread("liver", 0.95), *_spread("adrenal_gland_left", 0.7)]
    poor = mask_row("poor", "liver", 0.8)
    good = mask_row("good", "adrenal_gland_left", 0.8)
    ranked = rank([*rows, poor, good])
    assert ranked[0].mask == poor
    assert ranked[-1].mask == good
    assert ranked[0].percentile == 0.0
    assert ranked[-1].percentile == pytest.approx(100 * 30 / 31)


def test_small_cohorts_are_compared_with_all() -> None:
    """Of two kidneys, a bad one does not make both usual."""
    rows = [mask_row("a", name, 0.9) for name in ("liver", "spleen", "aorta", "pancreas", "kidney_right")]
    ranked = rank([*rows, mask_row("b", "kidney_right", 0.3)])
    assert ranked[0].mask.case_id == "b"
    assert ranked[0].suspicion > 5


def test_flags_first_in_order_of_severity() -> None:
    rows = _spread("liver", 0.9)
    wrong = mask_row("wrong", "liver", 0.97, flags=flags("wrong_side"))
    failed = failed_row("failed")
    empty = [mask_row(f"e{i}", "liver", float("nan"), volume_ml=0.0, flags=flags("empty")) for i in range(20)]
    ranked = rank([*empty, *rows, wrong, failed])
    assert [entry.severity for entry in ranked[:2]] == ["failed", "wrong"]
    assert {entry.severity for entry in ranked[-20:]} == {"empty"}


def test_every_strong_flag_goes_before_any_score() -> None:
    rows = [mask_row(f"s{i}", "liver", 0.99, flags=flags(name)) for i, name in enumerate(STRONG_FLAGS)]
    ranked = rank([*rows, mask_row("bad", "liver", 0.01)])
    assert ranked[-1].mask.case_id == "bad"


@pytest.mark.parametrize("name", WEAK_FLAGS)
def test_weak_signs_add_but_do_not_decide(name: str) -> None:
    """`truncated` fires on good masks too: a mask of Dice 0.1 without flags goes before a good one with it."""
    rows = _spread("liver", 0.9)
    plain, signed = mask_row("plain", "liver", 0.9), mask_row("signed", "liver", 0.9, flags=flags(name))
    bad = mask_row("bad", "liver", 0.1)
    ranked = [entry.mask.case_id for entry in rank([*rows, plain, signed, bad])]
    assert ranked[0] == "bad"
    assert ranked.index("signed") < ranked.index("plain")


@pytest.mark.parametrize("name", ["touches_border", "untrained_structure", "synthetic_only", "non_finite"])
def test_flags_that_change_nothing(name: str) -> None:
    entries = rank([mask_row("a", dice=0.9), mask_row("b", dice=0.9, flags=flags(name))])
    assert [entry.mask.case_id for entry in entries] == ["a", "b"]


def test_deterministic_whatever_the_order_of_rows() -> None:
    rows = audits.cohort(["liver", "spleen", "aorta"], 30, seed=3)
    rows += [dataclasses.replace(rows[0], source="another"), failed_row("z"), failed_row("y")]
    expected = [entry.mask for entry in rank(rows)]
    random.Random(5).shuffle(rows)
    assert [entry.mask for entry in rank(rows)] == expected


def test_ties_are_broken_by_name() -> None:
    rows = [mask_row(case, structure, 0.9) for case in "ba" for structure in ("spleen", "liver")]
    found = [(entry.mask.structure, entry.mask.case_id) for entry in rank(rows)]
    assert found == [("liver", "a"), ("liver", "b"), ("spleen", "a"), ("spleen", "b")]


def test_nothing_to_rank() -> None:
    assert rank([]) == []
    assert choose([], 10) == []
    assert rank([failed_row("a")])[0].severity == "failed"


# ---------------------------------------------------------------------- budget


def test_budget_spreads_over_structures() -> None:
    """One structure that is bad everywhere takes no more than twice its share."""
    rows = audits.cohort(["liver", "spleen", "aorta", "pancreas"], 60, seed=1)
    rows += [mask_row(f"w{i}", "stomach", 0.2, flags=flags("wrong_side")) for i in range(100)]
    chosen = choose(rank(rows), 50)
    taken = Counter(entry.mask.structure for entry in chosen)
    assert len(chosen) == 50
    assert taken["stomach"] == 20
    assert set(taken) == {"liver", "spleen", "aorta", "pancreas", "stomach"}
    assert [entry.place for entry in chosen] == sorted(entry.place for entry in chosen)


def test_budget_is_used_up_where_one_structure_is_all_there_is() -> None:
    ranked = rank(_spread("liver", 0.9, 40))
    assert choose(ranked, 25) == ranked[:25]
    assert choose(ranked, 1000) == ranked
    assert choose(ranked, 0) == []


def test_budget_takes_the_worst_of_each_structure() -> None:
    ranked = rank(audits.cohort(["liver", "spleen"], 50, seed=2))
    for structure in ("liver", "spleen"):
        chosen = [e.mask for e in choose(ranked, 20) if e.mask.structure == structure]
        assert chosen == [e.mask for e in ranked if e.mask.structure == structure][: len(chosen)]


def test_a_broken_case_costs_one_look() -> None:
    names = ("liver", "spleen", "aorta")
    broken = [failed_row("broken", name) for name in names]
    no_ct = [mask_row("mr", name, 0.5, flags=flags("not_ct")) for name in names]
    partly = [failed_row("partly", "liver"), mask_row("partly", "spleen", 0.9)]
    chosen = Counter(entry.mask.case_id for entry in choose(rank([*broken, *no_ct, *partly]), 100))
    assert chosen == {"broken": 1, "mr": 1, "partly": 2}


def test_negative_budget_is_refused() -> None:
    with pytest.raises(ParameterError, match="budget"):
        choose([], -1)


# ---------------------------------------------------------------------- outliers


def _named(rows: list[MaskRow]) -> list[set[str]]:
    return [{flag.name for flag in found} for found in cohort_flags(rows)]


def test_a_usual_cohort_has_no_outliers() -> None:
    rows = audits.cohort(["liver", "spleen", "aorta", "pancreas", "kidney_left"], 100, bad_share=0)
    share = np.mean([bool(found) for found in cohort_flags(rows)])
    assert share < 0.005  # 3.5 robust standard deviations: 0.1 % by volume, a little more by three axes


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_odd_volume(factor: float) -> None:
    rows = audits.cohort(["liver", "spleen", "aorta", "pancreas"], 40, bad_share=0)
    rows[8] = dataclasses.replace(rows[8], volume_ml=100 * factor)
    (flag,) = cohort_flags(rows)[8]
    assert flag.name == "odd_volume"
    assert ("larger" if factor > 1 else "smaller") in flag.detail
    assert "40 masks" in flag.detail


@pytest.mark.parametrize(
    ("axis", "step", "towards"),
    [(0, 70, "left"), (0, -70, "right"), (1, 70, "back"), (1, -70, "front"), (2, 70, "head"), (2, -70, "feet")],
)
def test_odd_position_says_where_to(axis: int, step: float, towards: str) -> None:
    """Whatever the place of the case in its scan, which differs by 60 mm between cases here."""
    rows = audits.cohort(["liver", "spleen", "aorta", "pancreas", "kidney_left"], 40, bad_share=0)
    centroid = np.array(rows[11].centroid_mm)
    centroid[axis] += step
    rows[11] = dataclasses.replace(rows[11], centroid_mm=tuple(centroid.tolist()))
    found = cohort_flags(rows)
    assert [flag.name for flag in found[11]] == ["odd_position"]
    assert f"to the {towards}" in found[11][0].detail
    assert sum(bool(entry) for entry in found) <= 3


def test_moved_scans_are_no_outliers() -> None:
    rows = audits.cohort(["liver", "spleen", "aorta", "pancreas", "kidney_left"], 40, bad_share=0)
    moved = [
        dataclasses.replace(row, centroid_mm=tuple(c + 400 for c in row.centroid_mm or ())) if i < 5 else row
        for i, row in enumerate(rows)
    ]
    assert cohort_flags(moved)[:5] == cohort_flags(rows)[:5]


def test_a_dataset_of_one_structure_is_judged_by_its_place_in_the_scan() -> None:
    rng = np.random.default_rng(0)
    rows = [mask_row(f"c{i}", centroid_mm=tuple(rng.normal(0, 8, 3).tolist())) for i in range(30)]
    rows[4] = dataclasses.replace(rows[4], centroid_mm=(120.0, 0.0, 0.0))
    assert _named(rows)[4] == {"odd_position"}


def test_small_cohorts_and_cut_masks_are_not_judged() -> None:
    rows = [mask_row(f"c{i}", volume_ml=1000.0 + i) for i in range(MIN_COHORT - 1)]
    huge = mask_row("huge", volume_ml=90000.0)
    assert not any(_named([*rows[:-1], huge]))
    assert _named([*rows, huge])[-1] == {"odd_volume"}
    assert not any(
        _named([*rows, mask_row("more", volume_ml=1000.0), dataclasses.replace(huge, flags=flags("touches_border"))])
    )


def test_cohorts_that_agree_exactly_make_no_one_an_outlier() -> None:
    rows = [mask_row(f"c{i}", volume_ml=1000.0) for i in range(30)]
    assert not any(_named([*rows, mask_row("near", volume_ml=1050.0, centroid_mm=(4.0, 0.0, 0.0))]))


def test_empty_masks_are_a_finding_where_they_are_rare() -> None:
    rows = [mask_row(f"c{i:02d}", "liver") for i in range(30)]
    lost = mask_row("lost", "liver", float("nan"), volume_ml=0.0, flags=flags("empty"), centroid_mm=None)
    ranked = rank([*rows, lost])
    assert ranked[0].mask == lost
    assert ranked[0].severity == "wrong"
    absent = [dataclasses.replace(lost, case_id=f"x{i}") for i in range(30)]
    assert {e.severity for e in rank([*rows, *absent]) if e.mask.volume_ml == 0} == {"empty"}


def test_stated_false_alarms_of_the_threshold(rng: np.random.Generator) -> None:
    """The figures in the docstring of `outliers`, which chose MIN_COHORT."""
    for n, expected in ((10, 0.016), (20, 0.0065), (100, 0.0011)):
        values = rng.normal(size=(3000, n))
        z = np.abs(values - np.median(values, axis=1, keepdims=True)) / outliers.robust_scale(values, axis=1)[:, None]
        assert (z > outliers.THRESHOLD).mean() == pytest.approx(expected, rel=0.3)


# ---------------------------------------------------------------------- verdicts


def _verdict(mask: MaskRow, others: list[MaskRow] | None = None) -> tuple[str, str]:
    entry = next(e for e in rank([mask, *(others or [])]) if e.mask is mask)
    found = verdict(entry)
    assert found.kind in KINDS
    return found.kind, found.sentence


def test_too_large_and_too_small() -> None:
    kind, sentence = _verdict(mask_row(dice=0.6, precision=0.45, recall=0.9))
    assert kind == "too_large"
    assert "55 % of the mask should not be liver" in sentence
    kind, sentence = _verdict(mask_row(structure="kidney_left", dice=0.6, precision=0.9, recall=0.45))
    assert kind == "too_small"
    assert "55 % of the kidney left is missing" in sentence
    assert _verdict(mask_row(dice=0.3, precision=0.3, recall=0.3))[0] == "elsewhere"


def test_where_the_error_lies() -> None:
    scores = [SliceScore(i, 1000.0, 0.9, 0.2 if i in (6, 7) else 1.0, 1.0, 900.0) for i in range(10)]
    row = mask_row(dice=0.7, precision=0.6, recall=0.9, slices_json=slices_to_json(tuple(scores)))
    assert "mostly in slices 6 to 7" in _verdict(row)[1]
    even = [dataclasses.replace(score, precision=0.6) for score in scores]
    assert "mostly" not in _verdict(dataclasses.replace(row, slices_json=slices_to_json(tuple(even))))[1]


@pytest.mark.parametrize("name", ["not_ct", "outside_body", "wrong_side", "implausible_volume"])
def test_grave_flags_say_what_is_wrong(name: str) -> None:
    row = mask_row(dice=0.2, precision=0.1, recall=0.9, flags=flags("truncated", name))
    assert _verdict(row) == (name, f"What {name} saw.")


def test_good_masks_look_right_unless_a_sign_speaks_against_it() -> None:
    assert _verdict(mask_row(dice=0.95))[0] == "looks_right"
    assert _verdict(mask_row(dice=0.95, flags=flags("truncated")))[0] == "truncated"
    kind, sentence = _verdict(mask_row(dice=0.5, precision=0.3, recall=0.8, flags=flags("fragmented")))
    assert kind == "too_large"
    assert "What fragmented saw." in sentence


def test_what_is_usual_for_a_structure_is_called_so() -> None:
    others = [mask_row(f"o{i}", dice=0.7, precision=0.6, recall=0.8) for i in range(20)]
    assert _verdict(mask_row("m", dice=0.7, precision=0.6, recall=0.8), others)[0] == "usual"
    assert _verdict(mask_row("m", dice=0.4, precision=0.3, recall=0.8), others)[0] == "too_large"


def test_models_without_precision_and_failed_masks() -> None:
    nan = float("nan")
    assert _verdict(mask_row(dice=0.4, precision=nan, recall=nan))[0] == "low_score"
    assert _verdict(failed_row("x", error="No such file: a.nii.gz")) == ("failed", "No such file: a.nii.gz")
    assert _verdict(mask_row(dice=nan, flags=flags("empty")))[0] == "empty"


def test_ranked_entries_carry_their_cohort() -> None:
    entry: Ranked = rank(_spread("liver", 0.9, 12))[0]
    assert entry.cohort == 12
    assert entry.place == 1
