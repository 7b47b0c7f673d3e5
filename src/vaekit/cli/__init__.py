"""The command line: each command calls public functions of the library and holds no logic of its own.

Nothing of the library is imported until a command needs it: `vaekit --help` does not wait for torch.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer
from typer.main import get_command

from ..errors import LeftOutWarning, WrongKindError
from ..settings import standing
from ..show.terminal import Works
from ..system.progress import shown
from . import asking, exporting, listing, many, sharing, tables, training
from .ending import (
    InterruptedTrainingError,
    calm_threads,
    check_here,
    discard_output,
    fail,
    is_out_of_memory,
    message,
    one_of_several,
    one_voice,
    out_of_memory,
    output,
    program,
    termination,
)
from .own import FLAG, at_home, without_parts

if TYPE_CHECKING:
    from ..spec.parts import Parts

__all__ = ["app", "main"]

app = typer.Typer(
    name="vaekit",
    help="Variational autoencoders: train, score, sample, encode. Every command takes --parts FILE.py:NAME, parts of "
    "your own by name, from a file that is run.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, in half the time
)
COMMANDS: dict[Callable[..., None], str] = {
    training.train: "Train a model, or go on with one.",
    asking.evaluate: "Score a run on its data, or on new ones.",
    asking.sample: "Draw from a model.",
    asking.reconstruct: "Data, and what they are decoded to.",
    asking.encode: "Write latent codes.",
    tables.impute: "Fill the holes of a table.",
    tables.detect: "Find the odd rows of a table, and why.",
    tables.synthesize: "Make up rows of a table.",
    asking.plot: "Draw a picture of a run.",
    many.score: "Score the rows of many files.",
    training.refit_prior: "Fit a new prior to the codes of a run.",
    many.sweep: "Train under many settings, with several seeds, and compare.",
    exporting.explore: "Look at a run's latent space in a browser.",
    exporting.export: "Write a run for another program.",
    sharing.push: "Put a run on the Hugging Face Hub.",
    training.compare: "Compare runs on the same data.",
    listing.recipes: "List recipes, or print one to edit.",
    listing.datasets: "List the named datasets.",
    listing.parts: "List the parts that models are made of.",
}
"""The commands, in the order in which they are listed, with what is said of each there."""
for _command, _said in COMMANDS.items():
    app.command(_command.__name__.replace("_", "-"), short_help=_said)(_command)


def main(argv: Sequence[str] | None = None, parts: Parts | None = None) -> int:
    """Run a command and return its exit status. `parts` are the named parts, for a program that brings some of its own.

    0: done. 2: an error of the user's, in one line on standard error. 130: interrupted (Ctrl-C). 143: terminated
    (kill), 129: the terminal has closed, which a training takes as it takes Ctrl-C. 1: another of the processes that
    torchrun started is lost, or who reads the output of a training. With VAEKIT_DEBUG set, errors keep their traceback.
    """
    given, own = without_parts([at_home(each) for each in (sys.argv[1:] if argv is None else argv)])
    calm_threads()
    atexit.register(gc.freeze)  # else Python looks for cycles in all of torch once more at its end: a second or two
    with output(), one_voice(), termination() as ends, standing("command"), shown(Works()), warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOutWarning)  # `train` prints it among what it says of the data
        if len(own) > 1:
            also = "its table may take up the parts of others: from other import PARTS"
            return fail(f"{FLAG} is given {len(own)} times; accepted: one file; {also}", 2)
        return _status(given, own[0] if own else parts, ends)


@functools.cache  # it takes longer than many a command
def _program() -> Callable[..., int | None]:
    """What reads a command's words and runs it."""
    return get_command(app)


def _status(given: list[str], parts: Parts | str | None, ends: list[tuple[str, int]]) -> int:
    if one_of_several() and not {"train", "--help"} & set(given):
        return fail(f"vaekit {' '.join(given[:1])} is of one process; torchrun starts several for: vaekit train", 2)
    try:
        check_here()
        status = _program()(given or ["--help"], prog_name="vaekit", standalone_mode=False, obj=parts)
        sys.stdout.flush()  # a full disk shows here, not at exit
        # typer makes an interrupt a status, and leaves it to us to say so.
        return fail(*ends[-1]) if status == 130 else status or 0
    except InterruptedTrainingError as error:
        word, status = (error.lost, 1) if error.lost and len(ends) == 1 else ends[-1]
        again = [*program(), *(error.go_on or given), *([FLAG, parts] if isinstance(parts, str) else [])]
        return fail(f"{word}; go on with: {shlex.join(again)}", status)
    except KeyboardInterrupt:
        return fail(*ends[-1])
    except (SystemExit, BrokenPipeError):
        # The reader of our output has had enough (typer's exit, or ours); nothing more may be written, at exit neither.
        discard_output()
        return 0
    except (typer.TyperException, ValueError, WrongKindError, ArithmeticError, OSError) as error:
        if os.environ.get("VAEKIT_DEBUG"):
            raise
        return fail(message(error, _help(given)), 2)
    except (MemoryError, RuntimeError, TypeError) as error:
        if os.environ.get("VAEKIT_DEBUG") or not is_out_of_memory(error):
            raise
        return fail(out_of_memory(given), 2)


def _help(given: Sequence[str]) -> str:
    """The help of the command that was given, if one was."""
    commands = {each.name for each in app.registered_commands}
    return f"vaekit {given[0]} --help" if given and given[0] in commands else "vaekit --help"
