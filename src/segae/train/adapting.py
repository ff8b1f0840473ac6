"""A dataset judges itself: the judge is fine-tuned on a dataset's own masks, fold by fold, and judges them anew.

Every mask is judged by a model that learned from none of its case's masks. Labels are taken to be right more often than
not; in the second round, masks that looked wrong in the first teach less (the idea of confident learning,
arXiv:1911.00068, for masks).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import logging
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from segae import Engine, structures
from segae.datasets import find_cases
from segae.errors import ParameterError, SegaeError
from segae.session import card_of, find_model
from segae.threads import available_threads
from segae.train import data
from segae.train.feed import Ring
from segae.train.fit import Settings, fit
from segae.train.int8 import add_int8, samples_of
from segae.train.ship import ship

log = logging.getLogger("segae.train")

Worth = dict[str, dict[str, float]]

LEAST_SOUND = 5
"""Masks of a structure that look right, below which the given model's word stands."""
ROUNDS = 2
HARD_FLAGS = frozenset({"empty", "wrong_side", "gaps", "truncated", "not_ct", "outside_body"})
"""Flags of masks that teach nothing."""
# Stands in the place of a flag where the given model does not know the structure: its label is taken at its word.
_NEW = "unknown_to_the_model"
# A mask looks right from this predicted Dice on.
_SOUND_DICE = 0.5
# Between these predicted Dice, what a mask teaches in the second round rises from nothing to all.
_TEACHES_DICE = (0.4, 0.8)
_SETTINGS = Settings(steps=4000, rate=1e-3, ring=12, pull=1.0, average=0.99)


@dataclass(frozen=True)
class Word:
    """What a model said of a mask: predicted Dice in [0, 1] (nan for an empty one), and names of flags."""

    case: str
    structure: str
    dice: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class AdaptedMask:
    """One mask of the dataset.

    Attributes
    ----------
    case, structure : str
    default, adapted : float
        Predicted Dice of the given model (nan where it does not know the structure), and of the adapted one that did
        not see the case.
    score : float
        The one to rank by: `adapted`, but `default` where too few sound masks taught the structure.
    by : str
        "adapted" or "default": whose word `score` is.
    fold : int
        Model that judged it, from 1.
    """

    case: str
    structure: str
    default: float
    adapted: float
    score: float
    by: str
    fold: int


@dataclass(frozen=True)
class Adapted:
    """What `adapt` found and wrote.

    Attributes
    ----------
    masks : tuple of AdaptedMask
        From the lowest score up; empty masks, which have none, come first.
    models : tuple of Path
        One a fold; and, last, the one that learned from all cases.
    kept : dict
        Structures for which the given model's word stands -> how many sound masks there are.
    unread : dict
        Cases that could not be read -> why.
    new : tuple of str
        Structures that the registry did not know, and that the adapted models know.
    """

    masks: tuple[AdaptedMask, ...]
    models: tuple[Path, ...]
    kept: dict[str, int]
    unread: dict[str, str]
    new: tuple[str, ...] = ()


