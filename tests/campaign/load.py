"""Load: hours of scores from threads, thousands of engines, sizes that no test has. Memory must stay flat.

    python tests/campaign/load.py service --minutes 60
    python tests/campaign/load.py engines --count 10000
    python tests/campaign/load.py sizes

`service`: eight threads share an engine and score masks of mixed sizes; the memory after a tenth of the time is
compared with that at the end. `engines`: one is opened, used and dropped after another. `sizes`: a dry run of 100 000
cases, a labelmap of 10 000 values, 2 000 slices, a volume of 16 GB through a memory map, a report of 100 000 masks.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import segae
from segae.datasets import find_cases


def held_mb() -> float:
    """Memory of the process that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def volume(rng: np.random.Generator, largest: int) -> tuple[np.ndarray, np.ndarray]:
    shape = tuple(int(v) for v in rng.integers(20, largest, 3))
    image = rng.normal(40, 30, shape).astype(np.int16)
    image[:, :3] = -1000
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(side // 4, 3 * side // 4) for side in shape)] = 1
    return image, mask


def service(minutes: float, threads: int = 8) -> None:
    """Scores without end, in threads that share an engine."""
    engine = segae.Engine("default", "cpu", threads=1)
    end = time.monotonic() + 60 * minutes
    done = [0] * threads
    failed: list[BaseException] = []

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        try:
            while time.monotonic() < end and not failed:
                image, mask = volume(rng, 160)
                name = ("liver", "spleen", "aorta", "rib_left_5")[int(rng.integers(4))]
                engine.assess(image, mask, name, spacing=(2.0, 1.0, 1.0))
                done[number] += 1
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    time.sleep(6 * minutes)
    # The peak of a stretch, since a moment's memory depends on what is being read.
    early = _peak_mb(3 * minutes)
    while any(worker.is_alive() for worker in workers) and time.monotonic() < end - 3 * minutes:
        time.sleep(0.5)
    late = _peak_mb(2.5 * minutes)
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]
    growth = late / early - 1
    print(f"service: {sum(done)} scores by {threads} threads in {minutes:g} min, {early:.0f} MB early, {late:.0f} late")
    assert growth < 0.05, f"memory grew by {growth:.1%}"


def _peak_mb(seconds: float) -> float:
    peak, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        peak = max(peak, held_mb())
        time.sleep(0.05)
    return peak


def engines(count: int) -> None:
    """Engines opened, used and dropped."""
    rng = np.random.default_rng(0)
    image, mask = volume(rng, 60)
    early = 0.0
    for i in range(count):
        segae.Engine("default", "cpu", threads=1).score(image, mask, "liver", spacing=(1.0, 1.0, 1.0))
        if i == max(20, count // 20):
            early = held_mb()
    late = held_mb()
    print(f"engines: {count} opened, used and dropped; {early:.0f} MB early, {late:.0f} at the end")
    assert late < 1.05 * early + 5


def sizes() -> None:
    """One of each size that no test has."""
    with tempfile.TemporaryDirectory() as place:
        for name, run in (("100 000 cases", _many_cases), ("10 000 values", _many_values), ("2 000 slices", _long_scan),
                          ("16 GB", _memory_map), ("100 000 masks", _long_report)):  # fmt: skip
            folder = Path(place) / name.replace(" ", "_")
            folder.mkdir()
            begun = time.monotonic()
            told = run(folder)
            print(f"{name}: {time.monotonic() - begun:.1f} s, {told}", flush=True)


def _many_cases(folder: Path) -> str:
    table = folder / "set.csv"
    (folder / "ct.nii.gz").touch()
    rows = [f"{i},ct.nii.gz,ct.nii.gz,liver" for i in range(100_000)]
    table.write_text("\n".join(["case,image,mask,structure", *rows]), encoding="utf-8")
    return f"dry run: {next(iter(find_cases(table).describe()))}"


def _many_values(folder: Path) -> str:
    labels = np.arange(50**3, dtype=np.int32).reshape(50, 50, 50) % 10_000
    try:
        segae.assess_labels(np.zeros(labels.shape, np.int16), labels, {5: "liver"}, spacing=(1, 1, 1))
    except segae.SegaeError as error:
        return f"refused: {str(error)[:80]}"
    return "read"


def _long_scan(folder: Path) -> str:
    image = np.full((2000, 96, 96), 40, np.int16)
    image[:, :3] = -1000
    mask = np.zeros(image.shape, np.uint8)
    mask[100:1900, 30:60, 30:60] = 1
    return f"aorta {segae.score(image, mask, 'aorta', spacing=(1.0, 1.0, 1.0)):.3f}"


def _memory_map(folder: Path) -> str:
    shape = (1300, 2500, 2500)
    image = np.memmap(folder / "image.raw", np.int16, "w+", shape=shape)  # a sparse file
    mask = np.zeros(shape, np.uint8)
    mask[600:620, 1000:1100, 1000:1100] = 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image[600:620, 900:1200, 900:1200] = 40
    said = segae.score(image, mask, "liver", spacing=(0.2, 0.1, 0.1))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    return f"liver {said:.3f}, {grown:.1f} GB more memory than the mask"


def _long_report(folder: Path) -> str:
    from segae.assessment import Flag
    from segae.audit.report.page import write_report
    from segae.audit.results import CaseRow, MaskRow
    from segae.audit.store import Store

    rng = np.random.default_rng(0)
    with Store(folder) as store:
        for case in range(1000):
            rows = [
                MaskRow(
                    case_id=f"case{case}", structure=name, source=f"case{case}/{name}.nii.gz", name=name,
                    dice=float(rng.beta(9, 1)), precision=0.9, recall=0.9, raw=0.9, volume_ml=100.0,
                    flags=(Flag("touches_border", "it does"),), image="", mask="", labels=(), bbox=None,
                    centroid_mm=None, slices_json="[]", seconds=0.1, model_sha256="0" * 64, error=None,
                )
                for name in segae.structures.names()[:100]
            ]  # fmt: skip
            store.commit(CaseRow(f"case{case}", "done", "0", None, 1.0), rows)
    page = write_report(folder, pictures=0)
    return f"{page.stat().st_size / 1e6:.0f} MB of report"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("service", "engines", "sizes"))
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    runs: dict[str, Callable[[], None]] = {
        "service": lambda: service(options.minutes), "engines": lambda: engines(options.count), "sizes": sizes,
    }  # fmt: skip
    runs[options.what]()


if __name__ == "__main__":
    main()
