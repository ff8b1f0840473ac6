"""The authors' checkpoint: same numbers as torch with their preprocessing, and nothing in the files is run."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

import segae
import segae.masks
import segae.slices
from segae import structures
from segae.cli import main
from segae.errors import ModelFileError

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
images = pytest.importorskip("PIL.Image")

from segae.train.convert import PAPER_RECIPE, convert  # noqa: E402
from segae.train.paper import PaperJudge  # noqa: E402

SPACING = (5.0, 0.9, 0.9)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, PaperJudge]:
    """Files in the authors' form, with random weights of a ResNet-18, and the network itself."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("published")
    ids = [0, 1, 11, *structures.labels("dap")]
    table = {key: torch.randn(1, 512) for key in ids}
    judge = PaperJudge(torch.cat([table[key] for key in sorted(table)]), 18).eval()
    for module in judge.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():  # as initialised, the score moves by a thousandth from slice to slice: any two would agree
        judge.fc1.weight.mul_(100)
    state = dict(judge.state_dict())
    state["net.conv1.weight"] = torch.zeros(64, 3, 7, 7)  # carried along by the published code, unused
    state["net.fc.bias"] = torch.zeros(1000)
    torch.save(state, folder / "judge.pth")
    with (folder / "labels.pkl").open("wb") as file:
        pickle.dump(table, file)
    return folder / "judge.pth", folder / "labels.pkl", judge


@pytest.fixture(scope="module")
def model(published: tuple[Path, Path, PaperJudge]) -> Path:
    out = published[0].parent / "model.onnx"
    convert(published[0], published[1], out)
    return out


