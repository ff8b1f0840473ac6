"""Arrays and images of other libraries: by what they say of themselves, not by what they are called.

Seen in public reports: MONAI#4685, MONAI#8202, MONAI#7365, MONAI#8337, MONAI#1357, SimpleITK#97, lungmask PR#46.
"""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import phantom
import pytest

import segae

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM
RAS = np.diag([5.0, 5.0, 5.0, 1.0])


@pytest.fixture
def score(engine: segae.Engine, image: Array) -> float:
    """Of an organ at one side, so that mirrors show."""
    return engine.score(image, kidney(), "kidney_left", spacing=SPACING)


def kidney() -> Array:
    return (phantom.labelmap() == 3).astype(np.uint8)


def ras(array: Array) -> Array:
    """[z, y, x] in LPS -> [x, y, z] in RAS."""
    return np.ascontiguousarray(array[:, ::-1, ::-1].transpose(2, 1, 0))


def lps_affine(spacing: tuple[float, float, float]) -> Array:
    return np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])


class WithArray:
    """What zarr, dask and h5py have in common."""

    def __init__(self, array: Array) -> None:
        self._array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self._array

    def __getitem__(self, key: Any) -> Array:
        return self._array[key]


class Affined(np.ndarray):
    """An array that carries an affine, as MONAI's do."""

    affine: Any = None


def affined(array: Array, affine: Any) -> Affined:
    given = np.ascontiguousarray(array).view(Affined)
    given.affine = affine
    return given


# An affine that an array carries


def test_an_affine_is_used(engine: segae.Engine, image: Array, score: float) -> None:
    ct, mask = ras(image), ras(kidney())
    for affine in (RAS, RAS[None], RAS.tolist()):
        for given in (affined(mask, affine), affined(mask[None], affine)):
            assert engine.score(affined(ct, affine), given, "kidney_left") == score
    assert engine.score(affined(ct, RAS), mask, "kidney_left") == score, "a bare mask lies on the image's grid"
    assert engine.score(ct, affined(mask, RAS), "kidney_left") == score
    assert engine.score(affined(ct, RAS), nib.Nifti1Image(mask, RAS), "kidney_left") == score


def test_an_affine_is_not_ignored(engine: segae.Engine, image: Array) -> None:
    ct, mask = affined(ras(image), RAS), affined(ras(kidney()), RAS)
    with pytest.raises(segae.VolumeError, match=r"spacing: image and mask carry their own grids.*Drop it"):
        engine.score(ct, mask, "kidney_left", spacing=SPACING)
    with pytest.raises(segae.VolumeError, match=r"spacing: mask carries its own grid.*or pass the plain array"):
        segae.perturb(mask, "erode", severity=0.2, spacing=SPACING)
    for wrong in (np.eye(3), "RAS", np.zeros((2, 4, 4))):
        with pytest.raises(segae.VolumeError, match="image: it carries an attribute affine; expected index -> RAS mm"):
            engine.score(affined(ras(image), wrong), mask, "kidney_left")
    shifted = RAS.copy()
    shifted[0, 3] = 30
    with pytest.raises(segae.GridMismatchError):
        engine.score(ct, affined(ras(kidney()), shifted), "kidney_left")


@pytest.mark.parametrize("rank", [4, 5])
@pytest.mark.parametrize("which", ["both", "image", "mask"])
def test_batches_with_affines(rank: int, which: str, engine: segae.Engine, image: Array, score: float) -> None:
    expand = (slice(None), *[None] * (rank - 4))
    ct, mask = np.stack([ras(image)] * 2)[expand], np.stack([ras(kidney())] * 2)[expand]
    for affine in (RAS, RAS[None], np.stack([RAS] * 2)):
        found = engine.score_batch(
            affined(ct, affine) if which != "mask" else ct,
            affined(mask, affine) if which != "image" else mask,
            "kidney_left",
        )
        assert found.tolist() == [np.float32(score)] * 2


