"""Studies: what is kept, what is chosen, and that a killed study goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

import segae  # noqa: E402
from segae.train.data import LabelledScan  # noqa: E402
from segae_lab.__main__ import main  # noqa: E402
from segae_lab.study import active, cost, network, quality, record, scans, semi  # noqa: E402
from segae_lab.study.sizes import Size  # noqa: E402

TINY = Size(
    side=16, pixel_mm=4.0, synthetic=0, tests=1, width=2, steps=2, batch=2, rate=1e-3, passes=2, budgets=(1, 2, 3),
    seeds=(0, 1),
)  # fmt: skip


def _scan(seed: int, known: int = 5) -> scans.StudyScan:
    rng = np.random.default_rng(seed)
    truth = np.zeros((5, 6, 16, 16), bool)
    for row in range(5):
        truth[row, 1:5, 3 * row : 3 * row + 3, 4 : 8 + row] = True
    image = rng.normal(0, 20, truth.shape[1:]) + 100 * truth.any(axis=0)
    # Air around the body: without any, an image is no CT, which the judge warns of.
    image[:, :, :2] = image[:, :, -2:] = -1000
    return scans.StudyScan(f"s{seed}", image.astype(np.int16), truth, np.arange(5) < known, np.array([5.0, 4.0, 4.0]))


@pytest.fixture(scope="module")
def judge() -> segae.Engine:
    return segae.Engine("default", "cpu", 1)


@pytest.fixture
def some() -> scans.Scans:
    return scans.Scans([_scan(i, known=3 + i % 3) for i in range(5)], [_scan(9)])


@pytest.mark.slow
def test_grid_is_centred_on_the_body_and_keeps_labels_with_their_voxels():
    labels = np.zeros((8, 40, 40), np.uint8)
    labels[2:6, 10:20, 12:22] = 7
    image = np.full(labels.shape, -1024, np.int16)
    image[1:7, 5:25, 7:27] = 0
    image[labels == 7] = 300
    scan = LabelledScan("x", image, labels, {"mandible": (7,)}, (5.0, 2.0, 2.0))
    found = scans.on_grid(scan, "x", TINY)
    assert found.image.shape == (6, 16, 16), "the slices that show the body"
    assert found.known.tolist() == [False, True, False, False, False]
    assert np.array_equal(found.truth[1], found.image == 300)
    # 20 voxels of 2 mm are 10 of 4 mm; the grid reaches beyond the body on all sides.
    assert (found.image[0] > -1024).sum() == 100
    assert found.truth[1].sum() == 4 * 5 * 5


@pytest.mark.slow
def test_a_torn_line_is_no_run(tmp_path: Path):
    file = tmp_path / "runs.jsonl"
    kept = record.Record(file, ("seed", "method"))
    kept.add({"seed": 0, "method": "a", "dice": 0.5})
    with file.open("a") as stream:
        stream.write('{"seed": 1, "met')
    again = record.Record(file, ("seed", "method"))
    assert again.get(seed=0, method="a") == {"seed": 0, "method": "a", "dice": 0.5}
    again.add({"seed": 1, "method": "a", "dice": 0.7})
    assert [run["seed"] for run in record.Record(file, ("seed", "method")).all()] == [0, 1]
    table = record.spread_table(again.all(), "method", "seed", ("dice",), ["a", "b"])
    assert table[2:] == ["| a | 0.500 ± 0.000 | 0.700 ± 0.000 |", "| b | - | - |"]


@pytest.mark.slow
def test_the_better_half_of_every_structure_is_kept():
    ratings = np.array([[0.1, 0.9], [0.5, np.nan], [0.8, 0.2], [0.9, 0.3]])
    found = np.array([[True, True], [True, True], [True, False], [False, True]])
    kept = semi.best_half(ratings, found)
    assert kept.tolist() == [[False, True], [True, False], [True, False], [False, False]]


@pytest.mark.slow
def test_ratings_follow_what_they_are_made_of(some: scans.Scans, judge: segae.Engine):
    net = network.StudyNet(8)
    torch.nn.init.normal_(net.out.weight)
    judges = quality.Judges(net, judge, TINY, 0)
    scan = some.pool[2]
    sure = np.where(scan.truth, 0.99, 0.01).astype(np.float32)
    unsure = np.where(scan.truth, 0.6, 0.01).astype(np.float32)
    nothing = np.zeros_like(sure)
    assert (judges.rate("entropy", scan, sure) > judges.rate("entropy", scan, unsure)).all()
    assert (judges.rate("entropy", scan, unsure) > judges.rate("entropy", scan, nothing)).all()
    assert judges.rate("true dice", scan, sure) == pytest.approx(1.0)
    assert (judges.rate("segae", scan, nothing) == 0).all()
    expected = judge.score(scan.image, scan.truth[1].view(np.uint8), "mandible", spacing=(5.0, 4.0, 4.0))
    assert judges.rate("segae", scan, sure)[1] == expected
    assert (judges.rate("mc dropout", scan, sure) <= 0).all()
    passes = network.probabilities(net, scan, 2)
    assert passes.shape == (2, 5, 6, 16, 16)
    assert (passes[0] != passes[1]).any(), "dropout is on"
    assert (network.probabilities(net, scan) == network.probabilities(net, scan)).all(), "and off again"


@pytest.mark.slow
@pytest.mark.parametrize(("run", "name"), [(active.run_active, "active"), (semi.run_semi, "semi")])
def test_a_killed_study_goes_on(run, name, some, judge, tmp_path, monkeypatch):
    """After a kill only what is missing is run, with the same result as in one go."""
    whole = run(some, TINY, judge, tmp_path, "cpu")
    file = tmp_path / f"{name}.jsonl"
    lines = file.read_text().splitlines()
    methods = quality.METHODS if name == "active" else semi.CHOICES
    assert len(lines) == 2 * 3 * len(methods)
    assert all(method in whole for method in methods)

    file.write_text("\n".join(lines[:-2]) + "\n")
    again = run(some, TINY, judge, tmp_path, "cpu")
    if name == "active":  # the last two lines do not depend on a random rating
        assert again == whole
    assert len(file.read_text().splitlines()) == len(lines)

    module = active if name == "active" else semi
    monkeypatch.setattr(module, "fit_net", lambda *_: pytest.fail("trained again"))
    assert run(some, TINY, judge, tmp_path, "cpu") == again


@pytest.mark.slow
def test_active_asks_for_the_worst(some, judge, tmp_path):
    active.run_active(some, TINY, judge, tmp_path, "cpu")
    runs = [json.loads(line) for line in (tmp_path / "active.jsonl").read_text().splitlines()]
    for seed in TINY.seeds:
        begin = [run["labelled"] for run in runs if run["seed"] == seed and run["budget"] == 1]
        assert len(begin) == len(quality.METHODS)
        assert all(labelled == begin[0] for labelled in begin)
    for run in runs:
        assert len(set(run["next"])) == len(run["next"])
        assert run["next"][: len(run["labelled"])] == run["labelled"]


@pytest.mark.slow
def test_cost_is_measured_in_processes_of_their_own(monkeypatch):
    tiny = cost.Setting((16, 48, 32), (16, 24, 32), (2, 4), passes=2, repeats=1)
    assert len(cost.patches(tiny)) == 2
    _, labels = cost.scene(tiny.shape)
    assert sorted(set(labels.ravel())) == list(range(cost._MASKS + 1))
    monkeypatch.setitem(cost.SETTINGS, "small", tiny)
    table = cost.run_cost("default", "small", "cpu", 1)
    assert all(f"| {way} |" in table for way in cost.WAYS)
    with pytest.raises(segae.SegaeError, match="on the CPU"):
        cost.run_cost("default", "small", "cuda", 1)


@pytest.mark.slow
def test_command_names_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SEGAE_DATA", raising=False)
    assert main(["study", "active", "--work", str(tmp_path)]) == 2
    assert "SEGAE_DATA" in capsys.readouterr().err