def published_slices(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Preprocess as the paper's code does, in numpy and Pillow."""
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    n = len(filled)
    chosen = filled if n <= 10 else [filled[int(n / 10 * i)] for i in range(10)]
    out = []
    for z in chosen:
        height, width = mask[z].shape
        rows, columns = np.flatnonzero(mask[z].any(axis=1)), np.flatnonzero(mask[z].any(axis=0))
        r0, r1 = max(rows[0] - 20, 0), min(rows[-1] + 20, height)
        c0, c1 = max(columns[0] - 20, 0), min(columns[-1] + 20, width)
        h, w = r1 - r0, c1 - c0
        if h > w:
            c0, c1 = max(c0 - (h - w) // 2, 0), min(c1 + (h - w) // 2, width)
        elif w > h:
            r0, r1 = max(r0 - (w - h) // 2, 0), min(r1 + (w - h) // 2, height)
        ct = (np.clip(image[z, r0:r1, c0:c1].astype(np.float32), -200, 200) + 200) / 400
        small = [
            np.asarray(images.fromarray(np.ascontiguousarray(plane)).resize((256, 256), images.BILINEAR))
            for plane in (ct, mask[z, r0:r1, c0:c1].astype(np.float32))
        ]
        out.append([(small[0] - 0.5) / 0.25, (small[1] - 0.5) / 0.5])
    return np.array(out, np.float32)


def blob(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """One random box, or a single voxel, anywhere in the volume, its border included."""
    low = np.array([rng.integers(0, n) for n in shape])
    high = (
        low + 1
        if rng.random() < 0.2
        else np.array([rng.integers(a + 1, n + 1) for a, n in zip(low, shape, strict=True)])
    )
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    keep = rng.random(shape) < 0.8
    return mask & keep if (mask & keep).any() else mask


@pytest.mark.slow
def test_predictions_equal_torch(
    model: Path, published: tuple[Path, Path, PaperJudge], rng: np.random.Generator
) -> None:
    engine = segae.Engine(model)
    ids = sorted([0, 1, 11, *structures.labels("dap")])
    scores = []
    for _ in range(6):
        shape = tuple(int(rng.integers(1, 40)) if axis == 0 else int(rng.integers(3, 90)) for axis in range(3))
        image, mask = rng.integers(-1000, 1500, shape).astype(np.int16), blob(rng, shape)
        slices = torch.from_numpy(published_slices(image, mask))
        index = torch.full((len(slices),), ids.index(structures.get("spleen").id))
        with torch.inference_mode():
            wanted = published[2](slices, index).mean().item()
        found = engine.assess(image, mask, "spleen", spacing=SPACING)
        assert found.raw == pytest.approx(wanted, abs=1e-4)
        assert len(found.slices) == len(slices)
        scores.append(wanted)
    assert np.ptp(scores) > 0.02, "scores that differ, or the comparison would say little"


def test_ribs_bladder_and_unknown_ids(model: Path) -> None:
    names = segae.Engine(model)._judge.session.card.structures
    ids = sorted([0, 1, 11, *structures.labels("dap")])
    assert names[ids.index(17)] == "urinary_bladder"
    assert {names[ids.index(key)] for key in (0, 1, 11)} == {"0", "1", "11"}
    for side in ("left", "right"):
        rib = structures.get(f"rib_{side}_1")
        assert names[ids.index(rib.id)] == rib.name


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


def test_hostile_files_are_refused(
    published: tuple[Path, Path, PaperJudge], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, embeddings, _ = published
    bad = tmp_path / "bad"
    bad.write_bytes(pickle.dumps({2: _Hostile()}))
    with pytest.raises(ModelFileError, match=r"embeddings: .*asks for builtins.print"):
        convert(checkpoint, bad, tmp_path / "out.onnx")
    torch.save({"conv1.weight": _Hostile()}, bad)
    with pytest.raises(ModelFileError, match="checkpoint: "):
        convert(bad, embeddings, tmp_path / "out.onnx")
    assert "ran" not in capsys.readouterr().out


def _storage_that_runs() -> bytes:
    """An embedding whose storage, itself a file of torch, asks for more than tensors."""
    inner = io.BytesIO()
    torch.save(_Hostile(), inner)
    return _call("torch.storage", "_load_from_bytes", inner.getvalue())


def _call(module: str, name: str, *arguments: object) -> bytes:
    """Pickle of a call to a name that need not exist."""
    called = b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"
    told = b"".join(pickle.dumps(argument, protocol=4)[2 + 9 : -1] for argument in arguments)
    return b"\x80\x04" + called + b"(" + told + b"tR."


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_call("os", "system", "echo ran"), id="shell"),
        pytest.param(_call("builtins", "eval", "print('ran')"), id="eval"),
        pytest.param(_call("builtins", "getattr", "", "join"), id="getattr"),
        pytest.param(_call("torch", "load", "x"), id="torch.load"),
        pytest.param(_call("torch._utils", "_rebuild_tensor_v2.__globals__", "x"), id="dotted name"),
        pytest.param(_call("torch.storage", "os.system", "echo ran"), id="module of a module"),
        pytest.param(_storage_that_runs(), id="inside a storage"),
        pytest.param(b"\x80\x04\x8c\x01xQ.", id="persistent id"),
        pytest.param(b"\x80\x04\x82\x01.", id="extension registry"),
        pytest.param(b"", id="empty"),
        pytest.param(pickle.dumps({2: torch.zeros(1, 512)})[:-300], id="cut off"),
        pytest.param(b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little"), id="says it is a terabyte"),
    ],
)
def test_no_pickle_reaches_beyond_tensors(
    content: bytes, published: tuple[Path, Path, PaperJudge], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.pkl").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"embeddings: .*Nothing in it was run"):
        convert(published[0], tmp_path / "bad.pkl", tmp_path / "out.onnx")
    assert "ran" not in capfd.readouterr().out
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([torch.zeros(1, 512)], "holds a list"),
        ({}, "holds a dict"),
        ({"liver": torch.zeros(1, 512)}, "entry 'liver'"),
        ({-1: torch.zeros(1, 512)}, "entry -1"),
        ({True: torch.zeros(1, 512)}, "entry True"),
        ({2: torch.zeros(512)}, r"entry 2 is \(512,\); expected a class id and \(1, 512\)"),
        ({2: torch.zeros(1, 384)}, r"entry 2 is \(1, 384\)"),
        ({2: 0.5}, "entry 2 is float"),
    ],
)
def test_other_tables_are_refused(
    table: object, message: str, published: tuple[Path, Path, PaperJudge], tmp_path: Path
) -> None:
    (tmp_path / "other.pkl").write_bytes(pickle.dumps(table))
    with pytest.raises(ModelFileError, match=f"embeddings: .*{message}"):
        convert(published[0], tmp_path / "other.pkl", tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "holds a list"),
        ({"state_dict": {"conv1.weight": torch.zeros(1)}, "epoch": 3}, "entry 'state_dict' of .* is a dict"),
        ({3: torch.zeros(1)}, "entry 3"),
    ],
)
def test_other_checkpoints_are_refused(
    content: object, message: str, published: tuple[Path, Path, PaperJudge], tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ModelFileError, match=message):
        convert(tmp_path / "other.pth", published[1], tmp_path / "out.onnx")


