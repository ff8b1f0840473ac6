"""`Found`: what a look at a dataset brought, and what of it cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from segae.datasets.case import Case

_SHOWN = 8

# What to do about labelmaps without names.
NO_NAMES = 'say so with --names: a file such as {"1": "liver"}, or a label set such as flare22 or totalsegmentator_v2'


@dataclass(frozen=True)
class Found:
    """The cases of a dataset.

    Attributes
    ----------
    layout : str
        For people: "TotalSegmentator", "nnU-Net raw", ...
    root : Path
        The dataset's folder or table.
    cases : list of Case
        In the order of their ids.
    problems : list of str
        What was found and cannot be used, one sentence each.
    unknown : dict
        Name in the dataset that means no known structure -> (how often, advice).
    notes : list of str
        What was taken although it is not spelled as the layout says, one sentence each.
    missing : list of str
        Files that a table names and that are not there, with the line.
    """

    layout: str
    root: Path
    cases: list[Case]
    problems: list[str]
    unknown: dict[str, tuple[int, str]]
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def describe(self) -> Iterator[str]:
        """Lines for people: what was found, then what was not."""
        masks = Counter(mask.structure for case in self.cases for mask in case.masks)
        yield f"{self.root}: {self.layout}"
        yield f"  {len(self.cases)} cases, {sum(masks.values())} masks of {len(masks)} structures"
        yield from _indented(f"{name}: {count}" for name, count in masks.most_common())
        without_image = [case.id for case in self.cases if case.image is None]
        without_masks = [case.id for case in self.cases if not case.masks]
        for what, ids in (("CT", without_image), ("known mask", without_masks)):
            if ids:
                yield f"  {len(ids)} cases have no {what}:"
                yield from _indented(ids)
        if self.unknown:
            yield f"  {len(self.unknown)} names mean no known structure (map them with --names FILE):"
            yield from _indented(f"{name}, {count} times: {advice}" for name, (count, advice) in self.unknown.items())
        if self.notes:
            yield f"  {len(self.notes)} remarks:"
            yield from _indented(self.notes)
        if self.missing:
            yield f"  {len(self.missing)} files are not there:"
            yield from _indented(self.missing)
        if self.problems:
            yield f"  {len(self.problems)} files or folders cannot be used:"
            yield from _indented(self.problems)


def _indented(lines: Iterator[str] | list[str]) -> Iterator[str]:
    every = list(lines)
    yield from (f"    {line}" for line in every[:_SHOWN])
    if len(every) > _SHOWN:
        yield f"    ... and {len(every) - _SHOWN} more"
