"""The 8-bit form of a network: carried by the model file, run where the CPU is faster so, close to the float form."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import onnx
import phantom
import pytest

import segae
from segae import cpu_features, int8
from segae.errors import ModelFileError
from segae.session import Session, find_model

SPACING = phantom.SPACING_MM


def _scores(image) -> dict[str, float]:
    engine = segae.Engine("default", "cpu", threads=1)
    found = engine.assess_labels(image, phantom.labelmap(), phantom.LABELS, spacing=SPACING, reference=None)
    return {name: one.dice for name, one in found.items()}


@pytest.mark.skipif(not cpu_features.has_int8(), reason="this CPU has no 8-bit dot products")
def test_both_forms_say_nearly_the_same(image, monkeypatch) -> None:
    small = _scores(image)
    monkeypatch.setenv("SEGAE_FULL_PRECISION", "1")
    full = _scores(image)
    assert small != full, "the 8-bit form was run"
    assert max(abs(small[name] - full[name]) for name in full) < 0.05


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("processor: 0\nflags\t\t: fpu sse avx512_vnni\n", True),
        ("flags : fpu avx2 avx_vnni\n", True),
        ("Features\t: fp asimd asimddp\n", True),
        ("flags : fpu sse avx2 avx512f\n", False),
        ("model name : avx512_vnni\n", False),
        ("", False),
    ],
)
def test_what_the_cpu_has(tmp_path, monkeypatch, text, has) -> None:
    monkeypatch.setattr(cpu_features.sys, "platform", "linux")
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cpu_features, "_CPUINFO", tmp_path / "cpuinfo")
    assert cpu_features.has_int8.__wrapped__() is has
    monkeypatch.setattr(cpu_features, "_CPUINFO", tmp_path / "nothing")
    assert not cpu_features.has_int8.__wrapped__()


def test_without_the_instructions_the_float_form_runs(monkeypatch) -> None:
    monkeypatch.setattr(int8, "has_int8", lambda: False)
    model = find_model("default").read_bytes()
    assert int8.fastest(model, find_model("default"), "cpu") == model
    monkeypatch.setattr(int8, "has_int8", lambda: True)
    assert int8.fastest(model, find_model("default"), "cuda:0") == model


@pytest.mark.parametrize("carried", ["no base64!", "AAAA", ""])
def test_a_damaged_form_is_refused(tmp_path, monkeypatch, carried) -> None:
    monkeypatch.setattr(int8, "has_int8", lambda: True)
    model = onnx.load(find_model("default"))
    next(entry for entry in model.metadata_props if entry.key == int8.INT8_KEY).value = carried
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match="model: "):
        Session(path, "cpu", 1)


def test_the_form_may_hold_no_more_than_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(int8, "has_int8", lambda: True)
    model = onnx.load(find_model("default"))
    entry = next(entry for entry in model.metadata_props if entry.key == int8.INT8_KEY)
    inner = onnx.load_from_string(zlib.decompress(base64.b64decode(entry.value)))
    inner.graph.node.append(onnx.helper.make_node("Evil", ["slices"], ["x"], domain="com.evil"))
    entry.value = base64.b64encode(zlib.compress(inner.SerializeToString())).decode()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match=r"com\.evil"):
        Session(path, "cpu", 1)


def test_too_few_samples_leave_the_file_alone(tmp_path) -> None:
    pytest.importorskip("torch")
    from segae.train.int8 import add_int8

    path = tmp_path / "model.onnx"
    path.write_bytes(find_model("default").read_bytes())
    before = path.read_bytes()
    assert not add_int8(path, [{"slices": np.zeros((32, 11, 96, 96), np.float32), "structure": np.zeros(32, np.int64)}])
    assert path.read_bytes() == before
