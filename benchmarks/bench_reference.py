"""What the built-in reference costs: CPU seconds to segment a scan of 512 x 512 x 300, whole and around one mask.

Usage: python benchmarks/bench_reference.py [--threads N] [--repeat N]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import scene

from segae.masks import read_mask
from segae.reference.builtin import BuiltInReference
from segae.reference.network import built_in_network
from segae.threads import available_threads
from segae.volume import Geometry, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    network = built_in_network("cpu")
    image = load(scene.ct(), "image", Geometry(spacing=scene.SPACING_MM))
    mask, labels = read_mask(load(scene.liver(), "mask", Geometry(spacing=scene.SPACING_MM)), "mask", arguments.threads)

    def whole(reference: BuiltInReference) -> None:
        reference.whole()

    def around(reference: BuiltInReference) -> None:
        reference.compare(mask, labels[1], "liver")

    jobs: dict[str, Callable[[BuiltInReference], None]] = {"whole scan": whole, "around one liver, compared": around}
    for name, job in jobs.items():
        cpu, wall = [], []
        for _ in range(arguments.repeat):
            begin = time.process_time(), time.perf_counter()
            job(BuiltInReference(image, network, arguments.threads))
            cpu.append(time.process_time() - begin[0])
            wall.append(time.perf_counter() - begin[1])
        took = f"{statistics.median(cpu):.2f} CPU s, {statistics.median(wall):.2f} s"
        print(f"{name}: {took} on {arguments.threads} threads")


if __name__ == "__main__":
    main()