def adapt(
    dataset: Path | str,
    out: Path | str,
    model: Path | str = "default",
    *,
    folds: int = 3,
    minutes: float = 30.0,
    device: str = "auto",
    threads: int | None = None,
    settings: Settings = _SETTINGS,
) -> Adapted:
    """Adapt a model to a dataset, and judge every mask by a model that did not see its case.

    A call that was killed goes on where it stood when it is repeated; a call with other files, another model or other
    numbers begins anew.

    Parameters
    ----------
    dataset : path
        Any dataset that `segae audit` reads, or a folder with ``cases.csv``.
    out : path
        ``adapt/`` takes samples and checkpoints, ``models/`` the adapted models, ``adapted.csv`` the masks.
    model : path or "default"
        Model file that `segae.train.export` wrote.
    folds : int
        From 2 to the number of cases.
    minutes : float
        Of learning, shared out among folds, rounds and the model of all cases. Reading, cutting the first samples and
        judging come on top.
    device : str
        "auto", "cpu", "cuda" or "cuda:N", for learning and judging.
    threads : int, optional
        Of the network; default: one less than there are CPUs, for one process cuts samples.
    settings : Settings
        Of each run; `leave_out`, `seconds` are set here.

    Raises
    ------
    ParameterError
        When no structure has five masks that look right, or `folds` or `minutes` are out of range.
    """
    out, origin = Path(out), find_model(model)
    if not minutes > 0:
        raise ParameterError(f"minutes: expected more than 0, got {minutes}. A fold wants 3 minutes or more.")
    _register_new(Path(dataset))
    cases = data.cases(Path(dataset), "train")
    if not 2 <= folds <= len(cases):
        raise ParameterError(
            f"folds: expected 2 or more, and no more than there are cases with image and masks ({len(cases)}), "
            f"got {folds}. Two cases are the least: none is judged by a model that learned from it."
        )
    seconds = 60 * minutes / (ROUNDS * folds + 1)
    settings = replace(settings, seconds=seconds)
    work = out / "adapt"
    _begin(work, {"cases": _files(cases), "model": _digest(origin), "folds": folds, "settings": asdict(settings)})

    words, unread = _words_of(cases, Engine(origin, device), work / "default.csv")
    if unread:
        log.warning("%d cases cannot be read and are left out: %s", len(unread), ", ".join(unread))
    sound = _sound(words)
    kept = {name: sound[name] for name in sorted({w.structure for w in words}) if sound[name] < LEAST_SOUND}
    if kept.keys() >= {word.structure for word in words}:
        raise ParameterError(
            f"dataset: no structure has {LEAST_SOUND} masks that look right (a predicted Dice of {_SOUND_DICE} or more "
            f"and no hard flag), so there is nothing to learn from; the scores of the model as it is stand."
        )
    turn = _Turn(Path(dataset), work, origin, settings, device, threads or max(available_threads() - 1, 1))
    fold_of = _folds([case.name for case in cases if case.name not in unread], folds)
    judged = words
    left = ROUNDS * folds + 1
    for number in range(1, ROUNDS + 1):
        worth = _worth(words, judged if number > 1 else None)
        found: list[Word] = []
        for fold in range(1, folds + 1):
            log.info(
                "round %d, fold %d of %d: at most %.0f min of learning left", number, fold, folds, left * seconds / 60
            )
            mine = [case for case in cases if fold_of.get(case.name) == fold]
            file = out / "models" / f"fold{fold}.onnx"
            where = work / f"round{number}" / f"fold{fold}"
            found += turn.judge(where, file, mine, worth, tuple(unread))
            left -= 1
        judged = found
    everything = out / "models" / "all.onnx"
    turn.learn(work / "all", everything, (), _worth(words, judged), tuple(unread))
    masks = _masks(words, judged, kept, fold_of)
    new = tuple(sorted({word.structure for word in words if _NEW in word.flags}))
    _write(out / "adapted.csv", masks)
    models = (*(out / "models" / f"fold{fold}.onnx" for fold in range(1, folds + 1)), everything)
    return Adapted(tuple(masks), models, kept, unread, new)


@dataclass(frozen=True)
class _Turn:
    """Learning from all but some of the cases, and judging those."""

    dataset: Path
    work: Path
    origin: Path
    settings: Settings
    device: str
    threads: int

    def judge(
        self, where: Path, file: Path, held: list[data.Case], worth: Worth, unread: tuple[str, ...]
    ) -> list[Word]:
        """Words on the cases held out, by a model that is learned first unless it was already."""
        said = where / "words.csv"
        if not said.exists():
            self.learn(where, file, tuple(case.name for case in held), worth, unread)
            _words_of(held, Engine(file, self.device), said)
        return _read(said)

    def learn(self, where: Path, file: Path, leave_out: tuple[str, ...], worth: Worth, unread: tuple[str, ...]) -> None:
        """Write a model that learned from all cases but those left out; nothing where that is done."""
        done = where / "done"
        if done.exists() and file.exists():
            return
        if not any(share > 0 for case, masks in worth.items() if case not in leave_out for share in masks.values()):
            raise ParameterError(
                "dataset: no mask of the other folds looks right to the model of the first round, so there is nothing "
                "to learn from; the scores of the model as it is stand."
            )
        settings = replace(self.settings, leave_out=(*leave_out, *unread))
        checkpoint = fit(
            self.dataset,
            where,
            settings,
            threads=self.threads,
            initial=self.origin,
            device=self.device,
            worth=worth,
        )
        # Its own masks cannot calibrate it: nobody knows whether they are right.
        ship(checkpoint, file, file.stem, [], self.origin)
        add_int8(file, samples_of(Ring(where / "ring", settings.ring)))
        shutil.rmtree(where / "ring")
        done.touch()


