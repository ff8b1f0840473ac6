"""`Engine.score_batch`: equal to `score` one by one, in whatever form a training loop holds its batch."""

from __future__ import annotations

import importlib.util
import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import phantom
import pytest

import segae
from segae.threads import run_all

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM
NAMES = ["liver", "spleen", "kidney_left", "kidney_right"]


@pytest.fixture
def masks() -> Array:
    """Return uint8 [4, z, y, x], in the order of NAMES."""
    return np.stack([phantom.labelmap() == value for value in phantom.LABELS]).astype(np.uint8)


@pytest.fixture
def wanted(engine: segae.Engine, image: Array, masks: Array) -> Array:
    singles = [engine.score(image, mask, name, spacing=SPACING) for mask, name in zip(masks, NAMES, strict=True)]
    return np.array(singles, np.float32)


# What a batch may look like


def test_batch_equals_one_by_one(engine: segae.Engine, image: Array, masks: Array, wanted: Array) -> None:
    found = engine.score_batch(np.stack([image] * 4), masks, NAMES, spacing=SPACING)
    assert type(found) is np.ndarray
    assert (found.dtype, found.shape) == (np.float32, (4,))
    np.testing.assert_array_equal(found, wanted)
    assert len(set(found.tolist())) == 4


@pytest.mark.parametrize(
    "form",
    [
        lambda image, masks: (image, masks),
        lambda image, masks: (image[None], masks),
        lambda image, masks: (image, masks[:, None]),
        lambda image, masks: (image[None, None], masks[:, None]),
        lambda image, masks: ([image] * 4, masks),
        lambda image, masks: (image, list(masks)),
        lambda image, masks: (image.astype(np.float32), tuple(masks.astype(bool))),
    ],
    ids=["shared", "batch of 1", "channel", "both channels", "list of images", "list of masks", "types"],
)
def test_forms(form: Any, engine: segae.Engine, image: Array, masks: Array, wanted: Array) -> None:
    images, given = form(image, masks)
    np.testing.assert_array_equal(engine.score_batch(images, given, NAMES, spacing=SPACING), wanted)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", "float32", "float64"])
def test_types_of_masks(dtype: str, engine: segae.Engine, image: Array, masks: Array, wanted: Array) -> None:
    np.testing.assert_array_equal(engine.score_batch(image, masks.astype(dtype), NAMES, spacing=SPACING), wanted)


def test_axes_and_strides(engine: segae.Engine, image: Array, masks: Array, wanted: Array) -> None:
    turned = np.ascontiguousarray(masks.transpose(0, 3, 2, 1))
    found = engine.score_batch(image.T, turned, NAMES, spacing=SPACING[::-1], axes="xyz")
    np.testing.assert_array_equal(found, wanted)
    wide = np.zeros((8, *masks.shape[1:]), np.uint8)
    wide[::2] = masks
    np.testing.assert_array_equal(engine.score_batch(image, wide[::2], NAMES, spacing=SPACING), wanted)


def test_unequal_volumes(engine: segae.Engine, image: Array, masks: Array) -> None:
    images = [image, image[5:, 3:], image[:, :50, :60]]
    given = [masks[0], masks[0][5:, 3:], masks[0][:, :50, :60]]
    steps = [SPACING, (4.0, 5.0, 5.0), (5.0, 4.0, 4.0)]
    found = engine.score_batch(images, given, "liver", spacing=steps)
    alone = [
        engine.score(one, mask, "liver", spacing=step) for one, mask, step in zip(images, given, steps, strict=True)
    ]
    np.testing.assert_array_equal(found, np.array(alone, np.float32))
    assert found[2] != found[0]


def test_files(engine: segae.Engine, image: Array, masks: Array, wanted: Array, tmp_path: Path) -> None:
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    nib.save(nib.Nifti1Image(image.T, affine), tmp_path / "ct.nii.gz")
    paths = []
    for name, mask in zip(NAMES, masks, strict=True):
        paths.append(tmp_path / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(mask.T, affine), paths[-1])
    np.testing.assert_array_equal(engine.score_batch(tmp_path / "ct.nii.gz", paths, NAMES), wanted)
    # Arrays beside a file lie on its grid.
    mixed = engine.score_batch(nib.load(tmp_path / "ct.nii.gz"), [paths[0], masks[1].T], NAMES[:2])
    np.testing.assert_array_equal(mixed, wanted[:2])


def test_labelmaps(engine: segae.Engine, image: Array, wanted: Array) -> None:
    """One column a named value; a value that does not occur is nan."""
    labelmap = phantom.labelmap()
    some = np.where(labelmap == 2, 0, labelmap)
    found = engine.score_batch(image, np.stack([labelmap, some]), phantom.LABELS, spacing=SPACING)
    np.testing.assert_array_equal(found[0], wanted)
    np.testing.assert_array_equal(found[1], [wanted[0], np.nan, *wanted[2:]])
    turned = dict(reversed(phantom.LABELS.items()))
    np.testing.assert_array_equal(engine.score_batch(image, labelmap[None], turned, spacing=SPACING), [wanted[::-1]])


