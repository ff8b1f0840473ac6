"""What a dataset's names and values mean: by name through the registry, never by number alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from segae import structures
from segae.datasets.case import MaskFile
from segae.errors import ParameterError, UnknownStructureError
from segae.label_names import read_header, read_table
from segae.vocabularies import Vocabulary, recognise, vocabularies

# Not a label set: it asks for the names that a file carries itself, which are looked for anyway.
_IN_THE_HEADER = "totalsegmentator"


class Names:
    """Dataset's name -> structure, with the user's word first and what nobody knows counted.

    Parameters
    ----------
    given : dict, path or str, optional
        {dataset's name: structure}, null for names to be left out; {value: name}, {name: value} or {name: [values]} for
        labelmaps without names; a JSON file that holds one of these or nnU-Net's dataset.json; or a label set of
        `segae.structures.schemes` or another vocabulary, such as "tg263".

    Attributes
    ----------
    labels : dict
        Name -> values of a labelmap, as given; empty where nobody said.
    silent : set of int
        Values that the user leaves out without a word.
    problems : list of str
        What of `given` is not understood.
    """

    def __init__(self, given: Mapping[str, object] | Mapping[int, str] | str | Path | None = None) -> None:
        self.labels: dict[str, tuple[int, ...]] = {}
        self.silent: set[int] = set()
        self.problems: list[str] = []
        self._recognised: dict[frozenset[str], tuple[Vocabulary, ...]] = {}
        self._used: tuple[Vocabulary, ...] = ()
        self._chosen = isinstance(given, str) and given in vocabularies()
        self._meant: dict[str, str | None] = {}
        self._known: dict[tuple[str, str, tuple[str, ...]], str | None] = {}
        self._unknown: dict[str, tuple[int, str]] = {}
        if given is None or given == _IN_THE_HEADER:
            return
        if self._chosen:
            vocabulary = vocabularies()[str(given)]
            self._used = (vocabulary,)
            self.labels = {name: (value,) for value, name in vocabulary.labels.items()}
        elif given in structures.schemes():
            self.labels = {name: (value,) for value, name in structures.labels(str(given)).items()}
        else:
            self._take(given)

    def _take(self, given: Mapping[str, object] | Mapping[int, str] | str | Path) -> None:
        if isinstance(given, str) and not Path(given).suffix and not Path(given).exists():
            raise ParameterError(
                f"names: {given!r} is no label set and no file. Expected a JSON file such as "
                f'{{"my liver": "liver", "junk": null}} or {{"1": "liver"}}, or one of {", ".join(_choices())}.'
            )
        table = read_table(given)
        self.labels, self.silent, self.problems = table.labels, table.silent, table.problems
        for name, meaning in table.meanings.items():
            try:
                self._meant[name] = None if meaning is None else structures.get(meaning).name
            except UnknownStructureError as error:
                raise ParameterError(f"names: {name!r} is mapped to {meaning!r}: {error}") from error

    @property
    def unknown(self) -> dict[str, tuple[int, str]]:
        """Names asked for that mean no known structure -> (how often, advice), the most frequent first."""
        return dict(sorted(self._unknown.items(), key=lambda item: -item[1][0]))

    def recognise(self, used: Iterable[str]) -> None:
        """Look whether all names of the dataset are those of a public one, whose abbreviations then count."""
        if self._chosen:
            return
        names = frozenset(used)
        if names not in self._recognised:
            self._recognised[names] = tuple(recognise(names))
        self._used = self._recognised[names]

    def structure(self, name: str, of: Literal["file", "label", "user"] = "file") -> str | None:
        """Canonical name of the structure that the dataset calls `name`, None if that is unknown or left out.

        `of` says what is called so: a file, a label, or what a person wrote down as the structure.
        """
        if name in self._meant:
            return self._meant[name]
        key = name, of, tuple(vocabulary.name for vocabulary in self._used)
        if key not in self._known:
            try:
                if of == "user":
                    self._known[key] = structures.get(name).name
                else:
                    known = structures.meaning_in_dataset(name, self._used, of_file=of == "file")
                    self._known[key] = known.name
            except UnknownStructureError as error:
                self._known[key] = None
                self._unknown.setdefault(name, (0, _advice(name, str(error))))
        if self._known[key] is None:
            count, advice = self._unknown[name]
            self._unknown[name] = (count + 1, advice)
        return self._known[key]

    def parts(self, path: Path, labels: Mapping[str, Sequence[int]]) -> list[MaskFile]:
        """The structures of a labelmap whose values `labels` names; unknown ones are left out and counted."""
        before = self._used
        self.recognise(labels)
        known = {name: self.structure(name, "label") for name in labels}
        self._used = before
        return [
            MaskFile(structure, path, tuple(labels[name]), name, may_be_absent=True)
            for name, structure in known.items()
            if structure is not None
        ]

    def parts_of_file(self, path: Path) -> list[MaskFile]:
        """The structures of a labelmap as the user said, or else as the file itself does; empty where nobody did."""
        return self.parts(path, self.labels or read_header(path).labels)


def _choices() -> list[str]:
    """Label sets without TotalSegmentator's further tasks, of which there are too many to list."""
    return [name for name in structures.schemes() if not name.startswith("totalsegmentator_") or name[-2] == "v"]


def _advice(name: str, error: str) -> str:
    told = error.removeprefix(f"structure={name!r} ")
    if "which side: " in told:
        return told.partition("which side: ")[2]
    if not told.startswith("is not a known"):
        return told
    closest = structures.close_matches(name, 3)
    return f"closest: {', '.join(closest)}" if closest else "nothing is spelled like it"
