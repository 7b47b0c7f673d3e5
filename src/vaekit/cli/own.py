"""The option of every command that names a file of parts of the user's own."""

from __future__ import annotations

FLAG = "--parts"


def without_parts(given: list[str]) -> tuple[list[str], str | None]:
    """The arguments of a command without `--parts FILE.py:NAME`, which any command takes, and what it says.

    >>> without_parts(["train", "digits", "--parts", "mine.py:PARTS"])
    (['train', 'digits'], 'mine.py:PARTS')
    """
    rest, found = [], None
    words = iter(given)
    for word in words:
        if word == FLAG:
            found = next(words, "")
        elif word.startswith(f"{FLAG}="):
            found = word.removeprefix(f"{FLAG}=")
        else:
            rest.append(word)
    return rest, found
