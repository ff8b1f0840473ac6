"""Words of adapted models, brought into an audit that is done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from segae.audit.results import Results
from segae.audit.scoring.weighing import with_adapted
from segae.audit.store import Store, load
from segae.audit.tables import write_tables
from segae.recipe import ModelCard


def add_adapted(out: str | os.PathLike[str], adapted: Mapping[tuple[str, str], float], card: ModelCard) -> Results:
    """Put what adapted models predict into an audit's results and tables, in the place of the judge's Dice.

    Masks that are judged anew by a later run, because their files changed, lose it.

    Parameters
    ----------
    out : path
        Folder of the audit.
    adapted : mapping
        (case, structure) -> Dice; what an earlier call brought is replaced.
    card : ModelCard
        Of the model of the audit.

    Raises
    ------
    AuditError
        When `out` holds no audit, is in use, or the disk is full; nothing is changed then.
    """
    found = load(out)
    with Store(Path(out)) as store:
        store.weigh(with_adapted(found.masks, adapted, card))
        found = load(out)
        write_tables(found)
    return found
