"""segae.perturb: every kind against its twin, its properties, targets, replay, and the errors of wrong use."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_perturb import TWINS, reference

import segae
from segae.errors import GridMismatchError, ParameterError, UnknownStructureError, VolumeError
from segae.perturbation import KINDS, UnreachableError, mixture
from segae.perturbation.rater import fitted

SPACING = (2.0, 0.9, 0.8)
ALL = sorted(KINDS)
# Kinds that compare sums of rounded numbers with a threshold: a voxel on it may fall either way in another precision.
ROUNDED = {
    "smooth",
    "shift",
    "rotate",
    "scale",
    "elastic",
    "mirror",
    "leak",
    "staircase",
    "jitter",
    "slicewise",
    "rater",
}


def ball(shape, centre, radii):
    grid = np.indices(shape)
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1


@pytest.fixture(scope="module")
def case():
    """A two-lobed structure (1) with a like neighbour (2), one that touches (3), and a CT in which 2 is as bright."""
    shape = (24, 48, 50)
    mask = ball(shape, (10, 20, 18), (7, 13, 10)) | ball(shape, (15, 26, 24), (5, 6, 9))
    labelmap = mask.astype(np.uint8)
    labelmap[ball(shape, (10, 20, 42), (7, 12, 6)) & ~mask] = 2
    labelmap[ball(shape, (19, 20, 18), (4, 12, 10)) & (labelmap == 0)] = 3
    image = np.random.default_rng(5).normal(0, 8, shape) + 60.0 * (labelmap > 0)
    image[:, :3] = -1000
    return {"mask": mask.astype(np.uint8), "labelmap": labelmap, "image": np.round(image).astype(np.int16)}


def around(case):
    return {"spacing": SPACING, "image": case["image"], "labelmap": case["labelmap"]}


def one(case, kind, **how):
    return segae.perturb_many(case["mask"], 1, kinds=kind, **around(case), **how)[0]


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_every_kind_has_a_twin():
    assert set(TWINS) == set(KINDS)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ALL)
def test_equals_its_twin(case, kind, seed):
    made = one(case, kind, severity=0.35, seed=seed)
    expected = reference(made.params, case["mask"], SPACING, case["image"], case["labelmap"])
    apart = np.count_nonzero(made.mask != expected)
    changed = np.count_nonzero(expected != case["mask"])
    assert apart <= (max(2, 0.02 * changed) if kind in ROUNDED else 0), f"{apart} voxels differ, {changed} changed"


@pytest.mark.parametrize("kind", ALL)
def test_says_the_true_quality(case, kind):
    made = one(case, kind, severity=0.4, seed=7)
    truth = case["mask"]
    both = np.count_nonzero(made.mask & truth)
    assert made.mask.dtype == np.uint8
    assert made.mask.max(initial=0) <= 1
    assert made.dice == pytest.approx(dice(made.mask, truth))
    assert made.precision == pytest.approx(both / max(np.count_nonzero(made.mask), 1))
    assert made.recall == pytest.approx(both / np.count_nonzero(truth))
    agreement = segae.measure(made.mask, truth, spacing=SPACING, tolerance_mm=2.0)
    assert made.nsd == pytest.approx(agreement.nsd)


@pytest.mark.parametrize("kind", ALL)
def test_severity_0_is_the_identity_and_1_is_worse_than_a_little(case, kind):
    assert np.array_equal(one(case, kind, severity=0.0, seed=3).mask, case["mask"])
    assert one(case, kind, severity=1.0, seed=3).dice < one(case, kind, severity=0.05, seed=3).dice


@pytest.mark.parametrize("kind", ALL)
def test_json_parameters_replay_the_bytes_for_any_number_of_threads(case, kind):
    made = one(case, kind, severity=0.5, seed=11, threads=1)
    params = json.loads(json.dumps(made.params))
    for threads in (1, 3):
        again = segae.perturb(case["mask"], params=params, threads=threads, **around(case))
        assert np.array_equal(again, made.mask)


@pytest.mark.parametrize("kind", ALL)
def test_target_is_met_or_said_to_be_out_of_reach(case, kind):
    for target in (0.92, 0.6):
        try:
            made = one(case, kind, target_dice=target, seed=2)
        except UnreachableError as error:
            assert "reaches from" in str(error)  # noqa: PT017
            assert target < 0.8 or kind in {"drop_slices", "merge", "interpolate", "rater"}
            continue
        assert made.dice == pytest.approx(target, abs=0.01)
        again = segae.perturb(case["mask"], params=made.params, **around(case))
        assert np.array_equal(again, made.mask)
        expected = reference(made.params, case["mask"], SPACING, case["image"], case["labelmap"])
        assert np.count_nonzero(expected != made.mask) <= 0.005 * case["mask"].sum()


@pytest.mark.parametrize("kind", ["erode", "dilate", "jitter", "elastic", "truncate", "shift"])
@pytest.mark.parametrize("target", [0.95, 0.8, 0.5])
def test_common_kinds_meet_common_targets(case, kind, target):
    # Of these, elastic alone is bounded: it must not fold.
    if kind == "elastic" and target == 0.5:
        target = 0.75
    assert one(case, kind, target_dice=target, seed=4).dice == pytest.approx(target, abs=0.01)


@pytest.mark.parametrize("kind", ["erode", "open", "truncate", "drop_slices", "drop_part", "holes", "split"])
def test_kinds_that_only_remove(case, kind):
    made = one(case, kind, severity=0.5, seed=1)
    assert not np.any(made.mask & ~case["mask"].astype(bool))
    assert made.precision == 1.0


@pytest.mark.parametrize("kind", ["dilate", "close", "leak", "islands", "merge"])
def test_kinds_that_only_add(case, kind):
    made = one(case, kind, severity=0.5, seed=1)
    assert not np.any(case["mask"].astype(bool) & ~made.mask.astype(bool))
    assert made.recall == 1.0


def test_shift_keeps_the_volume_away_from_borders():
    mask = np.zeros((40, 60, 60), np.uint8)
    mask[15:25, 22:38, 24:36] = 1
    moved = segae.perturb(mask, "shift", severity=0.4, spacing=SPACING, seed=5)
    assert moved.sum() == pytest.approx(mask.sum(), rel=0.03)


def test_swap_takes_the_other_structure_whole(case):
    made = one(case, "swap", severity=1.0, seed=0)
    assert np.array_equal(made.mask, case["labelmap"] == made.params["other"])


def test_mirror_of_a_mirror_is_the_mask():
    mask = np.zeros((8, 20, 30), np.uint8)
    mask[2:6, 4:12, 3:11] = 1
    across = segae.perturb(mask, "mirror", severity=1.0, spacing=SPACING)
    assert np.array_equal(across, mask[:, :, ::-1])


def test_leak_prefers_tissue_like_the_mask(case):
    grown = (one(case, "leak", severity=0.3, seed=3).mask - case["mask"]).astype(bool)
    assert np.count_nonzero(grown & (case["labelmap"] >= 2)) > 0.5 * np.count_nonzero(grown)


@pytest.mark.parametrize("ends_mm", [[2.5, 5.0], [-5.0, 2.5], [6.0, -2.5], [-100.0, -100.0], [100.0, 0.0]])
def test_rater_moves_the_ends(case, ends_mm):
    quiet = {"kind": "rater", "axis": 0, "bias_mm": 0.0, "smooth_mm": 0.01, "smooth_grid_mm": 8.0, "slice_mm": 0.01}
    params = quiet | {"slice_grid_mm": 8.0, "seed": 1, "ends_mm": ends_mm, "scale": 1.0}
    made = segae.perturb(case["mask"], params=params, spacing=SPACING)
    before, after = (np.flatnonzero(m.any(axis=(1, 2)))[[0, -1]] for m in (case["mask"], made))
    for end, moved, way, mm in zip(before, after, (-1, 1), ends_mm, strict=True):
        if abs(mm) < 10:
            assert moved - end == way * int(np.floor(mm / SPACING[0] + 0.5))
    assert made.any()  # a slice is left, however much is to go
    assert after[0] >= 0


def test_rater_draws_what_was_measured_for_the_structure(case):
    made = [one(case, "rater", severity=1 / 3, seed=2, structure=name).params for name in ("mandible", "Parotid_L")]
    table = {name: row for row in fitted() for name in row.structures}
    for params, name in zip(made, ("mandible", "parotid_left"), strict=True):
        assert params["smooth_grid_mm"] == table[name].smooth_grid_mm
    assert one(case, "rater", severity=1 / 3, seed=2).params["smooth_grid_mm"] in {r.smooth_grid_mm for r in fitted()}
    with pytest.raises(UnknownStructureError, match="mandibel"):
        one(case, "rater", severity=0.3, structure="mandibel")


def test_rater_without_ends_is_replayed_as_before(case):
    made = one(case, "rater", severity=0.3, seed=4).params
    without = {name: value for name, value in made.items() if name != "ends_mm"}
    expected = segae.perturb(case["mask"], params=made | {"ends_mm": [0.0, 0.0]}, spacing=SPACING)
    assert np.array_equal(segae.perturb(case["mask"], params=without, spacing=SPACING), expected)


@pytest.mark.parametrize("kind", ALL)
def test_known_parameters_give_known_bytes(case, kind):
    """On every machine and in every version: whoever keeps parameters instead of masks relies on it."""
    params, digest = json.loads((Path(__file__).parent / "perturb_bytes.json").read_text())[kind]
    made = segae.perturb(case["mask"], params=params, **around(case))
    assert hashlib.sha256(np.packbits(made).tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("seed", range(6))
def test_target_on_one_voxel_is_out_of_reach_not_a_crash(seed):
    mask = np.zeros((3, 5, 5), np.uint8)
    mask[1, 2, 2] = 1
    with pytest.raises(UnreachableError):
        segae.perturb(mask, "drop_part", target_dice=0.7, seed=seed, spacing=(1.0, 2.0, 3.0))


# --- one mask, any mask ------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_mask_any_kind(data):
    """One voxel, planes, masks at the border or filling the volume: a result of the right form, or a clear error."""
    shape = data.draw(st.tuples(*(st.integers(1, 9) for _ in range(3))))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    mask = (rng.random(shape) < data.draw(st.sampled_from([0.02, 0.5, 1.0]))).astype(np.uint8)
    mask.flat[int(rng.integers(mask.size))] = 1
    before = mask.copy()
    how = data.draw(st.sampled_from([{"severity": 0.3}, {"severity": 1.0}, {"target_dice": 0.7}]))
    kind = data.draw(st.sampled_from([*ALL, "random"]))
    labelmap = mask.copy()
    labelmap[(rng.random(shape) < 0.3) & (mask == 0)] = 2
    try:
        made = segae.perturb_many(
            mask, 1, kinds=kind, spacing=(3.0, 1.0, 0.7), image=mask * 50.0, labelmap=labelmap, seed=1, **how
        )[0]
    except ParameterError as error:
        assert "target_dice" in str(error) or "labelmap" in str(error)  # noqa: PT017
    else:
        assert made.mask.shape == shape
        assert set(np.unique(made.mask)) <= {0, 1}
        assert made.dice == pytest.approx(dice(made.mask, mask))
        json.dumps(made.params, allow_nan=False)
    assert np.array_equal(mask, before)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([np.bool_, np.uint8, np.int16, np.float32, np.float64]),
    st.sampled_from(["C", "F"]),
    st.sampled_from(ALL),
    st.integers(0, 3),
)
def test_type_order_and_orientation_do_not_matter(dtype, order, kind, seed):
    shape = (9, 14, 13)
    mask = ball(shape, (4, 6, 6), (3, 4, 5))
    kw = {
        "image": mask * 70.0,
        "labelmap": mask + 2 * ball(shape, (4, 12, 6), (3, 2, 5)),
        "severity": 0.4,
        "seed": seed,
    }
    expected = segae.perturb(mask, kind, spacing=SPACING, **kw)
    given_array = np.array(mask, dtype=dtype, order=order)
    assert np.array_equal(segae.perturb(given_array, kind, spacing=SPACING, **kw), expected)
    # The same anatomy stored as RAS [x, y, z]: the result comes back in those axes.
    affine = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])

    def ras(array):
        return nib.Nifti1Image(np.ascontiguousarray(np.asarray(array, np.float32).transpose()[::-1, ::-1]), affine)

    kw |= {"image": ras(kw["image"]), "labelmap": ras(kw["labelmap"])}
    turned = segae.perturb(ras(mask), kind, **kw)
    # float32 in the header's spacing: ties may fall the other way.
    assert np.count_nonzero(turned[::-1, ::-1].transpose() != expected) <= 0.02 * mask.sum()


@pytest.mark.parametrize("kind", ["erode", "dilate", "open", "close", "smooth"])
def test_the_volume_around_does_not_matter(case, kind):
    """Noise and planes are tied to the volume's own coordinates; these kinds know the mask alone."""
    pad = ((3, 2), (4, 1), (2, 5))
    inner = segae.perturb(case["mask"], kind, severity=0.2, seed=1, spacing=SPACING)
    outer = segae.perturb(np.pad(case["mask"], pad), kind, severity=0.2, seed=1, spacing=SPACING)
    assert np.array_equal(outer[3:-2, 4:-1, 2:-5], inner)


