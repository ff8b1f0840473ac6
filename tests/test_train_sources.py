"""Where training samples come from: scans as data sets lay them out, and what networks made of them."""

from __future__ import annotations

import csv
import dataclasses

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from segae import _core, structures
from segae.train import data, run, sources, synthesis, teachers

SPACING_MM = (3.0, 2.0, 2.0)
LIVER, SPLEEN = (structures.get(name).id for name in ("liver", "spleen"))


def _scan() -> data.LabelledScan:
    labels = np.zeros((24, 48, 48), np.uint8)
    labels[4:20, 10:30, 8:24] = LIVER
    labels[6:16, 14:26, 30:42] = SPLEEN
    image = np.where(labels > 0, 60, -100).astype(np.int16)
    return data.LabelledScan("made_up", image, labels, {"liver": (LIVER,), "spleen": (SPLEEN,)}, SPACING_MM)


def test_predictions_are_warped_with_the_scan():
    scan = _scan()
    scan = dataclasses.replace(scan, predictions=(scan.labelmap.copy(),))
    changed = sources.augmenting([scan])(np.random.default_rng(3))
    assert np.array_equal(changed.predictions[0], changed.labelmap)
    assert _core.scan(changed.labelmap, 1)["labels"]


def test_a_totalsegmentator_folder_can_be_trained_on(tmp_path):
    """Masks that overlap keep all their voxels; left and right lobes make up the lungs."""
    shape, affine = (20, 16, 12), np.diag([-2.0, -2.0, 3.0, 1.0])
    folder = tmp_path / "s001" / "segmentations"
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.full(shape, 40, np.int16), affine), folder.parent / "ct.nii.gz")
    masks = {name: np.zeros(shape, np.uint8) for name in ("liver", "spleen", "heart")}
    masks["liver"][2:10, 2:10, 2:8] = 1
    masks["spleen"][8:16, 4:12, 2:8] = 1
    masks["heart"][4:9, 4:9, 1:4] = 1
    for name, mask in masks.items():
        nib.save(nib.Nifti1Image(mask, affine), folder / f"{name}.nii.gz")
    (case,) = data.cases(tmp_path, "train")
    scan = data.load(case)
    for name, mask in masks.items():
        assert np.array_equal(scan.mask(name), mask.transpose(2, 1, 0) > 0)
    assert len(synthesis.Visit(scan, np.random.default_rng(0)).draw(5)) == 5


