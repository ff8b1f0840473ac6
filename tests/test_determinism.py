"""The same input gives the same numbers: over threads, processes, runs, order, and what else is in a batch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit_data
import numpy as np
import numpy.typing as npt
import phantom
import pytest

import segae
from segae import audit
from segae.datasets import find_cases

Array = npt.NDArray[Any]
SPACING = phantom.SPACING_MM
NAMES = ["liver", "spleen", "kidney_left", "kidney_right"]


@pytest.fixture(scope="module")
def shipped() -> segae.Engine:
    return segae.Engine("default", "cpu", threads=1)


@pytest.fixture
def masks() -> list[Array]:
    return [(phantom.labelmap() == value).astype(np.uint8) for value in phantom.LABELS]


def test_companions_of_a_batch_do_not_matter(shipped, image, masks, rng) -> None:
    alone = {name: shipped.score(image, mask, name, spacing=SPACING) for name, mask in zip(NAMES, masks, strict=True)}
    for _ in range(3):
        order = rng.permutation(4)[: int(rng.integers(1, 5))].tolist()
        names = [NAMES[i] for i in order]
        found = shipped.score_batch(image, [masks[i] for i in order], names, spacing=SPACING)
        np.testing.assert_allclose(found, [alone[name] for name in names], rtol=0, atol=1e-6)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_matter(shipped, image, threads) -> None:
    other = segae.Engine("default", "cpu", threads=threads)
    labels = phantom.labelmap()
    one, many = (e.assess_labels(image, labels, phantom.LABELS, spacing=SPACING) for e in (shipped, other))
    assert {name: a.to_dict() for name, a in one.items()} == {name: a.to_dict() for name, a in many.items()}


def test_the_order_of_structures_does_not_matter(shipped, image) -> None:
    labels = phantom.labelmap()
    backwards = dict(reversed(phantom.LABELS.items()))
    one, other = (shipped.assess_labels(image, labels, names, spacing=SPACING) for names in (phantom.LABELS, backwards))
    assert {name: a.to_dict() for name, a in one.items()} == {name: a.to_dict() for name, a in other.items()}


def test_another_process_says_the_same(shipped, image, masks) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import numpy as np, phantom, segae;"
        "image = phantom.image(np.random.default_rng(20260114)); mask = (phantom.labelmap() == 1).astype('uint8');"
        "print(segae.Engine('default', 'cpu').score(image, mask, 'liver', spacing=phantom.SPACING_MM).hex())"
    )
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code, str(here)], capture_output=True, text=True, check=True)
    assert float.fromhex(done.stdout) == shipped.score(image, masks[0], "liver", spacing=SPACING)


def test_workers_and_the_order_of_cases_do_not_matter(tmp_path, tiny_model) -> None:
    for i in range(4):
        audit_data.write_case(tmp_path / "set" / f"s{i}", seed=i)
    cases = find_cases(tmp_path / "set").cases
    rows = []
    for workers, given in ((1, cases), (2, list(reversed(cases)))):
        out = tmp_path / f"out{workers}"
        audit.run(given, out, workers=workers, model=tiny_model, device="cpu", progress=False)
        rows.append([replace(mask, seconds=0.0) for mask in audit.load(out).masks])
    assert rows[0] == rows[1]
    assert len(rows[0]) > 3