def test_affine_of_score_batch(engine: segae.Engine, image: Array, score: float) -> None:
    ct, mask = np.stack([ras(image)] * 2)[:, None], np.stack([ras(kidney())] * 2)[:, None]
    wide = np.diag([6.0, 5, 5, 1])
    other = engine.score(ras(image), ras(kidney()), "kidney_left", affine=wide)
    for affine, wanted in ((RAS, [score] * 2), (RAS.tolist(), [score] * 2), ([RAS, wide], [score, other])):
        assert engine.score_batch(ct, mask, "kidney_left", affine=affine).tolist() == np.float32(wanted).tolist()
    for wrong in (np.eye(3), np.stack([RAS] * 3), "RAS"):
        with pytest.raises(segae.VolumeError, match="affine: expected"):
            engine.score_batch(ct, mask, "kidney_left", affine=wrong)
    with pytest.raises(segae.VolumeError, match="affine, spacing: give one of the two"):
        engine.score_batch(ct, mask, "kidney_left", affine=RAS, spacing=SPACING)


def test_a_spacing_that_may_be_read_twice(engine: segae.Engine, image: Array) -> None:
    images, masks = np.stack([image] * 3), np.stack([kidney()] * 3)
    rows = np.array([(5.0, 4, 4), (5, 5, 5), (5, 4, 5)])
    for given in (rows, rows.T, list(rows)):
        with pytest.raises(segae.VolumeError, match=r"spacing: of three masks, an array of shape \(3, 3\) may"):
            engine.score_batch(images, masks, "kidney_left", spacing=given)
    as_tuples = engine.score_batch(images, masks, "kidney_left", spacing=[tuple(row) for row in rows.tolist()])
    alone = [engine.score(image, kidney(), "kidney_left", spacing=row.tolist()) for row in rows]
    assert as_tuples.tolist() == np.float32(alone).tolist()
    same = engine.score_batch(images, masks, "kidney_left", spacing=np.full((3, 3), 5.0))
    assert same.tolist() == engine.score_batch(images, masks, "kidney_left", spacing=(5, 5, 5)).tolist()
    with pytest.raises(segae.VolumeError, match=r"got \(3, 2\) for 2 masks\. It has one row an axis"):
        engine.score_batch(images[:2], masks[:2], "kidney_left", spacing=rows[:2].T)


# Libraries


def test_arrays_by_array_protocol(engine: segae.Engine, image: Array, score: float) -> None:
    assert engine.score(WithArray(image), WithArray(kidney()), "kidney_left", spacing=SPACING) == score
    batch = engine.score_batch(WithArray(image[None]), WithArray(kidney()[None]), "kidney_left", spacing=SPACING)
    assert batch.tolist() == [np.float32(score)]

    class Broken(WithArray):
        def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
            raise OSError("the store is gone")

    with pytest.raises(
        segae.VolumeError, match=r"image: this Broken gives numpy no array \(OSError: the store is gone"
    ):
        engine.score(Broken(image), kidney(), "kidney_left", spacing=SPACING)


def test_zarr_and_dask(engine: segae.Engine, image: Array, score: float, tmp_path: Path) -> None:
    zarr, dask = pytest.importorskip("zarr"), pytest.importorskip("dask.array")
    stored = zarr.open_array(str(tmp_path / "ct.zarr"), mode="w", shape=image.shape, dtype=image.dtype)
    stored[...] = image
    assert engine.score(stored, dask.from_array(kidney(), chunks=20), "kidney_left", spacing=SPACING) == score


def test_array_proxy(engine: segae.Engine, image: Array, score: float, tmp_path: Path) -> None:
    for name, array in (("ct", image.astype(np.float32)), ("mask", kidney() * 0.5)):
        file = nib.Nifti1Image(array.T, lps_affine(SPACING))
        file.header.set_data_dtype(np.int16)
        nib.save(file, tmp_path / f"{name}.nii.gz")
    ct, mask = nib.load(tmp_path / "ct.nii.gz"), nib.load(tmp_path / "mask.nii.gz")
    assert mask.dataobj.slope != 1
    found = engine.score(ct.dataobj, mask.dataobj, "kidney_left", affine=ct.affine)
    assert found == pytest.approx(score, abs=1e-3)


