"""The authors' checkpoint and name embeddings -> a segae model file, without running any code that they carry."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segae import structures
from segae.errors import ModelFileError
from segae.recipe import ChannelSpec, ModelCard, PaperCrop, Recipe
from segae.train.export import write_onnx
from segae.train.paper import DEPTHS, TEXT_WIDTH, PaperJudge

# Published preprocessing: [-200, 200] HU to [0, 1], then (x - 0.5) / 0.25 of the CT and (m - 0.5) / 0.5 of the mask.
PAPER_RECIPE = Recipe(
    size_px=(256, 256),
    slices=10,
    placement="paper",
    crop=PaperCrop(margin_px=20),
    channels=(
        ChannelSpec("image", window_hu=(-200.0, 200.0), gain=4.0, bias=-2.0),
        ChannelSpec("mask", gain=2.0, bias=-1.0),
    ),
)

# Tensors of the torchvision network that the published code carries along without using them.
_UNUSED = ("net.conv1.", "net.bn1.", "net.fc.")

_State = dict[str, Tensor]


def convert(checkpoint: Path, embeddings: Path, out: Path) -> ModelCard:
    """Convert the authors' files.

    Parameters
    ----------
    checkpoint : Path
        State dict of a ResNet-18/34/50/101/152 judge (``best_resnet50_model_40_samples.pth``).
    embeddings : Path
        Pickle of a dict: DAP class id -> float32 tensor [1, 512] (``label_embedding.pkl``).
    out : Path
        ONNX file to write.

    Returns
    -------
    ModelCard
        What the file says of itself. Ids that segae has no structure for are kept under their number.

    Raises
    ------
    ModelFileError
        When a file is missing, holds anything but tensors, or tensors that do not make up that network.
    """
    state = _read_state(checkpoint)
    table = _read_embeddings(embeddings)
    depth = _depth(state)
    judge = PaperJudge(torch.cat([table[key] for key in sorted(table)]), depth)
    _check(state, judge.state_dict(), checkpoint)
    judge.load_state_dict(state)
    known = structures.labels("dap")
    names = tuple(known.get(key, str(key)) for key in sorted(table))
    card = ModelCard(
        name=f"paper-resnet{depth}",
        recipe=PAPER_RECIPE,
        structures=names,
        trained=frozenset(names),
        outputs={"dice": "dice"},
        training={"method": "arXiv:2601.14406", "converted_from": [checkpoint.name, embeddings.name]},
    )
    write_onnx(judge.eval(), card, out)
    return card


def _read_state(path: Path) -> _State:
    if not path.is_file():
        raise ModelFileError(f"checkpoint: no such file: {path}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch errors have no common base
        raise ModelFileError(
            f"checkpoint: {path} is no plain state dict ({_told(error)}). Nothing in it was run."
        ) from error
    if not isinstance(state, dict):
        raise ModelFileError(f"checkpoint: {path} holds a {type(state).__name__}, not a dict of tensors.")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ModelFileError(
                f"checkpoint: entry {key!r} of {path} is a {type(value).__name__}; expected nothing but named tensors."
            )
    return {key: value for key, value in state.items() if not key.startswith(_UNUSED)}


def _depth(state: _State) -> int:
    blocks = tuple(
        len({key.split(".")[2] for key in state if key.startswith(f"net.layer{stage}.")}) for stage in (1, 2, 3, 4)
    )
    bottleneck = "net.layer1.0.conv3.weight" in state
    for depth, shape in DEPTHS.items():
        if shape == (blocks, bottleneck):
            return depth
    kind = "bottleneck" if bottleneck else "basic"
    raise ModelFileError(
        f"checkpoint: its stages have {blocks} {kind} blocks; expected a ResNet-{', -'.join(map(str, DEPTHS))}."
    )


def _check(state: _State, expected: _State, path: Path) -> None:
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    found = {
        "missing": sorted(expected.keys() - state.keys()),
        "unknown": sorted(state.keys() - expected.keys()),
        "misshapen": misshapen,
    }
    if any(found.values()):
        shown = "; ".join(f"{what}: {', '.join(keys[:5])}" for what, keys in found.items() if keys)
        raise ModelFileError(f"checkpoint: {path} is not the published network. {shown}.")


class _TensorsOnly(pickle.Unpickler):
    """Rebuilds tensors as torch does, and refuses every other name that a pickle may ask for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return torch._utils._rebuild_tensor_v2
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _load_storage
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _load_storage(data: bytes) -> Any:
    """Call torch's own reader of a pickled storage, which without `weights_only` would run what it holds."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _told(error: Exception) -> str:
    """Kind of an error and the first line of what it says; torch adds paragraphs on how to trust a file."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _read_embeddings(path: Path) -> dict[int, Tensor]:
    if not path.is_file():
        raise ModelFileError(f"embeddings: no such file: {path}.")
    try:
        with path.open("rb") as file:
            table = _TensorsOnly(file).load()
    except Exception as error:  # a hostile pickle can fail in any way
        raise ModelFileError(
            f"embeddings: {path} holds more than tensors, or is damaged ({_told(error)}). Nothing in it was run."
        ) from error
    if not isinstance(table, dict) or not table:
        raise ModelFileError(f"embeddings: {path} holds a {type(table).__name__}, not a dict of class id -> tensor.")
    for key, value in table.items():
        whole = isinstance(key, int) and not isinstance(key, bool) and key >= 0
        if not whole or not isinstance(value, Tensor) or tuple(value.shape) != (1, TEXT_WIDTH):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ModelFileError(f"embeddings: entry {key!r} is {shape}; expected a class id and (1, {TEXT_WIDTH}).")
    return {key: value.float() for key, value in table.items()}
