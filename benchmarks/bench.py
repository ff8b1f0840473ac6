"""Print what segae costs, each figure beside what it is measured against.

    python benchmarks/bench.py                  # all rows
    python benchmarks/bench.py scan labels      # some
    python benchmarks/bench.py --quick          # fewer repeats
    python benchmarks/bench.py --busy           # CPU time of one thread, where others use the machine
    python benchmarks/bench.py --write          # ... and keep the table in benchmarks/results/cpu.md

Two things that are compared run in turns in one process; the ratio is that of their medians, so that a busy machine
slows both alike. "Floor" is what the job must cost at least, or the way it was done before.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scene

import segae
from segae import _core, slices, structures
from segae.label_scan import LabelScan
from segae.slices import plan_slices

if TYPE_CHECKING:
    from baseline import Baseline

HERE = Path(__file__).parent
MiB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One line of the table; times in seconds."""

    what: str
    against: str
    floor: str
    measured: str
    ratio: str
    wanted: str


@dataclass(frozen=True)
class Settings:
    """How to measure: on the clock with two threads, or, where others keep the machine busy, CPU time of one."""

    model: str
    quick: bool
    busy: bool

    @property
    def threads(self) -> int:
        return 1 if self.busy else 2

    def repeats(self, usual: int) -> int:
        return min(usual, max(3, usual // 4)) if self.quick else usual

    def take_turns(self, usual: int, *jobs: Callable[[], object]) -> list[float]:
        """Median seconds of each job; the first turn, which warms caches and pools, does not count."""
        clock = _cpu_seconds if self.busy else time.perf_counter
        times: list[list[float]] = [[] for _ in jobs]
        for turn in range(self.repeats(usual) + 1):
            for job, mine in zip(jobs, times, strict=True):
                begin = clock()
                job()
                if turn > 0:
                    mine.append(clock() - begin)
        return [statistics.median(mine) for mine in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a quarter of the repeats, no wheel")
    parser.add_argument("--busy", action="store_true", help="one thread and CPU time: for a machine that others use")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/cpu.md")
    parser.add_argument("--model", default="default", help="model file")
    given = parser.parse_args()
    unknown = set(given.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    lines = [
        "| what | floor is | floor | segae | ratio | wanted |",
        "|---|---|---:|---:|---:|---:|",
    ]
    settings = Settings(given.model, given.quick, given.busy)
    print("\n".join(lines), flush=True)
    for name in given.names or BENCHMARKS:
        for row in BENCHMARKS[name](settings):
            lines.append(f"| {row.what} | {row.against} | {row.floor} | {row.measured} | {row.ratio} | {row.wanted} |")
            print(lines[-1], flush=True)
    if given.write:
        target = HERE / "results" / "cpu.md"
        target.parent.mkdir(exist_ok=True)
        target.write_text("\n".join([*_heading(), *lines, ""]))


def faster(what: str, before: float, now: float, wanted: str) -> Row:
    return Row(what, "the paper's pipeline", _ms(before), _ms(now), f"{before / now:.1f}x faster", wanted)


def score(settings: Settings) -> Iterator[Row]:
    """One mask, arrays in memory."""
    image, mask, engine = ct(), liver(), open_engine(settings.model, settings.threads)
    before, now = settings.take_turns(
        12,
        lambda: paper(settings.threads).score(image, mask),
        lambda: engine.score(image, mask, "liver", spacing=scene.SPACING_MM),
    )
    yield faster("score of one mask", before, now, ">= 20x")


def cut(settings: Settings) -> Iterator[Row]:
    """Find, crop, resample and window the slices: all of a score but the network."""
    from baseline import prepare

    image, mask = ct(), liver()
    recipe = open_engine(settings.model, settings.threads)._judge.session.card.recipe

    def ours() -> None:
        found = LabelScan.from_core(_core.scan(mask, settings.threads)["labels"][0])
        plan = plan_slices(mask, found, recipe, scene.SPACING_MM, settings.threads)
        label = np.ones(len(plan.index), np.int64)
        slices.cut(image, mask, recipe, scene.SPACING_MM, plan.index, plan.crop, label, settings.threads)

    before, now = settings.take_turns(40, lambda: prepare(image, mask), ours)
    yield faster("of that, cutting the slices", before, now, "<= 10 ms")


def scan(settings: Settings) -> Iterator[Row]:
    """One pass over a mask or labelmap, against reading its bytes."""
    mask, labels = liver(), labelmap()
    for what, array, wanted in (
        ("mask uint8", mask, "<= 1.5x"),
        ("labelmap uint8", labels, "<= 5x"),
        ("labelmap uint8, Fortran order", np.asfortranarray(labels), "<= 5x"),
        ("labelmap uint8, all axes flipped", labels[::-1, ::-1, ::-1], "<= 5x"),
        ("labelmap uint16", labels.astype(np.uint16), "<= 5x"),
        ("labelmap int16", labels.astype(np.int16), "<= 5x"),
        ("labelmap float32", labels.astype(np.float32), "<= 5x"),
    ):
        words = _words(array, settings.threads)
        with ThreadPoolExecutor(settings.threads) as pool:
            floor, now = settings.take_turns(
                40,
                lambda: list(pool.map(np.bitwise_or.reduce, words)),  # noqa: B023 - used up within the turn
                lambda: _core.scan(array, settings.threads),  # noqa: B023
            )
        yield Row(f"scan of a {what}", "reading its bytes", _ms(floor), _ms(now), f"{now / floor:.2f}x", wanted)


def labels(settings: Settings) -> Iterator[Row]:
    """A whole labelmap at once, against the paper's loop over masks."""
    image, volume, engine = ct(), labelmap(), open_engine(settings.model, settings.threads)
    values = [entry[0] for entry in _core.scan(volume, settings.threads)["labels"]]
    named = dict(zip(values, structures.names(), strict=False))
    chosen = values[:: max(1, len(values) // settings.repeats(12))]
    masks = [(volume == value).astype(np.uint8) for value in chosen]
    before: list[float] = []
    now: list[float] = []
    for mask in masks:
        for times, job in (
            (before, lambda: paper(settings.threads).score(image, mask)),  # noqa: B023
            (now, lambda: engine.assess_labels(image, volume, named, spacing=scene.SPACING_MM)),
        ):
            times.extend(settings.take_turns(1, job))
    yield faster(
        f"assess_labels, {len(values)} structures (paper: mean of {len(masks)} of the masks, times {len(values)})",
        statistics.mean(before) * len(values),
        statistics.median(now),
        ">= 30x",
    )


def threads(settings: Settings) -> Iterator[Row]:
    """The same on one thread and on two."""
    if settings.busy:
        return
    image, mask, volume = ct(), liver(), labelmap()
    engines = [segae.Engine(settings.model, "cpu", n) for n in (1, 2)]
    results = {e.score(image, mask, "liver", spacing=scene.SPACING_MM) for e in engines}
    for what, jobs in (
        ("score", [lambda e=e: e.score(image, mask, "liver", spacing=scene.SPACING_MM) for e in engines]),
        ("scan of a labelmap", [lambda n=n: _core.scan(volume, n) for n in (1, 2)]),
    ):
        one, two = settings.take_turns(40, *jobs)
        yield Row(f"{what}, two threads", "one thread", _ms(one), _ms(two), f"{one / two:.2f}x faster", "")
    yield Row("scores that one and two threads give", "", "", f"{len(results)}", "", "1")


def files(settings: Settings) -> Iterator[Row]:
    """`segae score` of two files, in fresh processes."""
    import nibabel as nib

    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.nii.gz" for name in ("ct", "liver")]
        affine = np.diag([-scene.SPACING_MM[2], -scene.SPACING_MM[1], scene.SPACING_MM[0], 1])
        for path, array in zip(paths, (ct(), liver()), strict=True):
            nib.save(nib.Nifti1Image(array.T, affine), path)
        decompress = (
            "import sys; from concurrent.futures import ThreadPoolExecutor; from isal import igzip\n"
            "list(ThreadPoolExecutor(2).map(lambda path: len(igzip.open(path).read()), sys.argv[1:]))"
        )
        options = ["liver", "--device", "cpu", "--threads", str(settings.threads)]
        floor, now = settings.take_turns(
            8, _python("-c", decompress, *paths), _python("-m", "segae", "score", *paths, *options)
        )
    yield Row("segae score of a CT and a mask, .nii.gz", "decompressing both (isal, two threads), Python started",
              _ms(floor), _ms(now), f"{now / floor:.2f}x", "<= 1.2x")  # fmt: skip


def start(settings: Settings) -> Iterator[Row]:
    """`import segae` in fresh processes."""
    bare, whole = settings.take_turns(24, _python("-c", "pass"), _python("-c", "import segae"))
    yield Row("import segae", "bare Python", _ms(bare), _ms(whole - bare) + " more", "", "< 150 ms")


def memory(settings: Settings) -> Iterator[Row]:
    """Peak of a process that opens the model and scores, beyond what it held with its inputs made."""
    out = subprocess.run(
        [sys.executable, __file__, "--peak", settings.model], check=True, capture_output=True, text=True
    ).stdout
    inputs, before, after = map(int, out.split())
    yield Row(
        "peak memory of the first score, model and ONNX Runtime included",
        "inputs and interpreter",
        f"{before / MiB:.0f} MB (arrays: {inputs / MiB:.0f})",
        f"{(after - before) / MiB:.0f} MB more",
        "",
        "<= 150 MB",
    )


def print_peak(model: str) -> None:
    image, mask = ct(), liver()
    before = _peak()
    segae.Engine(model, "cpu").score(image, mask, "liver", spacing=scene.SPACING_MM)
    print(image.nbytes + mask.nbytes, before, _peak())


def wheel(settings: Settings) -> Iterator[Row]:
    """Size of the wheel that `pip wheel .` builds here."""
    if settings.quick:
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder]
        subprocess.run([*command, str(HERE.parent)], check=True)
        (built,) = Path(folder).glob("*.whl")
        yield Row("wheel", "", "", f"{built.stat().st_size / MiB:.2f} MB", "", "<= 15 MB")


BENCHMARKS: dict[str, Callable[[Settings], Iterator[Row]]] = {
    job.__name__: job for job in (score, files, cut, scan, labels, threads, start, memory, wheel)
}

ct, liver, labelmap = cache(scene.ct), cache(scene.liver), cache(scene.labelmap)


@cache
def open_engine(model: str, threads: int) -> segae.Engine:
    return segae.Engine(model, "cpu", threads)


@cache
def paper(threads: int) -> Baseline:
    from baseline import Baseline  # torch is loaded only for the rows that need it

    return Baseline(threads)


def _python(*arguments: str) -> Callable[[], object]:
    """A fresh interpreter's run."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def _words(array: npt.NDArray[np.generic], pieces: int) -> list[npt.NDArray[np.uint64]]:
    """The array's memory as 64-bit words."""
    whole = array.base if array.base is not None and array.base.size == array.size else array
    return np.array_split(whole.ravel(order="K").view(np.uint64), pieces)


def _cpu_seconds() -> float:
    """CPU seconds of this process and of the children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak() -> int:
    """Most bytes that this process ever held; getrusage would count those of the parent that forked it, too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _heading() -> list[str]:
    import onnxruntime
    import torch

    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return [
        "# What segae costs on a CPU",
        "",
        f"`python benchmarks/{' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}`, {datetime.date.today()}. "
        f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end. "
        f"Python {platform.python_version()}, segae {segae.__version__}, numpy {np.__version__}, "
        f"ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}. Volumes {scene.SHAPE}, made up.",
        "",
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print_peak(sys.argv[2])
    else:
        main()
