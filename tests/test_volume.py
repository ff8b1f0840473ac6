"""Whatever the user may hold: files, nibabel images, arrays, DLPack; any orientation, order, scale and byte order."""

from __future__ import annotations

import itertools
import os
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
from segae import volume as volumes

Array = npt.NDArray[Any]

# (x, y, z) index -> RAS mm of the phantom seen as [x, y, z]: x runs to the left, y to the back.
LPS = np.array([[-5.0, 0, 0, 180], [0, -5, 0, 140], [0, 0, 5, -100], [0, 0, 0, 1]])


@pytest.fixture
def score(engine: segae.Engine, image: Array, mask: Array) -> float:
    """What every other way of giving the same case must give."""
    return engine.score(image, mask, "liver", spacing=phantom.SPACING_MM)


def nifti(array: Array, affine: Array = LPS) -> nib.Nifti1Image:
    """The phantom's arrays are [z, y, x], nibabel's [x, y, z]."""
    return nib.Nifti1Image(array.T, affine)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [str, Path])
def test_files(
    suffix: str, kind: type, tmp_path: Path, engine: segae.Engine, image: Array, mask: Array, score: float
) -> None:
    for name, array in (("ct", image), ("mask", mask)):
        nib.save(nifti(array), tmp_path / f"{name}{suffix}")
    given = engine.score(kind(tmp_path / f"ct{suffix}"), kind(tmp_path / f"mask{suffix}"), "liver")
    assert given == pytest.approx(score, abs=1e-6)


