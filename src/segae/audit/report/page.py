"""``OUT/report.html``: what the audit found, worst first, to be looked at and decided on offline."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any

from segae.audit.report.pictures import Picture, draw_case
from segae.audit.results import MaskRow, Results
from segae.audit.review import decisions
from segae.audit.review.ranking import Ranked, choose, rank
from segae.audit.review.verdict import KINDS, Verdict, verdict
from segae.audit.store import load
from segae.engine import Engine
from segae.errors import ParameterError
from segae.picture import require_pillow
from segae.threads import available_threads

_log = logging.getLogger("segae")

REPORT = "report.html"
PICTURES = "report_pictures"
DEFAULT_BUDGET = 200
# Up to so many pictures lie in the page itself; more lie in a folder beside it.
MOST_INSIDE = 300
# Each holds a CT: what is gained beyond is small, since most of the time goes into the network.
_MOST_WORKERS = 4

Progress = Callable[[int, int], None]


def write_report(
    out: str | os.PathLike[str],
    budget: int | None = None,
    pictures: int = MOST_INSIDE,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the report of an audit; only the CTs of masks that get a picture are read again.

    Parameters
    ----------
    out : path
        Folder of the audit.
    budget : int, optional
        How many masks the review list holds; default 200.
    pictures : int
        How many masks get pictures, worst first, beside those of the review list; 0 for none at all. Up to 300 lie in
        the page, more in the folder ``report_pictures`` beside it. Without Pillow the page says so in their place.
    device, threads
        As for `segae.Engine`; the model is the one of the audit.
    progress : callable, optional
        Called with (masks drawn, masks to draw).

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    AuditError
        When `out` holds no audit.
    ParameterError
        For a negative number.
    ModelFileError
        When the audit's model is not where it was.
    """
    if pictures < 0:
        raise ParameterError(f"pictures: expected how many masks get pictures, 0 or more, got {pictures}.")
    results = load(out)
    ranked = rank(results)
    chosen = choose(ranked, DEFAULT_BUDGET if budget is None else budget)
    verdicts = [verdict(entry) for entry in ranked]
    drawn = _draw(results, _to_picture(ranked, chosen, pictures), verdicts, device, threads, progress)

    folder = results.out / PICTURES
    fresh = Path(tempfile.mkdtemp(prefix=".report-", dir=results.out))
    try:
        inside = len(drawn) <= MOST_INSIDE
        records = {i: _record(i, entry, None if inside else fresh) for i, entry in drawn.items()}
        page = _page(results, ranked, chosen, verdicts, records)
        (fresh / REPORT).write_text(page, encoding="utf-8", newline="\n")
        os.replace(fresh / REPORT, results.out / REPORT)  # noqa: PTH105  a reader never sees half a page
        shutil.rmtree(folder, ignore_errors=True)
        if not inside:
            fresh.chmod(0o755)
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return results.out / REPORT


def _to_picture(ranked: Sequence[Ranked], chosen: Sequence[Ranked], pictures: int) -> list[Ranked]:
    if pictures == 0:
        return []
    with_mask = [entry for entry in ranked if entry.severity != "failed" and not math.isnan(entry.mask.dice)]
    places = {entry.place for entry in [*choose(with_mask, pictures), *chosen]}
    return [entry for entry in with_mask if entry.place in places]


