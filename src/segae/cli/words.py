"""Messages of the library in the command line's words: ``label=255`` is said ``--label 255`` here."""

from __future__ import annotations

import argparse
import re

_ARGUMENT = re.compile(r"\b([a-z]\w*)=(?=[\w'\"(.-])('[^']*'|\"[^\"]*\"|[\w.-]+)?")
_BARE = re.compile(r"\b([a-z]\w*)=(?=[\s?.,;:)]|$)")
_QUOTES = "'\""
_FUNCTIONS = {"assess_labels": "`segae labels`", "without label ": "without --label "}
_BEGIN = re.compile(r"([a-z]\w*)(?:, ([a-z]\w*))?: ")


def in_command_words(text: str, words: dict[str, str]) -> str:
    """Say an error's message as the user of a command would.

    Parameters
    ----------
    text : str
    words : dict
        Name of an option in the library -> what the command calls it: "--label", "MASK". Others stay as they are.
    """

    def argument(match: re.Match[str]) -> str:
        said, value = words.get(match[1], ""), match[2] or ""
        if not said:
            return match[0]
        value = "" if value == "True" else value  # a switch
        return f"{said} {value.strip(_QUOTES) if said.startswith('-') else value}".strip()

    begin = _BEGIN.match(text)
    if begin and all(name in words for name in begin.groups() if name):
        said = ", ".join(words[name] for name in begin.groups() if name)
        text = f"{said}: {text[begin.end() :]}"
    for said, here in _FUNCTIONS.items():
        text = text.replace(said, here)
    text = _ARGUMENT.sub(argument, text)
    return _BARE.sub(lambda match: words.get(match[1], match[0]), text)


def words_of(parser: argparse.ArgumentParser, command: str) -> dict[str, str]:
    """What a command calls its options, by the name that they have in the library."""
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    words: dict[str, str] = {}
    for action in subparsers.choices[command]._actions:
        long = [option for option in action.option_strings if option.startswith("--")]
        words[action.dest] = (long or [str(action.metavar or action.dest)])[0]
    if "named" in words:
        words["structure"] = words.pop("named")
    if "output" in words:
        words["out"] = words["output"]
    return words
