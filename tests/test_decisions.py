"""What predictions are worth to reviewers, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from segae import structures
from segae.assessment import interval_of
from segae.recipe import IntervalCurve, ModelCard
from segae.train.calibration import interval_curve, interval_curves
from segae.train.decisions import decisions, pairs_ranked, precision_of_first, work_saved
from segae.train.judged import Row
from segae.train.synthesis import RECIPE
from segae.train.tables import markdown, tables_of


def row(true: float, said: float, *, case: str = "a", structure: str = "liver", kind: str = "erode", **more) -> Row:
    return Row(case, structure, kind, 0, -1, 100, true, said, true, said, true, said, **more)


def test_work_saved_by_perfect_useless_and_reversed_predictions():
    bad = np.arange(1000) < 100
    rng = np.random.default_rng(0)
    assert work_saved(bad, np.where(bad, 0.1, 0.9) + rng.uniform(0, 0.05, 1000), 0.1) == pytest.approx(0.855)
    assert work_saved(bad, rng.random(1000), 0.1) == pytest.approx(0, abs=0.06)
    assert work_saved(bad, np.where(bad, 0.9, 0.1), 0.1) == pytest.approx(-0.05)
    assert work_saved(bad, np.full(1000, 0.5), 0.1) == pytest.approx(-0.05), "equal predictions tell nothing apart"
    assert np.isnan(work_saved(np.ones(5, bool), np.ones(5), 0.1))


def test_prevalence_weighs_good_against_bad():
    """Half of the good masks look worse than the bad ones."""
    bad, said = np.array([True, False, False]), np.array([0.5, 0.1, 0.9])
    for prevalence in (0.05, 0.3):
        reviewed = prevalence + (1 - prevalence) / 2
        assert work_saved(bad, said, prevalence) == pytest.approx(1 - reviewed - 0.05)
    assert precision_of_first(bad, np.array([0.1, 0.5, 0.9]), 0.1) == pytest.approx(1)
    assert precision_of_first(bad, np.array([0.9, 0.5, 0.1]), 0.1) == pytest.approx(0)


def test_pairs_are_versions_of_one_mask():
    rows = [row(0.9, 0.8), row(0.5, 0.6), row(0.48, 0.9), row(0.1, 0.95, case="b"), row(0.2, 0.1, structure="spleen")]
    assert pairs_ranked(rows) == pytest.approx(1 / 2), "0.9 and 0.5 right, 0.9 and 0.48 wrong, the others no pairs"
    assert pairs_ranked([row(0.9, 0.5), row(0.1, 0.5)]) == 0.5
    assert np.isnan(pairs_ranked([row(0.9, 0.5)]))


def test_decisions_of_known_rows():
    rows = [row(1.0, 0.9, kind="untouched", low=0.8, high=1.0)] * 3 + [
        row(1.0, 0.8, kind="untouched", flags="truncated")
    ]
    rows += [row(0.4, 0.5, kind="truncate", flags="gaps;truncated", low=0.45, high=0.6)] * 2
    found = decisions(rows)
    assert found["truncation AUROC"] == 1
    assert found["untouched mean"] == pytest.approx(0.875)
    assert found["truncated flag, recall"] == 1
    assert found["truncated flag, precision"] == pytest.approx(2 / 3)
    assert found["interval coverage"] == pytest.approx(3 / 5)
    assert np.isnan(found["swap mean"])


def test_tables_by_source():
    rng = np.random.default_rng(0)
    rows = [row(t, t, case=c) for c in ("a", "b") for t in rng.random(20)]
    rows += [row(t, 1 - t, case="c") for t in rng.random(20)]
    tables = tables_of(rows, [], {"a": "one", "b": "one", "c": "two"})
    assert tables["P2 masks source one"]["lcc"][0] == pytest.approx(1)
    assert tables["P2 masks source two"]["lcc"][0] == pytest.approx(-1)
    assert tables["P2 masks"]["cases"] == 3
    assert "P2 masks source two" in markdown(tables)
    assert "decisions source one" in markdown(tables)


def test_intervals_hold_nine_in_ten_masks_like_those_they_were_measured_on():
    rng = np.random.default_rng(1)

    def masks(n):
        said = rng.random(n)
        return said, np.clip(said + rng.normal(0, 0.02 + 0.2 * (1 - said)), 0, 1)

    curve, (said, true) = interval_curve(*masks(3000)), masks(3000)
    below, above = (np.interp(said, curve.dice, far) for far in (curve.below, curve.above))
    held = np.mean((true >= said - below) & (true <= said + above))
    assert 0.88 < held < 0.92
    assert (below + above)[said > 0.9].mean() < (below + above)[said < 0.3].mean()


def test_groups_with_few_masks_have_no_interval_of_their_own():
    rng = np.random.default_rng(2)
    rows = [row(v, v) for v in rng.random(300)] + [row(v, v, structure="aorta") for v in rng.random(20)]
    assert set(interval_curves(rows)) == {"default", structures.get("liver").group}


def test_intervals_are_wider_for_structures_that_only_synthetic_scans_taught():
    curve = IntervalCurve((0.5,), (0.1,), (0.05,))
    names = ("liver", "spleen")
    card = ModelCard(
        "x", RECIPE, names, frozenset(names), {"dice": "dice"}, synthetic=frozenset({"spleen"}),
        intervals={"default": curve},
    )  # fmt: skip
    assert interval_of(0.5, structures.get("liver"), card) == pytest.approx((0.4, 0.55))
    assert interval_of(0.5, structures.get("spleen"), card) == pytest.approx((0.35, 0.575))
    again = ModelCard.from_json(card.to_json(), "model.onnx")
    assert again.intervals == card.intervals
    assert again.synthetic == card.synthetic
    assert interval_of(0.5, structures.get("liver"), ModelCard("x", RECIPE, names, frozenset(), {"dice": "d"})) is None


@pytest.mark.parametrize("bad", [((), (), ()), ((0.5, 0.2), (0, 0), (1, 1)), ((0.5,), (0.1, 0.2), (0.1,))])
def test_damaged_intervals_are_refused(bad):
    with pytest.raises(ValueError, match="interval"):
        IntervalCurve(*bad)
