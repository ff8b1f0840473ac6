"""The commands of CONTRIBUTING, each in an environment of its own: ``pip install nox && nox -l``."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"


@nox.session
def tests(session: nox.Session) -> None:
    """All tests; words behind -- go to pytest. Those of training need torch: nox -s tests -- --extra train."""
    arguments = list(session.posargs)
    extras = "test"
    if "--extra" in arguments:
        place = arguments.index("--extra")
        extras += f",{arguments[place + 1]}"
        del arguments[place : place + 2]
    session.install(f".[{extras}]")
    session.run("python", "-m", "pytest", *arguments)


@nox.session
def oldest(session: nox.Session) -> None:
    """The tests with the oldest versions that pyproject.toml allows at run time (those of Python 3.11)."""
    project = Path("pyproject.toml").read_text(encoding="utf-8")
    names = ("numpy", "nibabel", "onnxruntime", "pillow", "isal", "tqdm")
    session.install(*(f"{name}=={re.search(f'{name}>=([0-9.]+)', project)[1]}.*" for name in names))  # type: ignore[index]
    session.install("pytest", "hypothesis", "scipy", "onnx", "scikit-build-core", "pybind11", "cmake", "ninja")
    session.install("--no-deps", "--no-build-isolation", ".")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and show which lines of the package they reach."""
    session.install("-e", ".[test]", "coverage>=7.6")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", success_codes=[0, 1])
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and the stub of the core."""
    session.install(".[lint,test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = session.run("git", "ls-files", "csrc/*", external=True, silent=True)
    session.run("clang-format", "--dry-run", "--Werror", *str(sources).split())
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/; warnings are errors."""
    session.install(".[docs,test]")
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def workflows(session: nox.Session) -> None:
    """Look for mistakes in the workflows, offline."""
    session.install("zizmor==1.32.0", "check-jsonschema==0.39.0")
    session.run("zizmor", "--offline", "--pedantic", ".github")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *_workflows())
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, check them, and test the wheel where nothing else is installed."""
    session.install("build", "twine>=6.1")
    built = Path(session.create_tmp()) / "dist"
    shutil.rmtree(built, ignore_errors=True)
    # The wheel is built from the sdist, which thereby is shown to build from itself.
    session.run("python", "-m", "build", "--outdir", str(built))
    session.run("twine", "check", "--strict", *map(str, built.iterdir()))
    clean = Path(session.create_tmp()) / "clean"
    session.run("python", "-m", "venv", "--clear", str(clean))
    python = str(clean / ("Scripts" if shutil.which("cmd") else "bin") / "python")
    session.run(python, "-m", "pip", "install", "-q", *map(str, built.glob("*.whl")), "pytest", external=True)
    session.run(python, "-m", "pip", "check", external=True)
    here = Path.cwd()
    session.chdir(clean)
    options = ("--noconftest", "-c", str(here / "pyproject.toml"), str(here / "tests" / "test_minimal.py"))
    session.run(python, "-m", "pytest", *options, external=True)


@nox.session
def supply(session: nox.Session) -> None:
    """What the package brings: a bill of materials (CycloneDX), licences, and known holes where a network is."""
    session.install("cyclonedx-bom==7.5.0", "pip-licenses==5.5.5", "pip-audit==2.10.1")
    clean = Path(session.create_tmp()) / "clean"
    session.run("python", "-m", "venv", "--clear", str(clean))
    python = str(clean / ("Scripts" if shutil.which("cmd") else "bin") / "python")
    session.run(python, "-m", "pip", "install", "-q", ".", external=True)
    bill = Path(session.create_tmp()) / "sbom.json"
    session.run("cyclonedx-py", "environment", "--of", "JSON", "-o", str(bill), python)
    session.run("pip-licenses", f"--python={python}", "--with-urls")
    packages = next(clean.glob("[Ll]ib*/**/site-packages"))
    session.run("pip-audit", "--path", str(packages), success_codes=[0, 1])


def _workflows() -> list[str]:
    return [str(path) for path in sorted(Path(".github/workflows").glob("*.yml"))]
