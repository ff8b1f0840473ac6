"""Print what the paper-size model costs through segae, beside the published pipeline with the same weights.

    python benchmarks/bench_paper.py                 # conversion, one mask, 16 masks
    python benchmarks/bench_paper.py --busy --write  # CPU time of one thread; keep the table in results/paper.md

A ResNet-50 with random weights is written as the authors' files are, converted by `segae convert`, and run on masks in
memory. The two sides take turns; figures are medians. Agreement is that of the raw scores.
"""

from __future__ import annotations

import argparse
import datetime
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from baseline import TEXT, Baseline

import segae
from segae import structures
from segae.train.convert import convert

SPACING_MM = (3.0, 0.8, 0.8)
BLOCKS = (3, 4, 6, 3)
PARTS = {
    "body.0": "conv1", "body.1": "bn1", "body.3": "conv2", "body.4": "bn2", "body.6": "conv3", "body.7": "bn3",
    "shortcut": "downsample",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", action="store_true", help="CPU time of one thread: for a machine that others use")
    parser.add_argument("--repeats", type=int, default=6, help="turns with one mask; a third as many with 16")
    parser.add_argument("--slices", type=int, default=10, help="of every one of the 16 masks (one mask alone: 10)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/paper.md")
    given = parser.parse_args()
    threads, clock = (1, time.process_time) if given.busy else (2, time.perf_counter)
    lines = ["| what | published pipeline | segae | ratio | wanted |", "|---|---:|---:|---:|---:|"]
    print("\n".join(lines), flush=True)

    def tell(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    baseline = Baseline(threads)
    spread_statistics(baseline.net)
    names = [structures.get(name) for name in structures.labels("dap").values()][:16]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        files = published_files(baseline, [structure.id for structure in names], Path(folder))
        begin = clock()
        convert(*files, model)
        tell(f"| conversion of a ResNet-50 checkpoint | - | {clock() - begin:.1f} s | - | < 20 s |")
        engine = segae.Engine(model, "cpu", threads)
        named = {value: structure.name for value, structure in enumerate(names, start=1)}
        for what, count, deep, repeats in (
            ("one mask", 1, 10, given.repeats),
            ("16 masks", 16, given.slices, max(1, given.repeats // 3)),
        ):
            image, labels = scene(deep, count)
            masks = [(labels == value).astype(np.uint8) for value in range(1, count + 1)]

            def theirs() -> list[float]:
                return [baseline.score(image, each) for each in masks]  # noqa: B023 - used up within the turn

            def ours() -> list[float]:
                found = engine.assess_labels(image, labels, named, spacing=SPACING_MM)  # noqa: B023
                return [assessment.raw for assessment in found.values()]

            before, now, apart = take_turns(repeats, clock, theirs, ours)
            tell(f"| {what}, {deep} slices each | {before:.2f} s | {now:.2f} s | {before / now:.2f}x | >= 1.5x |")
            tell(f"| largest difference of scores, {what} | - | {apart:.1e} | - | <= 1e-4 |")
    if given.write:
        (Path(__file__).parent / "results" / "paper.md").write_text("\n".join([*heading(given, threads), *lines, ""]))


def take_turns(
    repeats: int, clock: Callable[[], float], theirs: Callable[[], list[float]], ours: Callable[[], list[float]]
) -> tuple[float, float, float]:
    """Median seconds of both, and how far their scores are apart; the first turn warms up and does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    said: list[list[float]] = [[], []]
    for turn in range(repeats + 1):
        for side, job in enumerate((theirs, ours)):
            begin = clock()
            said[side] = job()
            if turn > 0 or repeats == 1:
                times[side].append(clock() - begin)
    return statistics.median(times[0]), statistics.median(times[1]), float(np.abs(np.subtract(*said)).max())


def spread_statistics(net: torch.nn.Module) -> None:
    """Statistics as a trained network has them: with the initial ones, normalisation would do nothing."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)


def published_files(baseline: Baseline, ids: list[int], folder: Path) -> tuple[Path, Path]:
    """Write the baseline's weights under the authors' names, and its embedding for every class."""
    state = {published_name(key): value for key, value in baseline.net.state_dict().items()}
    torch.save(state, folder / "judge.pth")
    with (folder / "labels.pkl").open("wb") as file:
        pickle.dump({key: baseline.text.reshape(1, TEXT).clone() for key in ids}, file)
    return folder / "judge.pth", folder / "labels.pkl"


def published_name(key: str) -> str:
    """Name of a tensor of `PaperNet` in the published state dict."""
    head, _, rest = key.partition(".")
    if head == "stem":
        number, _, tensor = rest.partition(".")
        return f"{'conv1' if number == '0' else 'bn1'}.{tensor}"
    if head != "layers":
        return key
    number, _, rest = rest.partition(".")
    stage, first = 1, 0
    while int(number) >= first + BLOCKS[stage - 1]:
        first += BLOCKS[stage - 1]
        stage += 1
    for ours, theirs in PARTS.items():
        if rest.startswith(ours + "."):
            return f"net.layer{stage}.{int(number) - first}.{theirs}{rest[len(ours) :]}"
    raise KeyError(key)


def scene(slices: int, boxes: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Noise, and up to 16 boxes of 60 to 90 pixels in as many slices as wanted."""
    rng = np.random.default_rng(0)
    image = rng.normal(40, 60, (slices + 10, 512, 512)).astype(np.int16)
    labels = np.zeros(image.shape, np.uint8)
    for value in range(boxes):
        row, column = (value // 4) * 120 + 20, (value % 4) * 120 + 20
        labels[5 : 5 + slices, row : row + 60 + 2 * value, column : column + 90 - 2 * value] = value + 1
    return image, labels


def heading(given: argparse.Namespace, threads: int) -> list[str]:
    import onnxruntime

    measure = "CPU time of one thread (others used the machine)" if given.busy else f"wall time, {threads} threads"
    turns = f"medians of {given.repeats} turns (16 masks: {max(1, given.repeats // 3)})"
    return [
        "# The paper-size model on a CPU",
        "",
        f"`python benchmarks/bench_paper.py{' --busy' if given.busy else ''} --repeats {given.repeats} "
        f"--slices {given.slices} --write`, {datetime.date.today()}: {measure}, {turns}; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end. ONNX Runtime {onnxruntime.__version__}, "
        f"torch {torch.__version__}. ResNet-50 at 256x256, the same random weights on both sides.",
        "",
    ]


if __name__ == "__main__":
    main()