def test_masked_arrays_are_refused(engine: segae.Engine, image: Array) -> None:
    masked = np.ma.masked_less(image, -500)
    with pytest.raises(segae.VolumeError, match=r"image: a masked array.*image\.filled"):
        engine.score(masked, kidney(), "kidney_left", spacing=SPACING)


ORIENTED = list(itertools.product(((0, 1, 2), (2, 0, 1), (1, 0, 2)), itertools.product((1, -1), repeat=3)))


def check_itk(module: Any, engine: segae.Engine, image: Array, score: float) -> None:
    """Whatever the direction of an image: its array alone would be mirrored or lie on its side."""

    def itk_image(array: Array) -> Any:
        seen = array.transpose(2, 1, 0)  # x, y, z in LPS
        seen = seen.transpose(order)[tuple(slice(None, None, sign) for sign in directions)]
        made = module.GetImageFromArray(np.ascontiguousarray(seen.transpose(2, 1, 0)))
        made.SetSpacing([SPACING[2 - axis] for axis in order])
        made.SetOrigin([10.0, -20.0, 30.0])
        made.SetDirection(turn.ravel().tolist() if module.__name__ == "SimpleITK" else module.matrix_from_array(turn))
        return made

    for order, directions in ORIENTED:
        turn = np.zeros((3, 3))
        turn[order, range(3)] = directions
        ct, mask = itk_image(image), itk_image(kidney())
        assert engine.score(ct, mask, "kidney_left") == score
        assert engine.score_batch(ct, [mask, mask], "kidney_left").tolist() == [np.float32(score)] * 2
        found = engine.assess(ct, mask, "kidney_left")
        inside = np.argwhere(module.GetArrayFromImage(mask))
        assert found.bbox == tuple(zip(inside.min(0).tolist(), (inside.max(0) + 1).tolist(), strict=True))
        edited = module.GetArrayFromImage(mask)
        assert engine.score(ct, edited, "kidney_left") == score, "the caller's array on the image's grid"


def test_simpleitk_images(engine: segae.Engine, image: Array, score: float) -> None:
    check_itk(pytest.importorskip("SimpleITK"), engine, image, score)


ITK = """
import sys
sys.path.insert(0, sys.argv[2])
import itk
import numpy as np
import phantom
import segae
import test_field_arrays as here
engine = segae.Engine(sys.argv[1], "cpu", threads=2)
image = phantom.image(np.random.default_rng(20260114))
here.check_itk(itk, engine, image, engine.score(image, here.kidney(), "kidney_left", spacing=here.SPACING))
"""