def _draw(
    results: Results,
    entries: Sequence[Ranked],
    verdicts: Sequence[Verdict],
    device: str,
    threads: int | None,
    progress: Progress | None,
) -> dict[int, Picture | Exception]:
    """Index in the ranking -> picture, or why there is none. Cases are drawn at once on a few threads."""
    if not entries:
        return {}
    try:
        require_pillow()
    except ParameterError as error:  # a page without pictures is worth more than none after a long audit
        _log.warning("report: no pictures. %s", error)
        return {entry.place - 1: error for entry in entries}
    cpus = threads or available_threads()
    workers = min(_MOST_WORKERS, cpus)
    engine = Engine(results.meta.get("model", "default"), device, max(1, cpus // workers))
    case: dict[str, list[MaskRow]] = {}
    for mask in results.masks:
        case.setdefault(mask.image, []).append(mask)
    by_image: dict[str, list[Ranked]] = {}
    for entry in entries:
        by_image.setdefault(entry.mask.image, []).append(entry)

    def draw(group: list[Ranked]) -> list[tuple[int, Picture | Exception]]:
        group = sorted(group, key=lambda entry: entry.mask.mask)  # a labelmap is read once
        wanted: list[tuple[MaskRow, str]] = [(entry.mask, verdicts[entry.place - 1].kind) for entry in group]
        drawn = draw_case(engine, wanted, case[group[0].mask.image])
        return [(entry.place - 1, picture) for entry, picture in zip(group, drawn, strict=True)]

    found: dict[int, Picture | Exception] = {}
    with ThreadPoolExecutor(workers, "segae-report") as pool:
        for group in pool.map(draw, by_image.values()):
            found.update(group)
            if progress is not None:
                progress(len(found), len(entries))
    failures = [error for error in found.values() if isinstance(error, Exception)]
    if failures:
        _log.warning("report: %d masks could not be drawn; the first: %s", len(failures), failures[0])
    return dict(sorted(found.items()))


def _record(index: int, picture: Picture | Exception, folder: Path | None) -> dict[str, Any]:
    """What the page knows of a picture; without a folder, the picture itself too."""
    if isinstance(picture, Exception):
        return {"error": str(picture)}
    planes = []
    for plane in picture.planes:
        if folder is None:
            source = "data:image/webp;base64," + base64.b64encode(plane.webp).decode("ascii")
        else:
            name = f"{index + 1:06d}-{'whole' if plane.marks else plane.name}.webp"
            (folder / name).write_bytes(plane.webp)
            source = f"{PICTURES}/{name}"
        planes.append(
            {"name": plane.name, "src": source, "side_mm": round(plane.side_mm, 1), "given": plane.given,
             "expected": plane.expected, "reference": plane.reference, "cross_mm": plane.cross_mm, "marks": plane.marks}
        )  # fmt: skip
    slices = picture.slices
    return {
        "planes": planes,
        "slice": picture.slice_index,
        "slices": {
            "index": [s.index for s in slices],
            "area": [_number(s.area_mm2, 1) for s in slices],
            "expected": [_number(s.expected_area_mm2, 1) for s in slices],
            "dice": [_number(s.dice) for s in slices],
        },
    }


def _page(
    results: Results,
    ranked: Sequence[Ranked],
    chosen: Sequence[Ranked],
    verdicts: Sequence[Verdict],
    records: dict[int, dict[str, Any]],
) -> str:
    data = _data(results, ranked, chosen, verdicts, sorted(records))
    parts = {
        "title": html.escape(data["title"]),
        "css": _asset("report.css"),
        "data": _script_json(data),
        "pictures": "\n".join(
            f'<script type="application/json" id="picture-{i}">{_script_json(record)}</script>'
            for i, record in records.items()
        ),
        "js": _asset("report.js"),
    }
    pieces = _asset("report.html").split("{{")
    page = [pieces[0]]
    for piece in pieces[1:]:  # one pass: what a part holds is never taken for a place to fill
        name, rest = piece.split("}}", 1)
        page += [parts[name], rest]
    return "".join(page)


def _data(
    results: Results,
    ranked: Sequence[Ranked],
    chosen: Sequence[Ranked],
    verdicts: Sequence[Verdict],
    pictured: Sequence[int],
) -> dict[str, Any]:
    """Everything but the pictures, column by column, texts that repeat only once."""
    structures, cases, flags, texts = _Numbering(), _Numbering(), _Numbering(), _Numbering()
    kind_number = {name: i for i, name in enumerate(KINDS)}
    masks = [entry.mask for entry in ranked]
    image_of = {mask.case_id: mask.image for mask in masks}
    fingerprint_of = {case.case_id: case.fingerprint for case in results.cases}
    columns = {
        "case": [cases[mask.case_id] for mask in masks],
        "structure": [structures[mask.structure] for mask in masks],
        "source": [mask.source for mask in masks],
        "name": [mask.name for mask in masks],
        "path": [texts[mask.mask] for mask in masks],
        "dice": [_number(mask.dice) for mask in masks],
        "judge": [_number(mask.judge_dice) for mask in masks],
        "adapted": [_number(mask.adapted_dice) for mask in masks],
        "reference": [_number(mask.reference_dice) for mask in masks],
        "precision": [_number(mask.precision) for mask in masks],
        "recall": [_number(mask.recall) for mask in masks],
        "volume": [_number(mask.volume_ml) for mask in masks],
        "suspicion": [_number(entry.suspicion, 2) for entry in ranked],
        "percentile": [_number(entry.percentile, 1) for entry in ranked],
        "severity": [entry.severity for entry in ranked],
        "kind": [kind_number[found.kind] for found in verdicts],
        "sentence": [texts[found.sentence] for found in verdicts],
        "flags": [[[flags[flag.name], texts[flag.detail]] for flag in entry.flags] for entry in ranked],
    }
    dataset = results.meta.get("dataset", "")
    return {
        "title": Path(dataset).name or results.out.absolute().name,
        "about": _about(results),
        "audit": hashlib.sha256(f"{dataset}\0{results.out.absolute()}".encode()).hexdigest()[:16],
        "structures": list(structures),
        "cases": [{"id": case, "image": image_of[case], "fingerprint": fingerprint_of.get(case, "")} for case in cases],
        "caseCount": len(results.cases),
        "kindNames": list(KINDS),
        "kinds": KINDS,
        "flags": list(flags),
        "texts": list(texts),
        "masks": columns,
        "chosen": [entry.place - 1 for entry in chosen],
        "pictured": list(pictured),
        "decisions": [
            [json.dumps(list(key), ensure_ascii=False, separators=(",", ":")), entry.for_page()]
            for key, entry in decisions.load(results.out).items()
        ],
    }


class _Numbering(dict[str, int]):
    """Numbers texts from 0 as they come; iterates in that order."""

    def __missing__(self, key: str) -> int:
        self[key] = len(self)
        return self[key]


def _about(results: Results) -> str:
    meta = results.meta
    model = Path(meta.get("model", "")).name
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    unfinished = "" if "finished" in meta else " The audit was not finished when this was written."
    return (
        f"{meta.get('dataset', '')} · model {model} ({meta.get('model_sha256', '')[:12]}) · segae "
        f"{meta.get('segae', '')} · report of {made}. Scores are predictions: they order masks for review, they do not "
        f"prove them right.{unfinished}"
    )


def _number(value: float, digits: int = 3) -> float | None:
    return None if math.isnan(value) else round(float(value), digits)


def _script_json(value: Any) -> str:
    """JSON that no HTML parser reads as the end of a script, whatever a file is called."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (files("segae.audit.report") / "assets" / name).read_text(encoding="utf-8")
