"""What findings across structures mean for the assessments of the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segae.anatomy.findings import Finding
from segae.assessment import Assessment, Flag


def add_findings(assessments: Sequence[Assessment], findings: Sequence[Finding]) -> list[Assessment]:
    """Give each mask the flags that concern it, and let its Dice fall where a finding is certain.

    `dice`, `precision` and `recall` fall to what such a mistake leaves at most (`Finding.ceiling`); `raw`,
    `judge_dice` and the slices stay what the network said.

    Parameters
    ----------
    assessments : sequence of Assessment
        One a structure.
    findings : sequence of Finding

    Returns
    -------
    list of Assessment, in the order given
    """
    return [_with(assessment, findings) for assessment in assessments]


def _with(assessment: Assessment, findings: Sequence[Finding]) -> Assessment:
    mine = [finding for finding in findings if assessment.structure in finding.structures]
    if not mine or assessment.bbox is None:
        return assessment
    flags = (*assessment.flags, *(Flag(finding.kind, finding.detail) for finding in mine))
    dice, precision, recall = assessment.dice, assessment.precision, assessment.recall
    for finding in mine:
        if finding.certain:
            # nan stays nan: min returns its first argument unless the second is smaller.
            dice = min(dice, finding.ceiling.dice)
            precision = min(precision, finding.ceiling.precision)
            recall = min(recall, finding.ceiling.recall)
    interval = assessment.dice_interval
    if interval is not None:
        interval = (min(interval[0], dice), min(interval[1], dice))
    return replace(assessment, flags=flags, dice=dice, precision=precision, recall=recall, dice_interval=interval)