def test_label(engine: segae.Engine, image: Array, wanted: Array) -> None:
    labelmaps = phantom.labelmap()[None]
    np.testing.assert_array_equal(engine.score_batch(image, labelmaps, "spleen", label=2, spacing=SPACING), wanted[1:2])


def test_empty_masks_and_empty_batches(engine: segae.Engine, image: Array, masks: Array, wanted: Array) -> None:
    masks[1] = 0
    found = engine.score_batch(image, masks, NAMES, spacing=SPACING)
    np.testing.assert_array_equal(found, [wanted[0], np.nan, *wanted[2:]])
    assert np.isnan(engine.score_batch(image, np.zeros_like(masks), "liver", spacing=SPACING)).all()
    assert engine.score_batch(image, masks[:0], "liver", spacing=SPACING).shape == (0,)
    assert engine.score_batch(image, [], [], spacing=SPACING).shape == (0,)
    assert engine.score_batch(image, [], phantom.LABELS, spacing=SPACING).shape == (0, 4)


def test_more_slices_than_a_chunk(engine: segae.Engine, image: Array, masks: Array, wanted: Array) -> None:
    found = engine.score_batch(image, np.concatenate([masks] * 5), NAMES * 5, spacing=SPACING)
    np.testing.assert_array_equal(found, np.tile(wanted, 5))


# What is wrong with a batch is said


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"spacing": None}, segae.VolumeError, r"images: a bare array .* has no geometry.*spacing="),
        ({"spacing": (1, 1)}, segae.VolumeError, r"spacing: expected shape \(3,\) or \(4, 3\)"),
        ({"spacing": [(1, 1, 1)] * 3}, segae.VolumeError, r"spacing: expected shape \(3,\) or \(4, 3\)"),
        ({"spacing": "mm"}, segae.VolumeError, "spacing: expected three numbers"),
        ({"spacing": (5, -5, 5)}, segae.VolumeError, "spacing: expected three positive"),
        ({"structures": NAMES[:3]}, segae.ParameterError, "structures: 3 names for 4 masks"),
        ({"structures": "livr"}, segae.UnknownStructureError, "liver"),
        ({"structures": 5}, segae.ParameterError, "structures: expected a name, one name a mask, or a dict"),
        ({"structures": [1, 2, 3, 4]}, segae.ParameterError, "structures: expected a name"),
        ({"structures": {0: "liver"}}, segae.ParameterError, "0 is the background"),
        ({"structures": {1: "liver"}, "label": 1}, segae.ParameterError, "label: structures names the values"),
        ({"label": 0}, segae.ParameterError, "label: 0 is the background"),
        ({"axes": "yxz"}, segae.VolumeError, "axes: expected one of"),
        ({"masks": lambda m: m[0]}, segae.VolumeError, "masks: expected a batch.*got one volume.*Use score"),
        ({"masks": lambda m: "mask.nii.gz"}, segae.VolumeError, "masks: expected a batch.*got one volume"),
        ({"masks": lambda m: 7}, segae.VolumeError, "masks: expected an array .* got int"),
        ({"masks": lambda m: np.stack([m, m], 1)}, segae.VolumeError, r"masks: .*one channel.*argmax\(1\)"),
        ({"masks": lambda m: m[..., :-1]}, segae.GridMismatchError, r"masks\[0\]: not on the image's grid"),
        ({"masks": lambda m: [*m[:2], m[2][1:], m[3]]}, segae.GridMismatchError, r"masks\[2\]: not on the image's"),
        ({"masks": lambda m: np.linspace(0, 1, m.shape[1])[:, None, None] * m}, segae.VolumeError, r"masks\[0\] > 0.5"),
        ({"masks": lambda m: [m[0], 3 * m[1]]}, segae.VolumeError, r"masks\[1\]: holds the values 3"),
        ({"masks": lambda m: [m[0], object()]}, segae.VolumeError, r"masks\[1\]: expected a path"),
        ({"images": lambda i: [i, i]}, segae.GridMismatchError, "2 images for 4 masks"),
        ({"images": lambda i: [i, i, i, i[0]]}, segae.VolumeError, r"images\[3\]: expected 3 axes"),
        ({"images": lambda i: 3.0}, segae.VolumeError, "images: expected an array"),
    ],
)  # fmt: skip
def test_wrong_batches(
    change: dict[str, Any], error: type[Exception], says: str, engine: segae.Engine, image: Array, masks: Array
) -> None:
    given: dict[str, Any] = {"images": image, "masks": masks, "structures": NAMES, "spacing": SPACING}
    if "masks" in change and isinstance(change["masks"](masks), list):
        given["structures"] = "liver"
    for name, value in change.items():
        given[name] = value(given[name]) if callable(value) else value
    with pytest.raises(error, match=says):
        engine.score_batch(given.pop("images"), given.pop("masks"), given.pop("structures"), **given)


# Training loops