def test_path_like(tmp_path: Path, engine: segae.Engine, image: Array, mask: Array, score: float) -> None:
    class Somewhere(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(tmp_path / "ct.nii")

    nib.save(nifti(image), tmp_path / "ct.nii")
    assert engine.score(Somewhere(), nifti(mask), "liver") == pytest.approx(score, abs=1e-6)


def test_a_memory_mapped_file_is_not_read_whole(tmp_path: Path, image: Array) -> None:
    nib.save(nifti(image), tmp_path / "ct.nii")
    array = volumes.load(tmp_path / "ct.nii", "image").array
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    assert isinstance(array, np.memmap)


def test_arrays(engine: segae.Engine, image: Array, mask: Array, score: float) -> None:
    def alike(*args: Any, **kwargs: Any) -> None:
        assert engine.score(*args, "liver", **kwargs) == pytest.approx(score, abs=1e-6)

    alike(image.T, mask.T, spacing=phantom.SPACING_MM, axes="xyz")
    alike(image.T, mask.T, affine=LPS)
    alike(image.T, mask.T, affine=LPS.tolist())
    alike(nifti(image), mask.T)
    alike(image.T, nifti(mask))
    alike(nifti(image), mask, spacing=phantom.SPACING_MM)
    alike(image.astype(np.float64), mask.astype(bool), spacing=phantom.SPACING_MM)
    alike(image[..., None, None], mask[..., None], spacing=phantom.SPACING_MM)
    alike(nib.Nifti1Image(image.T[..., None], LPS), nifti(mask))


def test_anisotropic_spacing_follows_the_axes() -> None:
    array = np.zeros((2, 3, 4))
    assert volumes.load(array, "image", volumes.Geometry(spacing=(5, 1, 2))).spacing_mm == (5, 1, 2)
    assert volumes.load(array, "image", volumes.Geometry(spacing=(5, 1, 2), axes="xyz")).spacing_mm == (2, 1, 5)
    assert volumes.load(array, "image", volumes.Geometry(affine=np.diag([5, 1, 2, 1]))).spacing_mm == (2, 1, 5)


class Foreign:
    """An array of some other library."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def test_dlpack(engine: segae.Engine, image: Array, mask: Array, score: float) -> None:
    given = engine.score(Foreign(image), Foreign(mask), "liver", spacing=phantom.SPACING_MM)
    assert given == pytest.approx(score, abs=1e-6)
    fortran = engine.score(Foreign(np.asfortranarray(image)), Foreign(mask), "liver", spacing=phantom.SPACING_MM)
    assert fortran == pytest.approx(score, abs=1e-6)


def test_torch(engine: segae.Engine, image: Array, mask: Array, score: float) -> None:
    torch = pytest.importorskip("torch")
    given = engine.score(torch.from_numpy(image), torch.from_numpy(mask), "liver", spacing=phantom.SPACING_MM)
    assert given == pytest.approx(score, abs=1e-6)
    as_bool = engine.score(torch.from_numpy(image), torch.from_numpy(mask) > 0, "liver", spacing=phantom.SPACING_MM)
    assert as_bool == pytest.approx(score, abs=1e-6)
    with pytest.raises(segae.VolumeError, match=r"image: numpy cannot view .*detach"):
        engine.score(torch.zeros(3, 3, 3, requires_grad=True), mask, "liver", spacing=(1, 1, 1))
    with pytest.raises(segae.VolumeError, match=r"image: numpy cannot view .*bfloat16"):
        engine.score(torch.zeros(3, 3, 3, dtype=torch.bfloat16), mask, "liver", spacing=(1, 1, 1))


def test_arrays_on_other_devices_are_refused(mask: Array) -> None:
    class OnGpu(Foreign):
        def __dlpack_device__(self) -> tuple[int, int]:
            return (10, 0)  # ROCm

    with pytest.raises(segae.DeviceError, match=r"image: the array lies on a device.*\.cpu\(\)"):
        volumes.load(OnGpu(mask), "image", volumes.Geometry(spacing=(1, 1, 1)))


@pytest.mark.parametrize("dtype", [">i2", ">f4", "<i2"])
def test_byte_order(dtype: str, tmp_path: Path, engine: segae.Engine, image: Array, mask: Array, score: float) -> None:
    header = nib.Nifti1Header(endianness=dtype[0])
    header.set_data_dtype(np.dtype(dtype))
    nib.save(nib.Nifti1Image(image.T.astype(dtype), LPS, header), tmp_path / "ct.nii")
    assert nib.load(tmp_path / "ct.nii").header.endianness == dtype[0]
    assert engine.score(tmp_path / "ct.nii", nifti(mask), "liver") == pytest.approx(score, abs=1e-6)
    swapped = image.astype(dtype)
    assert engine.score(swapped, mask, "liver", spacing=phantom.SPACING_MM) == pytest.approx(score, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*np.longdouble:UserWarning")
def test_long_double(engine: segae.Engine, image: Array, mask: Array, score: float) -> None:
    wide = engine.score(image.astype(np.longdouble), mask, "liver", spacing=phantom.SPACING_MM)
    assert wide == pytest.approx(score, abs=1e-6)


def save_scaled(path: Path, stored: Array, slope: float, intercept: float) -> None:
    """Write stored values with the scale in the header, which nibabel's save would recompute."""
    image = nifti(stored)
    image.header.set_slope_inter(slope, intercept)
    with path.open("wb") as file:
        image.header["vox_offset"] = 352
        image.header["magic"] = b"n+1"
        file.write(image.header.binaryblock + b"\0" * 4)
        file.write(stored.tobytes())


def test_scale_of_an_image(tmp_path: Path, engine: segae.Engine, image: Array, mask: Array, score: float) -> None:
    save_scaled(tmp_path / "ct.nii", ((image.astype(np.float32) + 1024) * 2).astype(np.int16), 0.5, -1024)
    assert nib.load(tmp_path / "ct.nii").get_fdata()[3, 2, 1] == image[1, 2, 3]
    assert volumes.load(tmp_path / "ct.nii", "image").array.dtype == np.int16
    assert engine.score(tmp_path / "ct.nii", nifti(mask), "liver") == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(("stored", "slope"), [(255, 1 / 255), (32767, 1 / 32767), (2, 0.5)])
def test_scale_of_a_mask(
    stored: int, slope: float, tmp_path: Path, engine: segae.Engine, image: Array, mask: Array, score: float
) -> None:
    """A float mask saved as integers comes back as a multiple of a float32 slope, not quite 1."""
    save_scaled(tmp_path / "mask.nii", mask.astype(np.int16) * np.int16(stored), slope, 0)
    assert engine.score(nifti(image), tmp_path / "mask.nii", "liver") == pytest.approx(score, abs=1e-6)


@pytest.mark.slow
def test_48_axis_orders(engine: segae.Engine, image: Array, mask: Array) -> None:
    """The same scan and the same anatomy, however stored: the same score, and places in the array as given."""
    reference = engine.assess(image, mask, "liver", spacing=phantom.SPACING_MM)
    ct, truth = nifti(image), nifti(mask)
    seen = set()
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            orientation = np.stack([order, flips], axis=1)
            turned_ct, turned_mask = ct.as_reoriented(orientation), truth.as_reoriented(orientation)
            codes = nib.aff2axcodes(turned_mask.affine)
            seen.add(codes)
            axial = next(axis for axis, code in enumerate(codes) if code in "SI")
            for memory in "CF":
                given_ct = nib.Nifti1Image(np.asarray(turned_ct.dataobj, order=memory), turned_ct.affine)
                given_mask = np.asarray(turned_mask.dataobj, order=memory)
                result = engine.assess(given_ct, nib.Nifti1Image(given_mask, turned_mask.affine), "liver")
                assert result.dice == pytest.approx(reference.dice, abs=1e-6)
                assert result.raw == pytest.approx(reference.raw, abs=1e-6)
                assert result.flags == reference.flags
                assert result.volume_ml == pytest.approx(reference.volume_ml)
                index = np.argwhere(given_mask)
                wanted = tuple(zip(index.min(0).tolist(), (index.max(0) + 1).tolist(), strict=True))
                assert result.bbox == wanted
                assert len(result.slices) == len(reference.slices)
                for score in result.slices:
                    assert score.area_mm2 == 25 * np.take(given_mask, score.index, axial).sum()
                assert [s.index for s in result.slices] == sorted(s.index for s in result.slices)
    assert len(seen) == 48


def test_image_and_mask_stored_in_different_orders(
    engine: segae.Engine, image: Array, mask: Array, score: float
) -> None:
    turned = nifti(mask).as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    assert engine.score(nifti(image), turned, "liver") == pytest.approx(score, abs=1e-6)


def test_oblique(engine: segae.Engine, image: Array, mask: Array, score: float) -> None:
    """A gantry tilt or a turned head: slices are cut along the array's axes, the nearest world axis names them."""
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    oblique = turn @ LPS
    assert engine.score(nifti(image, oblique), nifti(mask, oblique), "liver") == pytest.approx(score, abs=1e-6)
    loaded = volumes.load(nifti(image, oblique), "image")
    assert loaded.spacing_mm == pytest.approx(phantom.SPACING_MM)
    corner = np.array([1, 2, 3, 1.0])
    assert loaded.affine is not None
    np.testing.assert_allclose(loaded.affine @ corner, oblique @ [3, 2, 1, 1])


def test_grid_mismatch(engine: segae.Engine, image: Array, mask: Array) -> None:
    shifted = LPS.copy()
    shifted[2, 3] += 0.4
    assert engine.score(nifti(image), nifti(mask, shifted), "liver") > 0
    shifted[2, 3] += 2.1
    with pytest.raises(segae.GridMismatchError) as caught:
        engine.score(nifti(image), nifti(mask, shifted), "liver")
    for part in ("mask: not on the image's grid", "0.50 voxels apart", "(72, 56, 40)", "-97.5", "resample_from_to"):
        assert part in str(caught.value)
    with pytest.raises(segae.GridMismatchError, match=r"their shapes differ(.|\n)*\(72, 56, 40\)(.|\n)*\(72, 56, 39\)"):
        engine.score(nifti(image), nifti(mask[1:]), "liver")
    with pytest.raises(segae.GridMismatchError, match=r"labelmap: not on the image's grid"):
        engine.assess_labels(nifti(image), nifti(mask[1:]), {1: "liver"})
    with pytest.raises(segae.GridMismatchError, match=r"mask: an array beside a file.*\.transpose\(\)"):
        engine.score(nifti(image), mask, "liver")
    with pytest.raises(segae.GridMismatchError, match=r"their voxels differ in size"):
        engine.score(nifti(image), mask, "liver", spacing=(5, 4, 4))
    with pytest.raises(segae.GridMismatchError, match=r"shapes differ(.|\n)*none \(spacing"):
        engine.score(image, mask[1:], "liver", spacing=(5, 5, 5))


def test_nothing_is_copied(image: Array) -> None:
    """Any strides, read in place: the volume is a view of what came in."""
    for given in (image, image[::2, ::-1], image.T, np.asfortranarray(image)):
        assert np.shares_memory(volumes.load(given, "image", volumes.Geometry(spacing=(1, 1, 1))).array, given)
    header = nifti(image)
    assert np.shares_memory(volumes.load(header, "image").array, image)


PEAK = """
import sys
from pathlib import Path
import nibabel as nib
import numpy as np
import onnxruntime
import segae

def status(key):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024

engine = segae.Engine(sys.argv[1], "cpu", threads=2)
affine = np.diag([-0.8, -0.8, 1.5, 1])
if len(sys.argv) == 3:
    image, inputs_mb = sys.argv[2], 150
else:
    image, inputs_mb = nib.Nifti1Image(np.full((512, 512, 300), 40, np.int16, order="F"), affine), 0
mask = np.zeros((512, 512, 300), np.uint8, order="F")
mask[...] = 0
mask[100:400, 100:400, 50:250] = 1
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
engine.assess(image, mask, "liver", error_map=True)
print(status("VmHWM") - before - inputs_mb)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc/self/status")
@pytest.mark.parametrize("kind", ["array", "nii.gz"])
def test_peak_memory(kind: str, tmp_path: Path, tiny_model: Path) -> None:
    """512 x 512 x 300 int16, 150 MB: never copied or converted whole."""
    arguments = [sys.executable, "-c", PEAK, str(tiny_model)]
    if kind == "nii.gz":
        ct = nib.Nifti1Image(np.full((512, 512, 300), 40, np.int16, order="F"), np.diag([-0.8, -0.8, 1.5, 1]))
        nib.save(ct, tmp_path / "ct.nii.gz")
        arguments.append(str(tmp_path / "ct.nii.gz"))
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 150
