"""A shipped model file -> a judge that can be trained on.

Export folds every normalisation into the convolution before it and every structure's code into a table. Both are undone
so that the restored judge says what the file says, and its layers are normalised as in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from segae.errors import ModelFileError
from segae.session import card_of
from segae.train.network import Judge
from segae.train.synthesis import structure_names

_RIDGE = 1e-2


def restore(judge: Judge, file: Path) -> set[str]:
    """Load the weights of a model file, written by `segae.train.export`, into an untrained judge.

    Layers that the file lacks (an older network) keep what they have.

    Returns
    -------
    set of str
        Names of the normalisations that were folded away, and do nothing until `normalise` gives them their task.

    Raises
    ------
    ModelFileError
        When the file holds another network.
    """
    model = onnx.load(str(file))
    stored = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer}
    modules = dict(judge.named_modules())
    folded = set()
    with torch.no_grad():
        for node in model.graph.node:
            if node.op_type not in ("Conv", "Gemm"):
                continue
            name = _module_of(node.name)
            layer = modules.get(name)
            weights = [stored[key] for key in node.input if key in stored]
            if not isinstance(layer, nn.Conv2d | nn.Linear) or layer.weight.shape != weights[0].shape:
                raise ModelFileError(f"initial: {file} holds another network: {node.name} does not fit this judge.")
            layer.weight.copy_(weights[0])
            if layer.bias is not None:
                layer.bias.copy_(weights[1])
            else:
                folded.add(name.removesuffix("conv") + "norm")
                modules[name.removesuffix("conv") + "norm"].bias.copy_(weights[1])
        _restore_codes(judge, stored["judge.code.weight"], card_of(file).structures)
    return folded


def _module_of(node: str) -> str:
    """``/judge/around/layers/layers.0/conv/Conv`` -> ``around.layers.0.conv``."""
    parts: list[str] = []
    for part in node.strip("/").split("/")[1:-1]:
        if parts and part.startswith(parts[-1] + "."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)


def _restore_codes(judge: Judge, codes: Tensor, names: Sequence[str]) -> None:
    """Split the codes of structures into what follows from names and facts (ridge regression) and what is learned."""
    code = judge.code
    places = {name: place for place, name in enumerate(structure_names())}
    rows = torch.tensor([places[name] for name in names])
    table = code.table[rows]
    known = torch.cat([table, torch.ones(len(table), 1)], dim=1)
    gram = known @ known.T + _RIDGE * len(known) * torch.eye(len(known))
    weight = known.T @ torch.linalg.solve(gram, codes)
    code.first.weight.copy_(weight[:-1].T)
    code.first.bias.copy_(weight[-1])
    code.learned.weight[rows] = codes - known @ weight
    nn.init.zeros_(code.second.weight)
    nn.init.zeros_(code.second.bias)


@torch.no_grad()
def normalise(judge: Judge, batches: Iterator[tuple[Tensor, Tensor]], restored: set[str]) -> None:
    """Give restored normalisations the statistics of their inputs, and scales that leave their outputs as they are.

    Parameters
    ----------
    judge : Judge
        After `restore`.
    batches : iterator of (slices, structure)
    restored : set of str
        Names of the normalisations to treat.
    """
    norms = [module for name, module in judge.named_modules() if name in restored]
    moments: dict[nn.Module, list[Tensor]] = {norm: [] for norm in norms}

    def watch(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        moments[norm].append(torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))]))

    handles = [norm.register_forward_pre_hook(watch) for norm in norms]
    judge.eval()
    for slices, structure in batches:
        judge(slices, structure)
    for handle in handles:
        handle.remove()
    for norm in norms:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, square = torch.stack(moments[norm]).mean(dim=0).float()
        variance = (square - mean**2).clamp(min=1e-5)
        norm.bias.add_(mean * norm.weight / torch.sqrt(norm.running_var + norm.eps))
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