def test_unknown_ids_are_judged_by_their_own_embedding(
    model: Path, published: tuple[Path, Path, PaperJudge], rng: np.random.Generator
) -> None:
    """Ids 0, 1 and 11, which structures.csv lacks, have a row of the table each, at their place among the ids."""
    session = segae.Engine(model)._judge.session
    slices = rng.normal(0, 1, (3, 2, 256, 256)).astype(np.float32)
    rows = np.array([session.card.structures.index(name) for name in ("0", "1", "11")])
    with torch.inference_mode():
        wanted = published[2](torch.from_numpy(slices), torch.from_numpy(rows)).numpy()
    assert rows.tolist() == [0, 1, sorted([0, 1, 11, *structures.labels("dap")]).index(11)]
    np.testing.assert_allclose(session.run(slices, rows)["dice"], wanted, atol=1e-4)


def test_input_equals_pillow(rng: np.random.Generator) -> None:
    """Over many volumes, borders, single voxels and sizes; float32 rounding of the two filters differs."""
    checked = 0
    for turn in range(60):
        shape = tuple(int(rng.integers(1, 30)) if axis == 0 else int(rng.integers(1, 120)) for axis in range(3))
        mask = blob(rng, shape)
        if turn % 10 == 0:  # one voxel in a corner
            mask = np.zeros(shape, np.uint8)
            mask[-1, -1, -1] = 1
        image = rng.integers(-1100, 1600, shape).astype(np.int16)
        found = segae.masks.scan_labels(mask, "mask", 1)[1]
        plan = segae.slices.plan_slices(mask, found, PAPER_RECIPE, SPACING, 1)
        ones = np.ones(len(plan.index), np.int64)
        cut = segae.slices.cut(image, mask, PAPER_RECIPE, SPACING, plan.index, plan.crop, ones, 1)
        wanted = published_slices(image, mask)
        assert cut.shape == wanted.shape
        np.testing.assert_allclose(cut, wanted, atol=2e-6, rtol=0)
        checked += len(cut)
    assert checked > 150


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc1.weight"), "missing: fc1.weight"),
        (lambda state: state.update(extra=torch.zeros(1)), "unknown: extra"),
        (lambda state: state.update({"fc2.bias": torch.zeros(2)}), r"misshapen: fc2.bias \(2,\) instead of \(1,\)"),
        (lambda state: [state.pop(key) for key in list(state) if "layer4.1" in key], "stages have"),
    ],
)
def test_other_networks_are_refused(
    published: tuple[Path, Path, PaperJudge], tmp_path: Path, change: object, message: str
) -> None:
    state = torch.load(published[0], weights_only=True)
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ModelFileError, match=message):
        convert(tmp_path / "other.pth", published[1], tmp_path / "out.onnx")


def test_command(published: tuple[Path, Path, PaperJudge], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "model.onnx"
    assert main(["convert", str(published[0]), "--embeddings", str(published[1]), "-o", str(out)]) == 0
    assert "paper-resnet18, 145 classes" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "none"), "--embeddings", str(published[1]), "-o", str(out)]) == 1


def test_missing_files(published: tuple[Path, Path, PaperJudge], tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        convert(tmp_path / "none.pth", published[1], tmp_path / "out.onnx")
    with pytest.raises(ModelFileError, match="no such file"):
        convert(published[0], tmp_path / "none.pkl", tmp_path / "out.onnx")
