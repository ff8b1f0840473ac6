"""A bar with the rate and the time left, where a person looks; nothing in logs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_progress(total: int, done: int, wanted: bool) -> Iterator[Callable[[int], None]]:
    """Show how far a run is.

    Parameters
    ----------
    total, done : int
        Cases, and those that an earlier run finished.
    wanted : bool
        False for no bar in any case; there is none without a terminal, nor without tqdm.

    Yields
    ------
    advance : callable
        To be called with the number of masks of each case that is finished.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        wanted = False
    if not wanted or not sys.stderr.isatty():
        yield lambda masks: None  # noqa: ARG005
        return
    scored = 0
    with tqdm(total=total, initial=done, unit="case", dynamic_ncols=True, file=sys.stderr) as bar:

        def advance(masks: int) -> None:
            nonlocal scored
            scored += masks
            bar.set_postfix_str(f"{scored} masks", refresh=False)
            bar.update()

        yield advance