def _begin(work: Path, plan: Mapping[str, object]) -> None:
    """Keep what an earlier call with the same plan left; remove what another one did."""
    text = json.dumps(plan, indent=1, sort_keys=True)
    file = work / "plan.json"
    if work.exists() and not (file.exists() and file.read_text(encoding="utf-8") == text):
        log.info("files, model or numbers differ from those of the earlier adaptation: it begins anew")
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _files(cases: Sequence[data.Case]) -> list[list[object]]:
    """Name, size and time of every file of the cases, by which a corrected mask is noticed."""
    found: list[list[object]] = []
    for case in cases:
        labels = [case.labelmap] if case.labelmap is not None else [mask.path for mask in case.masks]
        for path in dict.fromkeys([case.image, *labels]):
            stat = path.stat()
            found.append([case.name, str(path), stat.st_size, stat.st_mtime_ns])
    return found


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _folds(names: Iterable[str], folds: int) -> dict[str, int]:
    """Case -> its fold from 1, alike in every call: by digests of the names, as evenly as can be."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return {name: i % folds + 1 for i, name in enumerate(order)}


def _words_of(cases: Iterable[data.Case], engine: Engine, file: Path) -> tuple[list[Word], dict[str, str]]:
    """What a model says of all masks of the cases, kept in a file; and the cases that cannot be read."""
    failed = file.with_suffix(".json")
    if not file.exists():
        words: list[Word] = []
        unread: dict[str, str] = {}
        for case in cases:
            try:
                words += _judge(engine, data.load(case))
            except SegaeError as error:
                unread[case.name] = str(error)
        failed.write_text(json.dumps(unread), encoding="utf-8")
        _write(file, words)
    return _read(file), json.loads(failed.read_text(encoding="utf-8"))


def _judge(engine: Engine, scan: data.LabelledScan) -> list[Word]:
    said, known = [], card_of(engine.model).structures
    for name in sorted(scan.parts):
        if name not in known:
            said.append(Word(scan.case, name, 1.0, (_NEW,)))
            continue
        word = engine.assess(scan.image, scan.mask(name).view("uint8"), name, spacing=scan.spacing_mm, reference=None)
        said.append(Word(scan.case, name, word.dice, tuple(flag.name for flag in word.flags)))
    return said


def _register_new(dataset: Path) -> None:
    """Register names that the registry does not know and that enough masks bear; a folder with cases.csv has none."""
    if any((folder / "cases.csv").exists() for folder in (dataset, dataset / "data")):
        return
    found = find_cases(dataset).unknown
    for name, (count, _) in found.items():
        if count >= LEAST_SOUND:
            with contextlib.suppress(ParameterError):  # no name at all
                log.info("%s: a new structure, learned from this dataset alone", structures.register(name).name)


def _sound(words: Iterable[Word]) -> Counter[str]:
    """Number of masks that look right, by structure."""
    return Counter(word.structure for word in words if word.dice >= _SOUND_DICE and not HARD_FLAGS & set(word.flags))


def _worth(words: Iterable[Word], judged: Iterable[Word] | None) -> Worth:
    """How much every mask teaches: nothing with hard flags; else all, or what the last round thinks of it.

    Of new structures a round knows too little to think anything.
    """
    low, high = _TEACHES_DICE
    thought = None if judged is None else {(word.case, word.structure): word.dice for word in judged}
    found: Worth = {}
    for word in words:
        dice = high if thought is None or _NEW in word.flags else thought.get((word.case, word.structure), math.nan)
        hard = bool(HARD_FLAGS & set(word.flags)) or math.isnan(word.dice) or math.isnan(dice)
        worth = 0.0 if hard else min(max((dice - low) / (high - low), 0.0), 1.0)
        found.setdefault(word.case, {})[word.structure] = worth
    return found


def _masks(
    words: Iterable[Word], judged: Iterable[Word], kept: Mapping[str, int], fold_of: Mapping[str, int]
) -> list[AdaptedMask]:
    adapted = {(word.case, word.structure): word.dice for word in judged}
    masks = []
    for word in words:
        said = adapted.get((word.case, word.structure), math.nan)
        default = math.nan if _NEW in word.flags else word.dice
        by = "default" if word.structure in kept or math.isnan(said) else "adapted"
        score = default if by == "default" else said
        masks.append(AdaptedMask(word.case, word.structure, default, said, score, by, fold_of[word.case]))
    return sorted(masks, key=lambda mask: (-1.0 if math.isnan(mask.score) else mask.score, mask.case, mask.structure))


def _write(file: Path, rows: Sequence[Word] | Sequence[AdaptedMask]) -> None:
    """Write a table, visible only when complete."""
    part = file.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        kind = type(rows[0]) if rows else Word
        writer.writerow(kind.__dataclass_fields__)
        for row in rows:
            values = asdict(row).values()
            writer.writerow([";".join(v) if isinstance(v, tuple) else v for v in values])
    part.replace(file)


def _read(file: Path) -> list[Word]:
    with file.open(newline="", encoding="utf-8") as stream:
        return [
            Word(row["case"], row["structure"], float(row["dice"]), tuple(filter(None, row["flags"].split(";"))))
            for row in csv.DictReader(stream)
        ]
