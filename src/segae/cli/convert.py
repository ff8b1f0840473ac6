"""The command `segae convert`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from segae.errors import ParameterError


def add_parser(commands: Any) -> None:
    """Add `segae convert` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("convert", help="turn the SegAE authors' checkpoint into a model file")
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="their .pth, a plain state dict")
    command.add_argument("--embeddings", metavar="PICKLE", type=Path, required=True, help="their label_embedding.pkl")
    command.add_argument("-o", "--output", type=Path, required=True, help="ONNX file to write")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the model file."""
    try:
        from segae.train.convert import convert
    except ImportError as error:
        raise ParameterError(f"convert needs {error.name}: pip install 'segae[train]'.") from error

    card = convert(options.checkpoint, options.embeddings, options.output)
    print(f"{options.output}: {card.name}, {len(card.structures)} classes")
    return 0
