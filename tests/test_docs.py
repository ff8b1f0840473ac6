"""Every command and snippet of README and docs/ is run on small made data, or checked as far as a machine can.

A line of a shell block that begins with ``segae`` is run by the command line itself. What would install packages, train
for hours or need a cluster is not run, and `NOT_RUN` says why: options of segae's own commands are parsed by their
parsers, and scripts must be there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from segae import audit
from segae.cli import build_parser, main
from segae.datasets.names import Names
from segae.demo import SPACING_MM, phantom

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SKIPPED_PAGES = {"structures.md"}  # made from structures.csv

# How a line begins -> why it is not run.
NOT_RUN = {
    "pip ": "installs packages",
    "docker ": "runs a container",
    "git ": "changes a checkout",
    "python -m pytest": "these are the tests",
    "dask ": "starts servers of a cluster",
    "curl ": "tests/test_examples.py asks the service",
    "python examples/": "tests/test_examples.py runs them",
    "python benchmarks/": "measures for minutes",
    "python lab/": "trains for hours",
    "lab/": "trains for hours",
    "scripts/": "needs a GPU",
    "python -m segae_lab": "trains for hours",
    "python -m segae.train": "needs a checkpoint of a training",
    "segae convert": "needs the authors' files; tests/test_convert.py makes such",
    "segae train": "trains for hours",
    "segae evaluate": "needs labelled scans; tests/test_train.py runs it",
    "segae audit DATASET -o OUT --adapt": "learns for half an hour; tests/test_adapt.py runs it",
    "segae calibrate": "needs three verified cases; tests/test_recalibrate.py runs it",
    "segae audit DATASET -o OUT --scheduler": "needs a cluster; tests/test_audit_dask.py has one",
    "mkdocs ": "builds the site",
}
# What a snippet needs that a page does not make.
NEEDS = {"dask_jobqueue": "SLURM", "torch": "torch", "monai": "MONAI"}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for path in PAGES:
        if path.name in SKIPPED_PAGES:
            continue
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE):
            line = text[: match.start()].count("\n") + 2
            body = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
            yield Block(path.relative_to(ROOT).as_posix(), line, match[2], body)


BLOCKS = list(blocks())
SHELL = [block for block in BLOCKS if block.language in ("", "sh", "bash", "console", "shell")]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    others = {str(block): block.language for block in BLOCKS if block not in SHELL and block not in PYTHON}
    assert set(others.values()) <= {"json", "yaml", "toml", "text", "csv", "dockerfile"}, others
    assert len(SHELL) > 10
    assert len(PYTHON) > 8


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the names that the pages use exist."""
    folder = tmp_path_factory.mktemp("world")
    image, masks = phantom()
    image, masks = image[::2, ::2, ::2], {name: mask[::2, ::2, ::2] for name, mask in masks.items()}
    z, y, x = (2 * mm for mm in SPACING_MM)
    affine = np.diag([-x, -y, z, 1.0])

    def save(array: Any, *names: str) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array.transpose(), affine), path)

    liver, spleen = masks["liver"].astype(np.uint8), masks["spleen"].astype(np.uint8)
    save(image, "ct.nii.gz", "DATASET/s1/ct.nii.gz", "DATASET/s2/ct.nii.gz")
    save(liver, "liver.nii.gz", "mask.nii.gz", *(f"{case}/liver.nii.gz" for case in ("DIR/s1", "DIR/s2")))
    save(liver, *(f"DATASET/{case}/segmentations/liver.nii.gz" for case in ("s1", "s2")))
    save(spleen, *(f"DATASET/{case}/segmentations/spleen.nii.gz" for case in ("s1", "s2")))
    save(5 * liver + spleen, "labels.nii.gz", "organs.nii.gz")  # as TotalSegmentator v2 numbers them
    save(liver + 2 * spleen, "other_network.nii.gz")
    save(5 * liver + spleen, "other.nii.gz")
    shutil.copy(ROOT / "src/segae/models/default.onnx", folder / "paper.onnx")
    audit.run(folder / "DATASET", folder / "OUT", workers=1, progress=False)
    for name in ("OUT_OLD", "OUT_NEW", "OUT_1", "OUT_2", "OUT_3"):
        shutil.copytree(folder / "OUT", folder / name)
    (folder / "decisions.csv").write_text(
        "case,structure,source,decision\ns1,liver,s1/segmentations/liver.nii.gz,reject\n", encoding="utf-8"
    )
    return folder


# Capitals stand for what a user has.
PLACEHOLDERS = {"CT": "ct.nii.gz", "LABELMAP": "labels.nii.gz", "MASK": "mask.nii.gz", "STRUCTURE": "liver"}


