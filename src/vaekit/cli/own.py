"""What is made of the words of every command: the file of parts of the user's own, and paths below the user's home."""

from __future__ import annotations

import os

FLAG = "--parts"


def without_parts(given: list[str]) -> tuple[list[str], list[str]]:
    """The arguments of a command without `--parts FILE.py:NAME`, which any command takes, and what it says each time.

    >>> without_parts(["train", "digits", "--parts", "mine.py:PARTS"])
    (['train', 'digits'], ['mine.py:PARTS'])
    """
    rest, found = [], []
    words = iter(given)
    for word in words:
        if word == FLAG:
            found.append(next(words, ""))
        elif word.startswith(f"{FLAG}="):
            found.append(word.removeprefix(f"{FLAG}="))
        else:
            rest.append(word)
    return rest, found


def at_home(word: str) -> str:
    """A word of a command, `--out=~/run` with the user's home in it: shells put it into `--out ~/run` alone.

    >>> at_home("--out=~/run") == "--out=" + os.path.expanduser("~/run"), at_home("--set=a=~/b"), at_home("~=b")
    (True, '--set=a=~/b', '~=b')
    """
    option, _, value = word.partition("=")
    tilde = option.startswith("--") and value.startswith("~")
    return f"{option}={os.path.expanduser(value)}" if tilde else word
