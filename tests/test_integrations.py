"""The examples that join segae with other tools, each run on the demo's patient. What a tool must be installed for is
skipped without it; Slicer and MONAI Label are stood for by what they read and ask."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import segae
from segae import audit, demo
from segae.demo import cohort
from segae.readers import save_nifti

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="not a checkout")
STRUCTURES = {1: "liver", 2: "spleen"}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *arguments: object, cwd: Path, code: int = 0) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients and their audit."""
    folder = tmp_path_factory.mktemp("integrations")
    cohort.write_cohort(folder / "dataset", cases=2)
    audit.run(folder / "dataset", folder / "out", workers=1, device="cpu")
    return folder


@pytest.fixture(scope="module")
def batch() -> tuple[np.ndarray, np.ndarray]:
    """The patient twice, [b, 1, z, y, x]: labelmaps of liver and spleen, the second time with a spoiled spleen."""
    image, masks = demo.phantom()
    worse = segae.perturb(masks["spleen"], "dilate", spacing=demo.SPACING_MM, target_dice=0.5, seed=1)
    maps = [masks["liver"] + 2 * (masks["spleen"] & ~masks["liver"]), np.where(worse, 2, masks["liver"])]
    return np.stack([image] * 2)[:, None], np.stack(maps)[:, None].astype(np.uint8)


def test_monai_handler(batch: tuple[np.ndarray, np.ndarray]) -> None:
    ignite = pytest.importorskip("ignite.engine")
    torch = pytest.importorskip("torch")
    images, labelmaps = (torch.from_numpy(volumes) for volumes in batch)
    logits = torch.cat([labelmaps == value for value in range(3)], 1).float()
    cases = [{"image": images[i : i + 1], "pred": logits[i : i + 1]} for i in range(2)]
    evaluator = ignite.Engine(lambda _, case: case)
    load("monai_handler").PredictedDiceHandler(STRUCTURES, demo.SPACING_MM).attach(evaluator)
    good = dict(evaluator.run(cases[:1]).metrics)
    # Decollated, as MONAI's handlers see it: a list of cases without the batch axis.
    evaluator = ignite.Engine(lambda _, case: [{key: value[0] for key, value in case.items()}])
    load("monai_handler").PredictedDiceHandler(STRUCTURES, demo.SPACING_MM).attach(evaluator)
    bad = dict(evaluator.run(cases[1:]).metrics)
    assert set(good) == {"predicted_dice_liver", "predicted_dice_spleen"}
    assert bad["predicted_dice_spleen"] < good["predicted_dice_spleen"] - 0.1


def test_log_scores(batch: tuple[np.ndarray, np.ndarray]) -> None:
    written: dict[str, float] = {}
    log = load("log_scores").ScoreLog(STRUCTURES, demo.SPACING_MM, lambda name, value, _: written.update({name: value}))
    scores = log(*batch)
    log.flush(7)
    assert written["predicted_dice/spleen"] == pytest.approx(scores[:, 1].mean())
    assert written["predicted_dice/below_0.5"] == pytest.approx((scores < 0.5).mean())


def test_log_scores_to_tensorboard(batch: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        log = load("log_scores").ScoreLog(STRUCTURES, demo.SPACING_MM, writer.add_scalar)
        log(*batch)
        log.flush(3)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("predicted_dice/liver")] == [3]


@pytest.mark.slow
def test_nnunet_predictions(folder: Path, batch: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, labelmaps = batch
    z, y, x = demo.SPACING_MM
    for name in ("imagesTs", "predictions"):
        (tmp_path / name).mkdir()
    for number in range(2):
        for array, path in ((images, f"imagesTs/c{number}_0001.nii.gz"), (labelmaps, f"predictions/c{number}.nii.gz")):
            save_nifti(array[number, 0].T, np.diag([-x, -y, z, 1.0]), tmp_path / path)
    names = {"background": 0, "liver": 1, "Milz": 2, "spleen": 2, "organs": [1, 2]}
    described = {"channel_names": {"0": "PET", "1": "CT"}, "labels": names}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    table = list(csv.DictReader(run("nnunet_predictions", "imagesTs", "predictions", "dataset.json", cwd=tmp_path)
                                .splitlines()))  # fmt: skip
    assert len(table) == 4
    assert (table[0]["case"], table[0]["structure"]) == ("c1", "spleen")
    (tmp_path / "imagesTs/c0_0001.nii.gz").unlink()
    run("nnunet_predictions", "imagesTs", "predictions", "dataset.json", cwd=tmp_path, code=1)


def test_totalsegmentator_output(folder: Path) -> None:
    case = folder / "dataset/patient01"
    lines = run("totalsegmentator_output", case / "ct.nii.gz", case / "segmentations", cwd=folder).splitlines()
    assert lines[-1] == "6 structures, 0 empty"
    wrong = {line.partition(":")[0] for line in (case / "faults.txt").read_text().splitlines()}
    assert lines[0].split()[1] in wrong


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library: str, folder: Path) -> None:
    pytest.importorskip(library)
    printed = run("frames", folder / "out", library, cwd=folder)
    assert audit.rank(audit.load(folder / "out"))[0].mask.structure in printed


def test_monailabel_strategy(folder: Path) -> None:
    first = audit.rank(audit.load(folder / "out"))[0].mask
    module = load("monailabel_strategy")
    assert module.image_id("/data/a.b.nii.gz") == "a.b"

    class Datastore:
        def __init__(self, *names: str) -> None:
            self.get_unlabeled_images = lambda: list(names)

    strategy = module.WorstFirst(folder / "out", structures=(first.structure,))
    assert strategy({}, Datastore("other", "ct"))["id"] == "ct"
    assert first.structure in strategy({}, Datastore("ct"))["why"]
    assert strategy({}, Datastore("other")) is None


INTEGRATIONS = "monai_handler nnunet_predictions totalsegmentator_output slicer monailabel_strategy frames log_scores"


@pytest.mark.parametrize("name", INTEGRATIONS.split())
def test_short_enough_to_read(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_slicer(folder: Path, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    row = audit.rank(audit.load(folder / "out"))[0].mask
    run("slicer", "export", folder / "out", 1, "worst.seg.nrrd", cwd=tmp_path)
    made, ct, mask = (sitk.ReadImage(str(path)) for path in (tmp_path / "worst.seg.nrrd", row.image, row.mask))
    for index in ((0, 0, 0), (5, 6, 7)):
        place = made.TransformIndexToPhysicalPoint(index)
        flipped = ct.TransformPhysicalPointToContinuousIndex(place)
        np.testing.assert_allclose(flipped, np.round(flipped), atol=1e-3)
    assert made.GetMetaData("Segment0_Name") == "given only"
    # The given mask is what is agreed and what is given only, on the slices that were looked at.
    labels = sitk.GetArrayFromImage(sitk.Resample(made, mask, sitk.Transform(), sitk.sitkNearestNeighbor))
    given = sitk.GetArrayFromImage(mask) > 0
    seen = (labels > 0).any(axis=(1, 2))
    assert seen.any()
    np.testing.assert_array_equal(np.isin(labels, (1, 3))[seen], given[seen])

    for corrected, decision in ((row.mask, "accept"), (row.image, "reject")):
        run("slicer", "import", folder / "out", 1, corrected, cwd=tmp_path)
        (told,) = csv.DictReader((tmp_path / "decisions.csv").read_text(encoding="utf-8").splitlines())
        assert (told["case"], told["structure"], told["decision"]) == (row.case_id, row.structure, decision)
