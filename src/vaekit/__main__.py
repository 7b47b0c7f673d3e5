"""The command `vaekit`, which `python -m vaekit` is too where that is not on the path."""

from __future__ import annotations

import sys

try:
    from .cli import main
except KeyboardInterrupt:  # who is interrupted from here on is told so by `main`
    print("vaekit: interrupted", file=sys.stderr)  # noqa: T201 - what else prints may not be there yet
    raise SystemExit(130) from None

if __name__ == "__main__":
    raise SystemExit(main())
