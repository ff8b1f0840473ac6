"""segae.perturb on a GPU against the CPU, and the DLPack plumbing, which needs no GPU."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from lent import EMULATED, Lent

import segae
from segae import _core
from segae.errors import DeviceError, ParameterError, VolumeError
from segae.perturbation import KINDS, device

SPACING = (2.0, 0.9, 0.8)
ALL = sorted(KINDS)
# Both devices compile the same formulas without contraction and with IEEE division and square root, so equal bytes are
# expected. What is allowed for is a voxel that lies on a threshold to within the last bit of a double.
TIES = 2


def ball(shape, centre, radii):
    grid = np.indices(shape)
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1


@pytest.fixture(scope="module")
def case():
    """A structure (1) with a like neighbour (2), one that touches (3), and a CT in which 2 is as bright."""
    shape = (23, 47, 51)
    mask = ball(shape, (10, 20, 18), (7, 13, 10)) | ball(shape, (15, 26, 24), (5, 6, 9))
    labelmap = mask.astype(np.uint8)
    labelmap[ball(shape, (10, 20, 42), (7, 12, 6)) & ~mask] = 2
    labelmap[ball(shape, (18, 20, 18), (4, 12, 10)) & (labelmap == 0)] = 3
    image = np.random.default_rng(5).normal(0, 8, shape) + 60.0 * (labelmap > 0)
    image[:, :3] = -1000
    return {"mask": mask.astype(np.uint8), "labelmap": labelmap, "image": np.round(image).astype(np.int16)}


# --- on a GPU ----------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [*ALL, "random"])
@pytest.mark.parametrize("how", [{"severity": 0.35, "seed": 1}, {"target_dice": 0.9, "seed": 2}], ids=str)
def test_every_kind_equals_the_cpu(gpu, case, kind, how):
    to, back = gpu
    volumes = {name: to(array) for name, array in case.items()}
    try:
        expected = segae.perturb_many(case["mask"], 1, kinds=kind, spacing=SPACING, **_around(case), **how)[0]
    except ParameterError:
        with pytest.raises(ParameterError):
            segae.perturb(volumes["mask"], kind, spacing=SPACING, **_around(volumes), **how)
        return
    made = segae.perturb_many(volumes["mask"], 1, kinds=kind, spacing=SPACING, **_around(volumes), **how)[0]
    assert made.params == expected.params
    assert type(made.mask) is type(volumes["mask"])
    assert np.count_nonzero(back(made.mask) != expected.mask) <= TIES
    assert (made.dice, made.precision, made.recall) == pytest.approx(
        (expected.dice, expected.precision, expected.recall), abs=1e-3
    )
    assert made.nsd == pytest.approx(expected.nsd, abs=1e-3)


def _around(case):
    return {"image": case["image"], "labelmap": case["labelmap"]}


@pytest.mark.gpu
@pytest.mark.parametrize(
    "dtype", [np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64]
)
def test_dtypes_and_axes(gpu, case, dtype):
    to, back = gpu
    mask = case["mask"].astype(dtype)
    expected = segae.perturb(case["mask"], "jitter", severity=0.4, spacing=SPACING, seed=3)
    given = to(np.ascontiguousarray(mask))
    assert (
        np.count_nonzero(back(segae.perturb(given, "jitter", severity=0.4, spacing=SPACING, seed=3)) != expected)
        <= TIES
    )
    # The same anatomy as RAS [x, y, z], whose axes are transposed and flipped.
    affine = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    ras = np.ascontiguousarray(mask.transpose()[::-1, ::-1])
    turned = back(segae.perturb(to(ras), "jitter", severity=0.4, affine=affine, axes="xyz", seed=3))
    assert np.count_nonzero(turned[::-1, ::-1].transpose() != expected) <= TIES


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 7), (5, 1, 3), (2, 3, 1), (33, 31, 65)])
@pytest.mark.parametrize(
    "kind", ["erode", "dilate", "smooth", "elastic", "jitter", "truncate", "interpolate", "islands"]
)
def test_odd_sizes(gpu, kind, shape):
    to, back = gpu
    mask = (np.random.default_rng(3).random(shape) < 0.6).astype(np.uint8)
    mask.flat[0] = 1
    expected = segae.perturb(mask, kind, severity=0.5, spacing=SPACING, seed=4)
    made = back(segae.perturb(to(mask), kind, severity=0.5, spacing=SPACING, seed=4))
    assert np.count_nonzero(made != expected) <= TIES


@pytest.mark.gpu
def test_input_is_untouched_and_cuda_may_be_named(gpu, case):
    to, back = gpu
    mask = to(case["mask"].copy())
    segae.perturb(mask, "dilate", severity=0.5, spacing=SPACING, device="cuda")
    assert np.array_equal(back(mask), case["mask"])


@pytest.mark.gpu
@pytest.mark.skipif(EMULATED, reason="emulated kernels know no streams")
def test_the_callers_stream_orders_the_work(gpu, case):
    torch = sys.modules["torch"]
    expected = segae.perturb(case["mask"], "dilate", severity=0.3, spacing=SPACING)
    source = torch.as_tensor(case["mask"]).pin_memory()
    with torch.cuda.stream(torch.cuda.Stream()):
        mask = torch.zeros(case["mask"].shape, dtype=torch.uint8, device="cuda")
        torch.cuda._sleep(50_000_000)  # the copy is late: work on another stream would see zeros
        mask.copy_(source, non_blocking=True)
        made = segae.perturb(mask, "dilate", severity=0.3, spacing=SPACING)
        mask.zero_()  # queued behind our work
        assert np.array_equal(made.cpu().numpy(), expected)


@pytest.mark.gpu
def test_arrays_of_two_places_are_refused(gpu, case):
    to, _ = gpu
    with pytest.raises(DeviceError, match="image: it lies in host memory"):
        segae.perturb(to(case["mask"]), "leak", severity=0.3, spacing=SPACING, image=case["image"])


# --- without one -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"],
)
def test_dlpack_is_read(dtype):
    array = np.zeros((4, 6, 8), dtype)[::2, :, 1::3]
    taken = _core.take_dlpack(array.__dlpack__(), 1)
    assert (taken.shape, taken.strides, taken.dtype, taken.device) == (array.shape, array.strides, dtype, (1, 0))
    turned = taken.transpose((2, 0, 1)).flip((True, False, True))
    expected = array.transpose(2, 0, 1)[::-1, :, ::-1]
    assert (turned.shape, turned.strides) == (expected.shape, expected.strides)


def test_dlpack_of_torch_is_read_and_given_back():
    torch = pytest.importorskip("torch")
    tensor = torch.zeros((3, 4, 5), dtype=torch.int16).permute(2, 0, 1)
    held = sys.getrefcount(tensor)
    taken = _core.take_dlpack(tensor.__dlpack__(), 1)
    assert (taken.shape, taken.strides, taken.dtype) == ((5, 3, 4), (2, 40, 10), "int16")
    del taken
    assert sys.getrefcount(tensor) == held


def test_a_batch_is_taken_as_its_volumes():
    array = np.zeros((3, 4, 6, 8), np.int16)[:, ::2, :, ::-1]
    held = sys.getrefcount(array)
    taken = _core.take_dlpack_batch(array.__dlpack__(), 1)
    assert [(one.shape, one.strides, one.dtype) for one in taken] == [
        (volume.shape, volume.strides, "int16") for volume in array
    ]
    last = taken.pop()
    del taken
    assert sys.getrefcount(array) == held + 1
    del last
    assert sys.getrefcount(array) == held
    assert _core.take_dlpack_batch(np.zeros((0, 2, 2, 2)).__dlpack__(), 1) == []
    with pytest.raises(ValueError, match="expected 4 axes, got 3"):
        _core.take_dlpack_batch(array[0].__dlpack__(), 1)


def test_dlpack_capsules_are_taken_once():
    array = np.zeros((2, 2, 2), np.uint8)
    held = sys.getrefcount(array)
    capsule = array.__dlpack__()
    taken = _core.take_dlpack(capsule, 1)
    with pytest.raises(ValueError, match="nobody has taken"):
        _core.take_dlpack(capsule, 1)
    turned = taken.flip((True, True, True))
    del capsule, taken
    assert sys.getrefcount(array) == held + 1
    del turned
    assert sys.getrefcount(array) == held


@pytest.mark.parametrize(
    ("array", "says"), [(np.zeros((2, 2)), "3 axes"), (np.zeros((2, 2, 2), np.complex64), "unsupported DLPack type")]
)
def test_what_is_no_volume_is_refused(array, says):
    with pytest.raises((TypeError, ValueError), match=says):
        _core.take_dlpack(array.__dlpack__(), 1)


def test_the_callers_stream_is_passed_through(lending, monkeypatch):
    monkeypatch.setattr(_core, "built_with_cuda", lambda: True)
    volumes = {"mask": Lent(np.zeros((2, 3, 4), np.uint8)), "image": Lent(np.zeros((2, 3, 4)))}
    lent = device.open_device("auto", volumes)
    assert lent is not None
    assert [volume.streams for volume in volumes.values()] == [[7], [7]]
    assert lent.arrays["image"].device == (2, 0)
    assert lent.stand_in("image").shape == (2, 3, 4)
    assert lent.stand_in("labelmap") is None
    volumes["mask"].array = np.zeros((3, 4), np.uint8)
    with pytest.raises(VolumeError, match="mask: cannot be read through DLPack: expected 3 axes"):
        device.open_device("cuda", volumes)


@pytest.mark.parametrize(
    ("mask", "more", "says"),
    [
        (Lent(np.ones((3, 3, 3))), {"device": "cpu"}, r"mask: the array lies on CUDA device 0.*mask\.cpu\(\)"),
        (np.ones((3, 3, 3)), {"device": "cuda"}, "mask: it lies in host memory"),
        (np.ones((3, 3, 3)), {"device": "gpu"}, "device: expected one of"),
        (np.ones((3, 3, 3)), {"image": Lent(np.ones((3, 3, 3)))}, "image: the array lies on CUDA device 0"),
        (Lent(np.ones((3, 3, 3))), {"image": np.ones((3, 3, 3))}, "image: it lies in host memory"),
        (Lent(np.ones((3, 3, 3))), {"image": Lent(np.ones((3, 3, 3)), 1)}, "image: on CUDA device 1"),
    ],
)
def test_arrays_in_the_wrong_place_are_refused(mask, more, says):
    with pytest.raises(DeviceError, match=says):
        segae.perturb(mask, "erode", severity=0.3, spacing=SPACING, **more)


@pytest.mark.skipif(_core.built_with_cuda(), reason="this build has CUDA")
def test_a_build_without_cuda_says_so():
    with pytest.raises(DeviceError, match="SEGAE_CUDA=ON"):
        segae.perturb(Lent(np.ones((3, 3, 3))), "erode", severity=0.3, spacing=SPACING)


def test_libraries_other_than_torch_and_cupy_are_told(monkeypatch):
    monkeypatch.setattr(_core, "built_with_cuda", lambda: True)
    with pytest.raises(DeviceError, match="torch or cupy"):
        segae.perturb(Lent(np.ones((3, 3, 3))), "erode", severity=0.3, spacing=SPACING)