@pytest.fixture
def taught(tmp_path):
    """Three scans with a network's labels: "a" without people's labels, "b" with a liver by hand, "c" not trusted."""
    shape, lps = (48, 48, 24), np.diag([-2.0, -2.0, 3.0, 1.0])
    ct, drawn, manual = np.full(shape, 40, np.int16), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    drawn[4:24, 4:24, 4:20] = LIVER
    drawn[30:44, 10:30, 6:16] = SPLEEN
    drawn[26:29, 10:30, 6:16] = structures.get("duodenum").id
    drawn[26:29, 32:40, 6:16] = structures.get("aorta").id
    manual[6:26, 4:24, 4:20] = LIVER
    for case in "abc":
        nib.save(nib.Nifti1Image(ct, lps), tmp_path / f"{case}_ct.nii.gz")
        nib.save(nib.Nifti1Image(drawn, lps), tmp_path / f"{case}_pseudo.nii.gz")
    nib.save(nib.Nifti1Image(manual, lps), tmp_path / "b_seg.nii.gz")
    cases = [
        ("case", "use", "source", "hold_out", "weight", "hu_low", "hu_high", "hu_step"),
        ("a", "train-unlabelled", "one", 0, 1.0, -125, 275, 4),
        ("b", "train", "two", 1, 0.5, -1024, 3071, 1),
        ("c", "train-unlabelled", "one", 0, 1.0, -1024, 3071, 1),
    ]
    labels = [("case", "structure", "ml", "at_scan_end", "agreement", "dice")]
    labels += [(case, "liver", 1, 0, 0.95, "") for case in "ab"]
    labels += [("c", "liver", 1, 0, 0.89, "")]
    labels += [(case, "spleen", 1, 0, 0.95, "") for case in "abc"]
    labels += [(case, "duodenum", 1, 0, "", "") for case in "abc"]
    labels += [(case, "aorta", 1, 0, "", "") for case in "abc"]
    for name, rows in (("cases", cases), ("pseudo", labels)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return tmp_path


def test_facts_of_scans_come_from_the_table(taught):
    a, b = data.cases(taught, "train-unlabelled")[0], data.cases(taught, "train")[0]
    assert (a.source, a.hold_out, a.weight, a.stored) == ("one", False, 1.0, data.StoredValues(-125, 275, 4))
    assert (b.source, b.hold_out, b.weight, b.stored) == ("two", True, 0.5, data.StoredValues())
    assert data.held_out(taught) == ("b",)


def test_a_network_s_labels_fill_what_people_left_out(taught):
    """Where both drew, people's labels stand and the network's are a prediction of the same structure."""
    b, a, c = (data.load(case, teachers=True) for case in sources.training_cases(taught, ()))
    assert set(a.parts) == a.taught == {"liver", "spleen", "duodenum"}
    assert not a.predictions
    assert set(b.parts) == {"liver", "spleen", "duodenum"}
    assert b.taught == {"spleen", "duodenum"}
    assert np.count_nonzero(b.mask("liver")) == 20 * 20 * 16
    assert np.count_nonzero(b.mask("duodenum")) == 3 * 20 * 10, "what people labelled is not overwritten"
    assert np.array_equal(b.predictions[0] == LIVER, np.roll(b.mask("liver"), -2, axis=2))
    assert set(c.parts) == {"spleen"}, "networks disagree on the liver, so organs that only one knows do not count"
    assert not data.load(data.cases(taught, "train")[0]).taught, "evaluation reads people's labels alone"


def test_labels_that_end_with_the_scan_teach_nothing(taught):
    table = taught / "pseudo.csv"
    table.write_text(table.read_text().replace("a,spleen,1,0", "a,spleen,1,1"))
    case = data.cases(taught, "train-unlabelled")[0]
    assert teachers.lessons(case)[1] == {"liver", "duodenum"}
    table.unlink()
    assert teachers.lessons(case) is None


def test_taught_structures_are_drawn_half_as_often(taught):
    case = data.cases(taught, "train")[0]
    visit = synthesis.Visit(data.load(case, teachers=True), np.random.default_rng(0))
    assert dict(zip(visit.names, visit._shares, strict=True)) == {"liver": 0.5, "duodenum": 0.25, "spleen": 0.25}
    assert not visit._draw_mask(visit._target("spleen"), "network"), "a network's label is no truth for its own masks"
    assert visit._draw_mask(visit._target("liver"), "network")


def test_many_scans_of_one_source_do_not_drown_the_others():
    scan = _scan()
    cases = [data.Case(str(n), "train", None, None, source="many" if n else "one") for n in range(10)]
    shares = sources.visit_shares(cases, [scan] * 10)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == pytest.approx(1 / (1 + 9**0.65))
    assert np.allclose(shares[1:], (1 - shares[0]) / 9)


def test_clipped_scans_stay_clipped():
    scan = dataclasses.replace(_scan(), stored=data.StoredValues(-125, 275, 6))
    changed = sources.augmenting([scan])(np.random.default_rng(0)).image
    assert changed.min() == -125
    assert changed.max() <= 275


def test_a_quarter_of_the_samples_are_windowed():
    """In every image channel to the same HU, and in no mask channel."""
    import torch

    torch.manual_seed(0)
    jitter = run.Jitter(400, synthesis.RECIPE, torch.device("cpu"))
    ramp = torch.linspace(0, 1, 96).expand(400, len(synthesis.RECIPE.channels), 96, 96)
    clipped = jitter._clipped(ramp)
    wide = synthesis.RECIPE.channels.index(next(c for c in synthesis.RECIPE.channels if c.window_hu[0] == -1000))
    hu = [(clipped[:, wide].amin(dim=(1, 2)) * 2 - 1) * 1000, (clipped[:, wide].amax(dim=(1, 2)) * 2 - 1) * 1000]
    windowed = hu[0] > -999
    assert 0.18 < windowed.float().mean() < 0.32
    assert ((hu[0] >= -300) & (hu[0] <= -100))[windowed].all()
    assert ((hu[1] >= 200) & (hu[1] <= 500))[windowed].all()
    assert torch.equal(clipped[:, synthesis.MASK_CHANNEL], ramp[:, 0])


def test_neighbours_are_passed_off_as_often_as_told():
    for swaps in (0.0, 0.14, 0.5):
        shares = dict(zip(synthesis.KINDS, synthesis.kind_shares(swaps), strict=True))
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["swap"] == swaps
        usual = synthesis.SHARES["erode"] / synthesis.SHARES["untouched"]
        assert shares["erode"] / shares["untouched"] == pytest.approx(usual)
    visit = synthesis.Visit(_scan(), np.random.default_rng(0), swaps=1.0)
    assert {synthesis.KINDS[kind] for kind in visit.draw(40).kind} == {"swap"}


def test_scans_with_organs_of_one_side_are_not_mirrored():
    """Their liver stays on the right, where x begins; what is alike on both sides is mirrored half the time."""
    scan = _scan()
    heads = dataclasses.replace(
        scan, parts={"parotid_right": (LIVER,), "parotid_left": (SPLEEN,)}, labelmap=scan.labelmap.copy()
    )

    def on_the_right(some: data.LabelledScan) -> list[bool]:
        draw = sources.augmenting([some])
        drawn = [draw(np.random.default_rng(seed)) for seed in range(12)]
        return [bool(np.argwhere(d.labelmap == LIVER)[:, 2].mean() < d.labelmap.shape[2] / 2) for d in drawn]

    assert all(on_the_right(scan))
    assert 0 < sum(on_the_right(heads)) < 12
