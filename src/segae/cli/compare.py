"""The command `segae compare`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segae.cli.printing import print_table
from segae.errors import ParameterError

if TYPE_CHECKING:
    from segae.audit.review.compare import Best, Comparison, Difference

_SHOWN = 10
_HEADER = ("structure", "masks", "A", "B", "B - A", "95 % interval", "B better/worse", "p", "better")


def add_parser(commands: Any) -> None:
    """Add `segae compare` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser(
        "compare",
        help="tell which of several versions of a dataset's labels is better",
        description="Compares audits of the same scans with different labels, by the Dice that segae predicts.",
    )
    command.add_argument("outs", metavar="OUT", nargs="+", type=Path, help="folders that `segae audit -o` wrote to")
    command.add_argument("--best", type=Path, metavar="CSV", help="write the best candidate for each mask there")
    command.add_argument("--seed", type=int, default=0, help="of the bootstrap; default 0")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare two versions in pairs, or count which of more is best; write the best for each mask."""
    from segae.audit.review import compare

    outs: list[Path] = options.outs
    if len(outs) < 2:
        raise ParameterError("OUT: give at least two folders of audits.")
    names = _names(outs)
    chosen, ambiguous = compare.best(outs)
    if len(outs) == 2:
        print(f"A: {names[0]}\nB: {names[1]}\n")
        _print_comparison(compare.compare(outs[0], outs[1], options.seed))
    else:
        _print_wins(chosen, names)
        _print_pairs("left out, several masks of the structure in one case", ambiguous)
    if options.best:
        compare.write_best(options.best, chosen, names)
        print(f"\nbest of {len(outs)} for {len(chosen)} masks: {options.best}")
    return 0


def _names(outs: Sequence[Path]) -> list[str]:
    """Last parts of the paths where they tell the folders apart, else the paths."""
    short = [out.resolve().name for out in outs]
    return short if len(set(short)) == len(short) else [str(out) for out in outs]


def _print_comparison(found: Comparison) -> None:
    print_table(_HEADER, [_row(entry) for entry in (*([found.all] if found.all else []), *found.structures)])
    if found.all is None:
        print("No mask has a Dice in both.")
    else:
        print("\nBetter: the interval leaves out 0 and, for a structure, p < 0.05 (sign test, Holm).")
        print("Dice is predicted: differences are evidence of what this model prefers, not proof.")
    if found.contradicted:
        print("\nmasks that the other structures of their scan contradict")
        print_table(("kind", "A", "B"), [(kind, str(a), str(b)) for kind, (a, b) in found.contradicted.items()])
    _print_pairs("with a Dice in A only", found.only_a)
    _print_pairs("with a Dice in B only", found.only_b)
    _print_pairs("left out, several masks of the structure in one case", found.ambiguous)


def _row(entry: Difference) -> tuple[str, ...]:
    return (
        entry.structure or "all together",
        str(entry.n),
        f"{entry.mean_a:.3f}",
        f"{entry.mean_b:.3f}",
        f"{entry.mean:+.3f}",
        f"{entry.low:+.3f} to {entry.high:+.3f}",
        f"{entry.better}/{entry.worse}",
        "" if entry.structure == "" else f"{entry.p:.2g}",
        entry.verdict or "no clear difference",
    )


def _print_pairs(what: str, pairs: Sequence[tuple[str, str]]) -> None:
    if not pairs:
        return
    print(f"\n{len(pairs)} masks {what}:")
    for case, structure in pairs[:_SHOWN]:
        print(f"  {case}  {structure}")
    if len(pairs) > _SHOWN:
        print(f"  ... and {len(pairs) - _SHOWN} more")


def _print_wins(chosen: Sequence[Best], names: Sequence[str]) -> None:
    wins: Counter[tuple[str, int]] = Counter()
    for entry in chosen:
        wins["", entry.candidate] += 1
        wins[entry.structure, entry.candidate] += 1
    rows = [
        (structure or "all together", *(str(wins[structure, i]) for i in range(len(names))))
        for structure in ["", *sorted({entry.structure for entry in chosen})]
    ]
    print("masks for which a candidate has the highest predicted Dice")
    print_table(("structure", *names), rows)
