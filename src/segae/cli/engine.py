"""Options of every command that opens an engine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segae.engine import Engine


def add_engine_options(command: argparse.ArgumentParser) -> None:
    """Add --model, --device and --threads."""
    command.add_argument("--model", default="default", help="model file (default: the one in the package)")
    command.add_argument("--device", default="auto", help='"auto", "cpu", "cuda" or "cuda:N" (default: auto)')
    command.add_argument("--threads", type=int, help="CPU threads (default: all)")


def open_engine(options: argparse.Namespace) -> Engine:
    """Open the engine that these options name."""
    from segae.engine import Engine

    return Engine(options.model, options.device, options.threads)
