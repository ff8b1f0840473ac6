"""What a dataset's names and values mean: by name through the registry, never by number alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from segae import structures
from segae.errors import ParameterError, UnknownStructureError

_SCHEMES = ("totalsegmentator_v1", "totalsegmentator_v2", "dap")


class Names:
    """Dataset's name -> structure, with the user's word first and what nobody knows counted.

    Parameters
    ----------
    given : dict, path or str, optional
        {dataset's name: structure}, null for names to be left out; {value: name} or {name: value} for labelmaps
        without names; a JSON file that holds one of these or nnU-Net's dataset.json; or a scheme of
        `segae.structures.labels`.

    Attributes
    ----------
    values : dict
        Value of a labelmap -> name, as given; empty where nobody said.
    """

    def __init__(self, given: Mapping[str, object] | Mapping[int, str] | str | Path | None = None) -> None:
        self.values: dict[int, str] = {}
        self._meant: dict[str, str | None] = {}
        self._known: dict[str, str | None] = {}
        self._unknown: dict[str, tuple[int, str]] = {}
        for name, meaning in _table(given).items():
            self._add(str(name), meaning)

    def _add(self, name: str, meaning: object) -> None:
        if name.lstrip("-").isdigit() and isinstance(meaning, str):
            self.values[int(name)] = meaning
        elif isinstance(meaning, int) and not isinstance(meaning, bool):
            self.values[meaning] = name
        elif meaning is None or meaning == "":
            self._meant[name] = None
        elif isinstance(meaning, str):
            try:
                self._meant[name] = structures.get(meaning).name
            except UnknownStructureError as error:
                raise ParameterError(f"names: {name!r} is mapped to {meaning!r}: {error}") from error
        else:
            raise ParameterError(
                f"names: {name!r} is mapped to {meaning!r}; expected a structure, a value of a labelmap, or null."
            )
        self.values.pop(0, None)

    @property
    def unknown(self) -> dict[str, tuple[int, str]]:
        """Names asked for that mean no known structure -> (how often, advice), the most frequent first."""
        return dict(sorted(self._unknown.items(), key=lambda item: -item[1][0]))

    def structure(self, name: str) -> str | None:
        """Canonical name of the structure that the dataset calls `name`, None if that is unknown or left out."""
        if name in self._meant:
            return self._meant[name]
        if name not in self._known:
            try:
                self._known[name] = structures.get(name).name
            except UnknownStructureError as error:
                self._known[name] = None
                self._unknown[name] = (0, _advice(name, str(error)))
        if self._known[name] is None:
            count, advice = self._unknown[name]
            self._unknown[name] = (count + 1, advice)
        return self._known[name]


def _advice(name: str, error: str) -> str:
    if "which side" in error:
        return error.partition("which side: ")[2]
    closest = structures.close_matches(name, 3)
    return f"closest: {', '.join(closest)}" if closest else "nothing is spelled like it"


def _table(given: Mapping[str, object] | Mapping[int, str] | str | Path | None) -> Mapping[str, object]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): meaning for name, meaning in given.items()}
    if given in _SCHEMES:
        return {str(value): name for value, name in structures.labels(str(given)).items()}
    try:
        table = json.loads(Path(given).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"names: {given} cannot be read ({error}). Expected one of {', '.join(_SCHEMES)}, or a JSON file such as "
            f'{{"my liver": "liver", "junk": null}} or {{"1": "liver"}}.'
        ) from error
    table = table.get("labels", table) if isinstance(table, dict) else table
    if not isinstance(table, dict):
        raise ParameterError(f"names: {given} holds no table of names; expected {{name: structure}}.")
    return table
