"""The command `vaekit`, which `python -m vaekit` is too where that is not on the path."""

from __future__ import annotations

import sys


def main() -> int:
    """As `cli.main`; one who is interrupted while that is imported ends as all who are."""
    try:
        from .cli import main as command
    except KeyboardInterrupt:
        print("vaekit: interrupted", file=sys.stderr)  # noqa: T201 - what else prints may not be there yet
        return 130
    return command()


if __name__ == "__main__":
    raise SystemExit(main())
