"""The command line: what it prints, writes and returns."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segae.cli import build_parser, main
from segae.label_names import read_header


@pytest.fixture
def files(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A CT, a liver mask and a labelmap (1 liver, 2 spleen, 9 unnamed) on one grid."""
    image = rng.integers(-1000, 400, (20, 24, 16)).astype(np.int16)
    labels = np.zeros(image.shape, np.uint8)
    labels[2:9, 4:12, 3:12] = 1
    labels[12:17, 4:12, 3:12] = 2
    labels[0, 0, 0] = 9
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    for name, array in (("ct", image), ("liver", (labels == 1).astype(np.uint8)), ("labels", labels)):
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
    return tmp_path


def test_score_prints_the_dice(files: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["score", str(files / "ct.nii.gz"), str(files / "liver.nii.gz"), "-s", "liver", "--model", str(tiny_model)]
    )
    assert code == 0
    assert capsys.readouterr().out.startswith("liver: predicted Dice 0.")


def test_score_json_is_strict(files: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", str(files / "ct.nii.gz"), str(files / "labels.nii.gz"), "-s", "spleen", "--label", "2"]
    assert main([*arguments, "--json", "--model", str(tiny_model)]) == 0
    data = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert data["structure"] == "spleen"
    assert data["volume_ml"] == pytest.approx(5 * 8 * 9 * 12 / 1000)
    assert any(entry["dice"] is None for entry in data["slices"])  # beyond the ends


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"1": "liver", "2": "spleen"}, {"liver", "spleen"}),
        ({"labels": {"background": 0, "liver": 1}}, {"liver"}),  # nnU-Net
    ],
)
def test_labels_with_a_json_file(
    files: Path, tiny_model: Path, table: dict[str, object], expected: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    names = files / "names.json"
    names.write_text(json.dumps(table))
    out = files / "out.csv"
    arguments = ["labels", str(files / "ct.nii.gz"), str(files / "labels.nii.gz"), "--names", str(names)]
    assert main([*arguments, "--csv", str(out), "--model", str(tiny_model)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {row["structure"] for row in rows} == expected
    assert [float(row["dice"]) for row in rows] == sorted(float(row["dice"]) for row in rows)
    assert main([*arguments, "--json", "--model", str(tiny_model)]) == 0
    assert set(json.loads(capsys.readouterr().out.split("worst first\n")[1])) == expected


def test_names_from_the_header(files: Path) -> None:
    xml = b"""<?xml version="1.0"?><CaretExtension><VolumeInformation><LabelTable>
    <Label Key="1"><![CDATA[liver]]></Label><Label Key="2"><![CDATA[spleen]]></Label>
    </LabelTable></VolumeInformation></CaretExtension>"""
    image = nib.load(files / "labels.nii.gz")
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, xml))
    nib.save(image, files / "named.nii.gz")
    assert read_header(files / "named.nii.gz").labels == {"liver": (1,), "spleen": (2,)}


def test_a_labelmap_without_names_offers_all_versions(
    files: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["labels", str(files / "ct.nii.gz"), str(files / "labels.nii.gz"), "--model", str(tiny_model)]
    for names in ([], ["--names", "totalsegmentator"]):
        assert main([*arguments, *names]) == 2
        error = capsys.readouterr().err
        assert error.startswith("segae: --names: ")
        assert "totalsegmentator_v1" in error
        assert "totalsegmentator_v2" in error


@pytest.mark.parametrize("text", ["[]", "not json", "7"])
def test_damaged_names_file(files: Path, tiny_model: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = files / "names.json"
    path.write_text(text)
    arguments = ["labels", str(files / "ct.nii.gz"), str(files / "labels.nii.gz"), "--names", str(path)]
    assert main([*arguments, "--model", str(tiny_model)]) == 2
    assert capsys.readouterr().err.startswith(f"segae: --names: {path}")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["score", "missing.nii", "missing.nii", "-s", "liver"], 1, "no such file"),
        (["score", "a.nii", "b.nii", "-s", "livre"], 2, "liver"),
        (["score", "a.nii", "b.nii", "-s", "liver", "--device", "tpu"], 2, "device"),
        (["score", "a.nii", "b.nii", "-s", "liver", "--threads", "0"], 2, "threads"),
        (["labels", "a.nii", "b.nii", "--names", "unheard"], 2, "totalsegmentator_v1"),
        (["structures", "zzzzzz"], 1, "closest"),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, message: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments[0] == "score":
        arguments = [*arguments, "--model", str(tiny_model)]
    assert main(arguments) == code
    assert message in capsys.readouterr().err


def test_wrong_usage_ends_with_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["score"])
    assert stop.value.code == 2


def test_structures_finds_by_alias(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["structures", "postcava"]) == 0
    assert "inferior_vena_cava" in capsys.readouterr().out


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    out = capsys.readouterr().out
    assert "ONNX Runtime" in out
    assert "CUDA kernels" in out
    assert "default model" in out


def test_runs_as_a_module() -> None:
    run = subprocess.run([sys.executable, "-m", "segae", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1].startswith("segae ")  # an editable install says that it builds


def test_import_is_light() -> None:
    heavy = "{'numpy', 'onnxruntime', 'nibabel', 'torch', 'scipy', 'PIL'}"
    code = f"import sys, segae; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def test_every_option_has_a_text() -> None:
    """And options whose default does something say what it is."""
    for name, command in _commands():
        for action in command._actions:
            where = f"segae {name} {action.metavar or action.dest}"
            assert action.help, where
            if action.option_strings and action.default not in (None, False, argparse.SUPPRESS) and not action.required:
                assert "default" in action.help, where


def test_the_commands_that_most_people_need_come_first() -> None:
    assert [name for name, _ in _commands()][:4] == ["score", "labels", "audit", "compare"]
