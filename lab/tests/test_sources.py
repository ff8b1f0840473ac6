"""Where training samples come from beside labelled scans: regions of scans without labels, errors of networks."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from segae import structures  # noqa: E402
from segae.session import Session  # noqa: E402
from segae.train import data, synthesis  # noqa: E402
from segae_lab import redraw, segmenter, sources, unlabelled  # noqa: E402

SPACING_MM = (3.0, 2.0, 2.0)
LIVER, SPLEEN = (structures.get(name).id for name in ("liver", "spleen"))


def _body() -> np.ndarray:
    """Fat in air, with an even organ in it that stands out."""
    rng = np.random.default_rng(0)
    hu = np.full((40, 90, 110), -1000.0, np.float32)
    hu[:, 10:80, 10:100] = -100
    hu[12:28, 30:55, 35:65] = 60
    return (hu + rng.normal(0, 5, hu.shape)).astype(np.float32)


def _scan() -> data.LabelledScan:
    labels = np.zeros((24, 48, 48), np.uint8)
    labels[4:20, 10:30, 8:24] = LIVER
    labels[6:16, 14:26, 30:42] = SPLEEN
    image = np.where(labels > 0, 60, -100).astype(np.int16)
    return data.LabelledScan("made_up", image, labels, {"liver": (LIVER,), "spleen": (SPLEEN,)}, SPACING_MM)


def test_a_region_is_the_organ_that_stands_out():
    hu = _body()
    labels = unlabelled.outline(hu, SPACING_MM, np.random.default_rng(0))
    found = [labels == value for value in np.unique(labels)[1:]]
    organ = np.zeros(hu.shape, bool)
    organ[12:28, 30:55, 35:65] = True
    assert len(found) == 1, "fat reaches the air and is no region"
    dice = 2 * (found[0] & organ).sum() / (found[0].sum() + organ.sum())
    assert dice > 0.85


def test_nothing_stands_out_in_noise():
    hu = np.random.default_rng(0).normal(0, 200, (30, 60, 60)).astype(np.float32)
    assert not unlabelled.outline(hu, SPACING_MM, np.random.default_rng(0)).any()


def test_samples_of_regions_have_no_name():
    hu = _body().astype(np.int16)
    labels = unlabelled.outline(hu.astype(np.float32), SPACING_MM, np.random.default_rng(0))
    scan = data.LabelledScan("x", hu, labels, unlabelled.parts_of(labels), SPACING_MM)
    samples = synthesis.Visit(scan.mirrored(), np.random.default_rng(0)).draw(20)
    assert set(samples.structure.tolist()) == {synthesis.nameless()}


def test_lungs_are_named():
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0], labels[1] = structures.get("lung_left").id, 170
    assert unlabelled.parts_of(labels) == {"lung_left": (structures.get("lung_left").id,), "region_170": (170,)}


def test_a_judge_that_believes_the_mask_draws_it_again(tmp_path):
    """The tiny model expects the mask that it is given: put together from its slices, that is what comes back."""
    tiny_models.write_dense(tmp_path / "dense.onnx", calibration={})
    session, scan = Session(tmp_path / "dense.onnx", "cpu", 1), _scan()
    given = scan.mask("liver").view(np.uint8)
    made = redraw.drawn(session, scan, "liver", given)
    assert 2 * (made & (given > 0)).sum() / (made.sum() + given.sum()) > 0.85
    labels = redraw.redraw(session, scan, np.random.default_rng(0))
    assert set(np.unique(labels)) <= {0, LIVER, SPLEEN}
    assert (labels == LIVER).any()


def test_what_a_case_does_not_label_costs_the_segmenter_nothing():
    logits = torch.zeros(1, 2, 4, 4)
    truth = torch.zeros(1, 2, 4, 4)
    truth[0, 0, :2] = 1
    labelled = torch.tensor([[1.0, 0.0]])
    other = logits.clone()
    other[0, 1] = 5
    assert segmenter.masked_loss(other, truth, labelled) == segmenter.masked_loss(logits, truth, labelled)
    worse = logits.clone()
    worse[0, 0] = 5 - 10 * truth[0, 0]
    assert segmenter.masked_loss(worse, truth, labelled) > segmenter.masked_loss(logits, truth, labelled)


def test_segmenter_predicts_on_the_scan_s_grid():
    network = segmenter.Segmenter(6, 2, 4).eval()
    with torch.no_grad():
        network.out.bias[:] = torch.tensor([9.0, -9.0])
    scan = _scan()
    labels = segmenter._predict(network, ["liver", "spleen"], scan, segmenter._input(scan.image, scan.spacing_mm))
    assert labels.shape == scan.image.shape
    assert (labels == LIVER).all()


def test_a_folder_without_meshes_and_unlabelled_scans_gives_neither(tmp_path):
    (tmp_path / "cases.csv").write_text("case,use\na,train\n")
    assert sources.usual_shares(tmp_path) == {"synthetic": 0, "unlabelled": 0}
    with (tmp_path / "cases.csv").open("a") as file:
        file.write("b,train-unlabelled\n")
    (tmp_path / "anatomy").mkdir()
    assert sources.usual_shares(tmp_path) == {"synthetic": 0.4, "unlabelled": 0.08}
