"""The card of a model file: read without opening the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segae import structures
from segae.errors import ModelFileError
from segae.onnx_graph import metadata
from segae.recipe import METADATA_KEY, ModelCard

# Names of structures that a model file may bring.
_MOST_NEW = 500


def read_card(model: bytes, path: Path) -> ModelCard:
    """Card of a model that was read and checked; the structures that it brings are known from then on.

    Parameters
    ----------
    model : bytes
        As `segae.onnx_graph.read_model` returns it.
    path : Path
        Where it lies; named in errors.

    Raises
    ------
    ModelFileError
        When it has no card, or one that this version of segae does not understand.
    """
    text = metadata(model, METADATA_KEY)
    if text is None:
        raise ModelFileError(
            f"model: {path} is an ONNX file without segae's metadata, so its recipe is unknown. "
            f"Export it with segae.train, or convert the authors' checkpoint."
        )
    card = ModelCard.from_json(text.decode(errors="replace"), str(path))
    _register(card.structures, path)
    return card


def _register(names: Sequence[str], path: Path) -> None:
    """Make names known that the model learned from a dataset; converted models call what nobody named by its number."""
    known = set(structures.names())
    new = [name for name in names if name not in known and structures.may_register(name)]
    if len(new) > _MOST_NEW:
        raise ModelFileError(f"model: {path} brings {len(new)} names of structures, and {_MOST_NEW} are the most.")
    for name in new:
        structures.register(name)