# --- many, random ------------------------------------------------------------------------------------------------


def test_random_draws_replay_and_spread(case):
    made = segae.perturb_many(case["mask"], 24, seed=9, **around(case))
    assert len({p.params["kind"] for p in made}) >= 8
    assert min(p.dice for p in made) < 0.5
    assert max(p.dice for p in made) > 0.85
    for variant in made:
        again = segae.perturb(case["mask"], params=json.loads(json.dumps(variant.params)), **around(case))
        assert np.array_equal(again, variant.mask)
        assert variant.dice == pytest.approx(dice(variant.mask, case["mask"]))


def test_random_meets_its_target(case):
    made = segae.perturb_many(case["mask"], 6, target_dice=[0.3, 0.5, 0.7, 0.8, 0.9, 0.95], seed=1, **around(case))
    for variant, target in zip(made, [0.3, 0.5, 0.7, 0.8, 0.9, 0.95], strict=True):
        assert variant.dice == pytest.approx(target, abs=0.01)


def test_seeds_reproduce_and_differ(case):
    first, second, other = (segae.perturb_many(case["mask"], 3, seed=seed, **around(case)) for seed in (1, 1, 2))
    assert all(np.array_equal(a.mask, b.mask) and a.params == b.params for a, b in zip(first, second, strict=True))
    assert any(a.params != b.params for a, b in zip(first, other, strict=True))
    longer = segae.perturb_many(case["mask"], 4, seed=1, **around(case))
    assert [v.params for v in longer[:3]] == [v.params for v in first]


