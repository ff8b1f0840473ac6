"""Dice of the network on scans that it did not learn from, slice by slice at 2 mm."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from segae_lab.reference.classes import CLASSES
from segae_lab.reference.draws import slices_around, windowed
from segae_lab.reference.network import MULTIPLE, ReferenceNet
from segae_lab.reference.scans import UNDECIDED, PartlyLabelled


@torch.no_grad()
def held_out_dice(network: ReferenceNet, scans: list[PartlyLabelled], every_mm: float) -> dict[tuple[str, str], float]:
    """(case, class) -> Dice over slices `every_mm` apart that know the class, without any post-processing."""
    network.eval()
    found = {}
    for scan in scans:
        counts = np.zeros((3, len(CLASSES)))  # both, predicted, true
        for z in range(0, len(scan.hu), max(1, round(every_mm / scan.spacing_mm[0]))):
            predicted = predict(network, scan, z)
            truth, decided = scan.labels[z], scan.labels[z] != UNDECIDED
            for index in np.flatnonzero(scan.known[z]):
                a, b = (predicted == 1 + index) & decided, truth == 1 + index
                counts[:, index] += (a & b).sum(), a.sum(), b.sum()
        for index in np.flatnonzero(counts[2] > 0):
            both, mine, true = counts[:, index]
            found[scan.case, CLASSES[index]] = float(2 * both / (mine + true))
    return found


def predict(network: ReferenceNet, scan: PartlyLabelled, z: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Most probable class of every pixel of a slice, 0 for none."""
    rows, columns = scan.hu.shape[1:]
    # Beyond the scan's edge is air, 0 after the shift.
    slices = slices_around(scan.hu, z, scan.spacing_mm[0])
    padded = functional.pad(slices, (0, -columns % MULTIPLE, 0, -rows % MULTIPLE)) - 1024.0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = network(windowed(padded)[None].contiguous(memory_format=torch.channels_last))
    best: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    best = scores[0, :, :rows, :columns].argmax(dim=0).to(torch.uint8).numpy()
    return best