@pytest.mark.slow
def test_itk_images(tiny_model: Path) -> None:
    """In a process of its own: ITK and SimpleITK cannot live in one."""
    if importlib.util.find_spec("itk") is None:
        pytest.skip("no ITK")
    command = [sys.executable, "-c", ITK, str(tiny_model), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_itk_images_of_other_kinds(engine: segae.Engine, image: Array) -> None:
    sitk = pytest.importorskip("SimpleITK")
    flat, colours = sitk.GetImageFromArray(image[0]), sitk.GetImageFromArray(image, isVector=True)
    for given in (flat, colours):
        with pytest.raises(segae.VolumeError, match="image: expected an image of 3 dimensions with one number a voxel"):
            engine.score(given, kidney(), "kidney_left")


def test_an_itk_image_may_go(engine: segae.Engine, image: Array, score: float) -> None:
    sitk = pytest.importorskip("SimpleITK")

    def masks() -> Any:
        for _ in range(2):
            mask = sitk.GetImageFromArray(kidney())
            mask.SetSpacing(SPACING)
            yield "kidney_left", mask
            del mask

    ct = sitk.GetImageFromArray(image)
    ct.SetSpacing(SPACING)
    found = engine.assess_masks(ct, masks(), reference=None)
    assert [entry.dice for entry in found if isinstance(entry, segae.Assessment)] == [score] * 2


def test_torchio(engine: segae.Engine, image: Array, score: float) -> None:
    """What a TorchIO image offers, and what the real one does where it is installed."""

    class ScalarImage:
        def __init__(self, array: Array) -> None:
            self.data, self.affine, self.spatial_shape = array[None], RAS, array.shape

    assert engine.score(ScalarImage(ras(image)), ScalarImage(ras(kidney())), "kidney_left") == score
    pytest.importorskip("torch")
    try:
        import torchio
    except ImportError as error:
        pytest.skip(f"no TorchIO: {error}")
    import torch

    ct = torchio.ScalarImage(tensor=torch.from_numpy(ras(image)[None].astype(np.float32)), affine=RAS)
    mask = torchio.LabelMap(tensor=torch.from_numpy(ras(kidney())[None]), affine=RAS)
    assert engine.score(ct, mask, "kidney_left") == score
    assert engine.score_batch([ct], [mask], "kidney_left").tolist() == [np.float32(score)]


# Tensors


def test_subclasses_of_tensor(engine: segae.Engine, image: Array, score: float) -> None:
    torch = pytest.importorskip("torch")

    class Mask(torch.Tensor):
        """As of torchvision, or MONAI's without an affine."""

    Mask.__module__ = "elsewhere.tensors"
    mask = torch.from_numpy(kidney()).as_subclass(Mask)
    ct = torch.from_numpy(image)
    assert engine.score(ct, mask, "kidney_left", spacing=SPACING) == score
    found = engine.score_batch(ct[None], mask[None], "kidney_left", spacing=SPACING)
    assert type(found) is torch.Tensor
    assert found.tolist() == [np.float32(score)]
    worse = segae.perturb(mask, "erode", severity=0.2, spacing=SPACING, seed=1)
    assert type(worse) is torch.Tensor
    assert worse.dtype == torch.uint8
    np.testing.assert_array_equal(worse, segae.perturb(kidney(), "erode", severity=0.2, spacing=SPACING, seed=1))


def test_metatensors_as_monai_hands_them_out(engine: segae.Engine, image: Array, score: float) -> None:
    torch = pytest.importorskip("torch")

    class MetaTensor(torch.Tensor):
        pass

    def meta(array: Array, n: int) -> Any:
        made = torch.from_numpy(np.stack([ras(array)] * n)[:, None]).as_subclass(MetaTensor)
        made.affine = torch.from_numpy(np.stack([RAS] * n))
        return made

    for n in (1, 2, 3):
        found = engine.score_batch(meta(image, n), meta(kidney(), n), "kidney_left")
        assert type(found) is torch.Tensor
        assert found.tolist() == [np.float32(score)] * n
    # A network's answer is a plain tensor on the image's grid.
    plain = torch.from_numpy(ras(kidney()))[None, None]
    assert engine.score_batch(meta(image, 1), plain, "kidney_left").tolist() == [np.float32(score)]
    one = torch.from_numpy(ras(kidney())[None]).as_subclass(MetaTensor)
    one.affine = torch.from_numpy(RAS)
    assert engine.score_batch([meta(image, 1)[0, 0].as_subclass(torch.Tensor)], [one], "kidney_left")[0] == score


def test_arguments_of_a_wrong_type(engine: segae.Engine, image: Array) -> None:
    for threads in (2.0, "2", [2]):
        with pytest.raises(segae.ParameterError, match="threads: expected"):
            segae.Engine(engine.model, "cpu", threads=threads)  # type: ignore[arg-type]
        with pytest.raises(segae.ParameterError, match="threads: expected"):
            segae.measure(kidney(), kidney(), spacing=SPACING, threads=threads)  # type: ignore[arg-type]
    with pytest.raises(segae.ParameterError, match=r"label: expected an integer, got 1\.0"):
        segae.perturb(kidney(), "erode", severity=0.2, spacing=SPACING, label=1.0)  # type: ignore[call-overload]
    torch = pytest.importorskip("torch")
    with pytest.raises(segae.VolumeError, match=r"mask: numpy cannot view this Tensor .*device meta has no values"):
        engine.score(torch.from_numpy(image), torch.from_numpy(kidney()).to("meta"), "kidney_left", spacing=SPACING)
