"""What the maps in CONTRIBUTING.md and DESIGN say of the code, checked on the code itself."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import segae
from segae import structures

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")

# Rows of the map: a module imports from its own row and from rows above it. Longest prefix wins.
LAYERS = [
    "errors arguments threads cuda_driver json_value",
    "_core structures recipe assessment frame geometry grids foreign readers volume device session slices batch "
    "picture vocabularies label_names parts content whole_numbers masks gaps label_scan hu_range warn reference "
    "expected named_values containers itk_images "
    "mask_files suffixes onnx_graph cpu_features int8 cards",
    "judging flags anatomy assembly judge together batch_scores",
    "engine agreement perturbation",
    "api parts",
    "demo doctor datasets",
    "audit train",
    "cli __main__",
]
RANK = {name: row for row, names in enumerate(LAYERS) for name in names.split()}

# Library -> the files of src/segae that import it.
ONLY_USERS = {
    "onnxruntime": {"session.py", "train/int8.py"},
    "nibabel": {"readers.py"},
    "isal": {"readers.py"},
    "distributed": {"audit/scoring/cluster.py"},
    "PIL": {"picture.py", "audit/report/pictures.py", "train/scatter.py"},
}
# Library -> the folders of src/segae that import it.
ONLY_FOLDERS = {"torch": {"train"}, "onnx": {"train"}, "scipy": {"train"}}

# Data sets by which the shipped model was trained and measured; none may steer the code.
DATASETS = re.compile(r"kbp|openkbp|lidc|ts_slab|ts3mm|btcv|segthor|ircadb|onkodicom", re.IGNORECASE)
# The vocabularies and layouts of public data sets are what these files are about.
MAY_NAME_DATASETS = (
    "datasets/",
    "vocabularies",
    "structures.csv",
    "label_names.py",
    "models/",
    "audit/report/assets/",
    "cli/labels.py",
)


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "-co", "--exclude-standard", *patterns]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    # What lies in a virtual environment beside the code, whatever its name, is not ours.
    others = {f"{file.parent.name}/" for file in ROOT.glob("*/pyvenv.cfg")}
    ours = [line for line in run.stdout.splitlines() if not line.startswith(tuple(others))]
    return [ROOT / line for line in ours if (ROOT / line).is_file()]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((SOURCE / "segae").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imported(path: Path) -> tuple[str, ...]:
    """Names that a file imports anywhere, but for what the lazy face of a package shows to type checkers."""
    names: list[str] = []
    for node in _walk(ast.parse(path.read_text(encoding="utf-8")), skip_typing=path.name == "__init__.py"):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def _walk(node: ast.AST, *, skip_typing: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if skip_typing and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _walk(child, skip_typing=skip_typing)


def edges() -> dict[str, set[str]]:
    """Module -> the modules of segae that it imports; the lazy face `segae` itself counts as nothing."""
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        homes = {_home(wanted, known) for wanted in imported(path)}
        graph[name] = homes - {name, "segae", ""}
    return graph


def _home(wanted: str, known: dict[str, Path]) -> str:
    """The module that a name was imported from; "" for other libraries."""
    while wanted and wanted not in known:
        wanted = wanted.rpartition(".")[0]
    return wanted


def test_no_circle() -> None:
    graph = edges()
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "imports in a circle: " + " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def rank(module: str) -> int:
    name = module.removeprefix("segae.").partition(".")[0]
    assert name in RANK, f"{module}: say in LAYERS where it stands"
    return RANK[name]


def test_imports_point_one_way() -> None:
    against = [
        f"{name} imports {target}"
        for name, targets in edges().items()
        if name != "segae"
        for target in targets
        if rank(target) > rank(name)
    ]
    assert not against


def test_audit_and_train_do_not_know_each_other() -> None:
    for name, targets in edges().items():
        other = {"segae.audit": "segae.train", "segae.train": "segae.audit"}.get(".".join(name.split(".")[:2]))
        assert other is None or not any(target.startswith(other) for target in targets), name


@pytest.mark.parametrize("library", [*ONLY_USERS, *ONLY_FOLDERS])
def test_only_users(library: str) -> None:
    users = {
        path.relative_to(SOURCE / "segae").as_posix()
        for path in modules().values()
        if any(name.partition(".")[0] == library for name in imported(path))
    }
    if library in ONLY_USERS:
        assert users == ONLY_USERS[library]
    else:
        assert {user.partition("/")[0] for user in users} == ONLY_FOLDERS[library]


def test_only_the_bindings_know_python() -> None:
    users = {path.parent.name for path in tracked("csrc/*") if re.search("pybind11|Python.h", path.read_text())}
    assert users == {"python"}


def test_the_laboratory_is_not_known_to_the_package() -> None:
    assert not [path for path in tracked("src/*.py", "csrc/*", "benchmarks/*.py") if "segae_lab" in path.read_text()]


def test_no_data_set_steers_the_code() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked("src/segae/*.py")
        if not any(part in path.as_posix() for part in MAY_NAME_DATASETS)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if DATASETS.search(line)
    ]
    assert not found


@pytest.mark.parametrize("folder", ["src", "csrc", "lab", "benchmarks", "scripts", "examples"])
def test_no_file_is_long(folder: str) -> None:
    code = [path for path in tracked(folder) if path.suffix in {".py", ".pyi", ".h", ".cpp", ".cu", ".sh"}]
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in code}
    assert not {path for path, length in lengths.items() if length > 400}


def test_docstrings_name_what_they_speak_of() -> None:
    """Their first line is a sentence, or a noun phrase that stands without the name above it."""
    fragments = re.compile(r"(Of|As|In|From|With|By|At|Into|Its?|They|Those)\b")
    found = []
    for path in tracked("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node) or ""
                if "tests" not in path.parts and fragments.match(text):
                    found.append(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    assert not found


def test_one_version() -> None:
    for file in ("pyproject.toml", "lab/pyproject.toml"):
        stated = re.search(r'^version = "(.+)"$', (ROOT / file).read_text(), re.MULTILINE)
        assert stated is not None
        assert stated[1] == segae.__version__, file


def test_texts_count_the_structures_right() -> None:
    known = len(structures.names())
    atlas = len(structures.labels("dap"))
    stated = re.findall(r"(\d+)(?: anatomical)? structures", (ROOT / "README.md").read_text(encoding="utf-8"))
    stated += re.findall(r"(\d+) structures", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # 100 is the number of masks in a row of the table of times.
    assert stated
    assert {int(count) for count in stated} <= {known, atlas, 100}


def test_markdown_is_120_columns_wide() -> None:
    wide = []
    for path in tracked("*.md"):
        # Results are written by benchmarks; the changelog's lines are merged by union, which wrapping would break.
        if "results" in path.parts or path.name == "CHANGELOG.md":
            continue
        fenced = False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            fenced ^= line.startswith("```")
            if len(line) > 120 and not fenced and " " in line[:120] and not line.startswith(("|", "- [", "![")):
                wide.append(f"{path.relative_to(ROOT)}:{number}")
    assert not wide


def test_the_documented_kinds_are_those_of_the_code() -> None:
    """docs/perturb.md states every parameter of every kind as the code does."""
    from segae.perturbation import KINDS

    text = (ROOT / "docs" / "perturb.md").read_text(encoding="utf-8")
    for kind in KINDS.values():
        section = re.search(rf"^\*\*{kind.name}\*\*: (.*?)(?=^\*\*\w+\*\*: |\Z)", text, re.DOTALL | re.MULTILINE)
        assert section is not None, kind.name
        item = r"^- (?:\*\*)?`(\w+)`(?:\*\*)?: (.*?)(?=^- |^\*\*|^#|\Z)"
        lines = re.findall(item, section[1], re.DOTALL | re.MULTILINE)
        assert {name: " ".join(meaning.split()) for name, meaning in lines} == {
            name: parameter.meaning for name, parameter in kind.parameters.items()
        }, kind.name