def lines(block: Block) -> Iterator[list[str]]:
    """Commands of a shell block, without comments; of a console block those behind a prompt."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "console" and not line.startswith("$ "):
            continue
        for command in line.removeprefix("$ ").split("&&"):
            words = shlex.split(command, comments=True)
            if words:
                yield words


@pytest.mark.slow
@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands(block: Block, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    for words in lines(block):
        said = shlex.join(words)
        reason = next((why for begin, why in NOT_RUN.items() if said.startswith(begin)), None)
        arguments = [PLACEHOLDERS.get(word, word) for word in words[1:]]
        if words[0] == "segae" and reason is not None:
            build_parser().parse_args(arguments)
        elif words[0] == "segae":
            assert main(arguments) == 0, f"{block}: {said}"
        else:
            assert reason is not None, f"{block}: nothing runs or checks: {said}"
            if arguments[:1] == ["-m"] and arguments[1].partition(".")[0] in ("segae", "segae_lab"):
                _parse_as_module(arguments[1], arguments[2:], monkeypatch)
            for word in [words[0], *words[1:]]:
                if word.endswith((".py", ".sh")):
                    assert (ROOT / word).is_file(), f"{block}: no such script: {word}"


class _UnderstoodError(Exception):
    """The options of a module's command were understood."""


def _parse_as_module(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``python -m module`` parse its options, and stop it there; where its libraries are not, do nothing."""
    if not (_has("torch") and _has("scipy") and _has("onnx")):
        return
    monkeypatch.syspath_prepend(str(ROOT / "lab"))
    parse = argparse.ArgumentParser.parse_args

    def only_parse(parser: argparse.ArgumentParser, *given: Any, **named: Any) -> Any:
        parse(parser, *given, **named)
        raise _UnderstoodError

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
        patch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(_UnderstoodError):
            runpy.run_module(module, run_name="__main__", alter_sys=False)


def test_options_that_are_not_run_are_there() -> None:
    assert NOT_RUN.keys() >= {"segae convert", "segae train", "segae evaluate"}
    with pytest.raises(SystemExit):
        build_parser().parse_args(["convert", "x.pth", "--no-such-option"])


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}))
def test_snippets(page: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a page in their order, in one namespace, as a reader would paste them."""
    monkeypatch.chdir(world)
    space: dict[str, Any] = {"__name__": "page"}
    for block in (block for block in PYTHON if block.page == page):
        code = compile("\n" * (block.line - 1) + block.text, str(ROOT / block.page), "exec")
        missing = [name for name in NEEDS if re.search(rf"\b{name}\b", block.text) and not _has(name)]
        if missing or not _prepared(page, space):
            continue
        if "__main__" in block.text:
            script = world / "script.py"
            script.write_text(block.text, encoding="utf-8")
            shutil.rmtree(world / "OUT2", ignore_errors=True)
            done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}: {done.stderr}"
            continue
        with contextlib.redirect_stdout(None):
            exec(code, space)


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _prepared(page: str, space: dict[str, Any]) -> bool:
    """Give a page the names that it takes for granted; False where this machine cannot."""
    import segae

    ct, mask = (np.asarray(nib.load(f"{name}.nii.gz").dataobj).transpose() for name in ("ct", "liver"))
    space.setdefault("segae", segae)
    space.setdefault("ct", ct)
    space.setdefault("mask", mask)
    if page == "docs/adapt.md":
        return False  # learns for half an hour; tests/test_adapt.py does the same in seconds
    if page == "docs/training_loop.md":
        if not _has("torch"):
            return False
        import torch

        images = torch.from_numpy(np.stack([ct, ct]).astype(np.float32))
        masks = torch.from_numpy(np.stack([mask, mask]).astype(np.float32))

        class OnCpu(segae.Engine):
            def __init__(self, device: str) -> None:
                super().__init__(device="cpu" if device == "cuda" else device)

        given = {"Engine": OnCpu, "SegaeError": segae.SegaeError}
        space["segae"] = type(sys)("segae")
        vars(space["segae"]).update(given)
        space |= {"torch": torch, "images_hu": images, "normalised": masks - 0.5, "teacher": lambda x: x,
                  "loss_of_each_case": torch.ones(2)}  # fmt: skip
    return True


def test_json_blocks_are_tables_of_names() -> None:
    for block in BLOCKS:
        if block.language == "json":
            json.loads(block.text)
            if block.page == "docs/audit.md":
                assert Names(json.loads(block.text)).problems == []


def test_links_between_pages_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8")):
            there = path.parent / target
            made = there.name == "structures.md" or "reference/" in target  # written when the site is built
            assert there.exists() or made, f"{path.relative_to(ROOT)}: {target}"


def test_figures_do_not_contradict_each_other() -> None:
    """The share of masks with the flag `truncated`, and the number of structures, stand in several places."""
    from segae import structures

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    card = (ROOT / "src/segae/models/CARD.md").read_text(encoding="utf-8")
    shares = re.search(r"with the flag `truncated`.*?truncate (0\.\d+), untouched (0\.\d+)", " ".join(card.split()))
    assert shares is not None
    truncated, untouched = (round(100 * float(share)) for share in shares.groups())
    told = rf"\b{truncated} %\s+of.{{0,80}}\b{untouched} %"
    for text in (readme, (ROOT / "docs/report.md").read_text(encoding="utf-8")):
        assert re.search(told, text, re.DOTALL), told
    number = len(structures.names())
    assert f"{number}\nanatomical structures" in readme or f"{number} anatomical" in readme.replace("\n", " ")
    assert f"for {number} structures" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