def test_torch(engine: segae.Engine, image: Array, masks: Array, wanted: Array) -> None:
    torch = pytest.importorskip("torch")
    images = torch.from_numpy(image).float()[None, None].expand(4, -1, -1, -1, -1)
    logits = torch.from_numpy(masks * 8.0 - 4.0)[:, None].requires_grad_()
    for context in (torch.no_grad(), torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with context:
            found = engine.score_batch(images, torch.sigmoid(logits) > 0.5, NAMES, spacing=SPACING)
        assert (type(found), found.dtype, found.device, found.requires_grad) == (
            torch.Tensor,
            torch.float32,
            images.device,
            False,
        )
        np.testing.assert_array_equal(found.numpy(), wanted)
    kept = torch.from_numpy(masks).float().requires_grad_()
    np.testing.assert_array_equal(engine.score_batch(images, kept, NAMES, spacing=SPACING).numpy(), wanted)
    as_list = engine.score_batch(list(images), list(kept), NAMES, spacing=torch.tensor(SPACING))
    np.testing.assert_array_equal((1 - as_list).numpy(), 1 - wanted)
    with pytest.raises(segae.VolumeError, match=r"bfloat16"):
        engine.score_batch(images, kept.bfloat16(), NAMES, spacing=SPACING)


def test_any_array_library(engine: segae.Engine, image: Array, masks: Array, wanted: Array, monkeypatch: Any) -> None:
    """The library is that of the array's type, or the one that the array names; segae imports none."""

    class Library:
        @staticmethod
        def from_dlpack(array: Array) -> Foreign:
            return Foreign(array)

    class Foreign:
        def __init__(self, array: Array) -> None:
            self.array, self.shape = array, array.shape

        def __getitem__(self, key: Any) -> Foreign:
            return Foreign(self.array[key])

        def __dlpack__(self, **more: Any) -> Any:
            return self.array.__dlpack__(**more)

        def __dlpack_device__(self) -> tuple[int, int]:
            return 1, 0

    monkeypatch.setitem(sys.modules, Foreign.__module__.partition(".")[0], Library)
    found = engine.score_batch(image, Foreign(masks), NAMES, spacing=SPACING)
    assert type(found) is Foreign
    np.testing.assert_array_equal(found.array, wanted)
    monkeypatch.setattr(Foreign, "__array_namespace__", lambda self: Library, raising=False)
    monkeypatch.delitem(sys.modules, Foreign.__module__.partition(".")[0])
    assert type(engine.score_batch(image, [Foreign(mask) for mask in masks], NAMES, spacing=SPACING)) is Foreign


JAX = """
import sys, numpy, jax.numpy, segae
engine = segae.Engine(sys.argv[1], "cpu", threads=1)
mask = numpy.zeros((1, 12, 20, 20), numpy.uint8)
mask[:, 3:9, 5:15, 5:15] = 1
image = 60 * mask[0].astype(numpy.int16)
found = engine.score_batch(image, jax.numpy.asarray(mask), "liver", spacing=(4, 2, 2))
assert type(found).__module__.startswith("jax"), type(found)
numpy.testing.assert_array_equal(found, engine.score_batch(image, mask, "liver", spacing=(4, 2, 2)))
"""


def test_jax(tiny_model: Path) -> None:
    """In a process of its own: jax warns of every later fork."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    subprocess.run([sys.executable, "-c", JAX, tiny_model], check=True)


class Scored:
    """A data set that scores its items, as a loader's worker would."""

    def __init__(self, engine: segae.Engine) -> None:
        self.engine = engine

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> float:
        image, labels = phantom.image(np.random.default_rng(1)), phantom.labelmap()
        mask = (labels == i + 1)[None]
        return float(self.engine.score_batch(image, mask, NAMES[i], spacing=SPACING)[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_workers(method: str, engine: segae.Engine) -> None:
    data = pytest.importorskip("torch.utils.data")
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    scored: Any = Scored(engine)
    alone = [scored[i] for i in range(4)]
    loader = data.DataLoader(scored, batch_size=2, num_workers=1, multiprocessing_context=method)
    assert [float(score) for batch in loader for score in batch] == alone


def test_threads_share_an_engine(engine: segae.Engine, image: Array, masks: Array, wanted: Array) -> None:
    def score() -> Array:
        return engine.score_batch(image, masks, NAMES, spacing=SPACING)  # type: ignore[no-any-return]

    for found in run_all([score] * 6, 3):
        np.testing.assert_array_equal(found, wanted)


# Jobs on threads


def test_jobs_keep_their_order_and_use_the_threads() -> None:
    together = threading.Barrier(3, timeout=20)
    assert run_all([lambda i=i: (together.wait(), i)[1] for i in range(3)], 3) == [0, 1, 2]  # type: ignore[misc]
    assert run_all([lambda i=i: i for i in range(50)], 4) == list(range(50))  # type: ignore[misc]
    assert run_all([], 4) == []
    assert run_all([threading.get_ident] * 3, 1) == [threading.get_ident()] * 3


def test_the_first_failure_is_raised_and_ends_the_work() -> None:
    done = []

    def job(i: int) -> None:
        if i in (3, 4):
            raise KeyError(i)
        done.append(i)

    with pytest.raises(KeyError, match="3"):
        run_all([lambda i=i: job(i) for i in range(50)], 1)  # type: ignore[misc]
    assert done == [0, 1, 2]
