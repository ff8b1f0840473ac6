"""Checkpoint -> one ONNX file that tells the engine all it must know."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from segae.recipe import METADATA_KEY, Calibration, IntervalCurve, ModelCard
from segae.train.fit import new_judge
from segae.train.network import Judge
from segae.train.synthesis import RECIPE, nameless, structure_names

OPSET = 17


class Verdict(NamedTuple):
    """What a shipped judge puts out, in the order of its roles."""

    precision: Tensor
    recall: Tensor
    truth_fraction: Tensor
    whole_precision: Tensor
    whole_recall: Tensor
    expected: Tensor


class ShippedJudge(nn.Module):
    """The judge as the engine calls it: codes of all structures computed beforehand, the expected mask at full size."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = copy.deepcopy(judge).eval()
        with torch.no_grad():
            codes = self.judge.code(torch.arange(nameless()))  # the code of nameless regions is not needed
        self.judge.code = nn.Embedding.from_pretrained(codes)  # type: ignore[no-untyped-call]

    def forward(self, slices: Tensor, structure: Tensor) -> Verdict:
        """Judge slices [n, c, h, w] of structures [n]."""
        said = self.judge(slices, structure)
        expected = functional.interpolate(
            torch.sigmoid(said.expected_logits), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        return Verdict(
            said.precision, said.recall, said.truth_fraction, said.whole_precision, said.whole_recall, expected
        )


def export(
    checkpoint: Path,
    out: Path,
    name: str,
    calibration: dict[str, Calibration] | None = None,
    intervals: dict[str, IntervalCurve] | None = None,
) -> ModelCard:
    """Write the model file of a checkpoint and return its card.

    Parameters
    ----------
    checkpoint : Path
        As `fit` writes it; the averaged weights are taken.
    out : Path
    name : str
        Of the model.
    calibration : dict, optional
        Structure or "default" -> curve.
    intervals : dict, optional
        Group of structures or "default" -> curve.
    """
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    judge = new_judge()
    judge.load_state_dict(state["average"])
    settings = json.loads(state["settings"])
    card = ModelCard(
        name=name,
        recipe=RECIPE,
        structures=structure_names(),
        trained=frozenset(state["trained"]),
        outputs={role: role for role in Verdict._fields},
        calibration=calibration or {},
        synthetic=frozenset(state["synthetic"]),
        intervals=intervals or {},
        training={"steps": state["step"], "samples": state["step"] * settings["batch"], "settings": settings},
    )
    write_onnx(ShippedJudge(judge).eval(), card, out)
    return card


def write_onnx(module: nn.Module, card: ModelCard, out: Path) -> None:
    """Trace a network, attach its card and check the file.

    Parameters
    ----------
    module : Module in eval mode
        Takes slices float32 [n, c, h, w] and structure int64 [n]; returns one tensor or a tuple of them, in the order
        of ``card.outputs``.
    card : ModelCard
    out : Path
        Folders are made where they are missing.
    """
    height, width = card.recipe.size_px
    example = (torch.rand(2, len(card.recipe.channels), height, width), torch.tensor([0, 1]))
    outputs = list(card.outputs.values())
    out.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its retirement
        torch.onnx.export(
            module,
            example,
            str(out),
            opset_version=OPSET,
            input_names=["slices", "structure"],
            output_names=outputs,
            dynamic_axes={key: {0: "n"} for key in ("slices", "structure", *outputs)},
            dynamo=False,
        )
    model = onnx.load(str(out))
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_json()
    onnx.checker.check_model(model)
    onnx.save(model, str(out))