def test_kinds_take_turns(case):
    made = segae.perturb_many(case["mask"], 4, kinds=["erode", "dilate"], severity=0.2, spacing=SPACING)
    assert [v.params["kind"] for v in made] == ["erode", "dilate", "erode", "dilate"]


def test_random_weights_name_kinds():
    assert set(mixture.WEIGHTS) == set(KINDS)


# --- wrong use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda m, k: segae.perturb(m, "melt", severity=0.5, **k), ParameterError, "expected one of erode"),
        (lambda m, k: segae.perturb(m, "erode", **k), ParameterError, "needs one of the two"),
        (lambda m, k: segae.perturb(m, "erode", severity=0.5, target_dice=0.5, **k), ParameterError, "one of the two"),
        (lambda m, k: segae.perturb(m, "erode", severity=1.5, **k), ParameterError, r"\[0, 1\]"),
        (lambda m, k: segae.perturb(m, "erode", target_dice=1.0, **k), ParameterError, r"\(0, 1\)"),
        (lambda m, k: segae.perturb(m, "erode", severity=0.5), VolumeError, "spacing"),
        (lambda m, k: segae.perturb(m, "erode", severity=0.5, spacing=(1, 0, 1)), VolumeError, "positive"),
        (lambda m, k: segae.perturb(m * 0, "erode", severity=0.5, **k), ParameterError, "empty"),
        (lambda m, k: segae.perturb(m, "leak", severity=0.5, **k), ParameterError, "image="),
        (lambda m, k: segae.perturb(m, "swap", severity=0.5, **k), ParameterError, "labelmap="),
        (lambda m, k: segae.perturb(m, "merge", severity=0.5, **k), ParameterError, "labelmap="),
        (lambda m, k: segae.perturb(m, "swap", severity=0.5, labelmap=m, **k), ParameterError, "no other structure"),
        (lambda m, k: segae.perturb(m, "leak", severity=0.5, image=m[1:], **k), GridMismatchError, "grid"),
        (lambda m, k: segae.perturb(m, params={"kind": "erode"}, **k), ParameterError, "radius_mm"),
        (lambda m, k: segae.perturb(m, params={"radius_mm": 2}, **k), ParameterError, "expected one of"),
        (
            lambda m, k: segae.perturb(m, params={"kind": "shift", "distance_mm": 2.0}, **k),
            ParameterError,
            "'direction' is missing",
        ),
        (lambda m, k: segae.perturb_many(m, 3, target_dice=[0.5, 0.6], **k), ParameterError, "one number or 3"),
        (lambda m, k: segae.perturb_many(m, -1, **k), ParameterError, "number of variants"),
        (lambda m, k: segae.perturb_many(m, 1, kinds=[], **k), ParameterError, "at least one"),
    ],
)
def test_wrong_use_is_told(case, call, error, says):
    with pytest.raises(error, match=says):
        call(case["mask"], {"spacing": SPACING})


def test_unreachable_target_says_the_range():
    full = np.ones((6, 6, 6), np.uint8)
    with pytest.raises(UnreachableError, match=r"reaches from 1\.000 to 1\.000"):
        segae.perturb(full, "dilate", target_dice=0.5, spacing=SPACING)


def test_random_by_severity_takes_a_kind_that_can_be_applied():
    """A lonely structure has no neighbour within reach, which some of the kinds need."""
    labelmap = ball((24, 48, 90), (12, 20, 15), (7, 9, 8)).astype(np.uint8)
    mask = labelmap.copy()
    labelmap[2:5, 40:44, 80:85] = 2
    for seed in range(40):
        made = segae.perturb_many(mask, 1, kinds="random", severity=0.4, seed=seed, spacing=SPACING, labelmap=labelmap)[
            0
        ]
        assert np.array_equal(segae.perturb(mask, params=made.params, spacing=SPACING, labelmap=labelmap), made.mask)
