"""The command `dlc`: its commands, and how every ending becomes an exit status."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter
from dlc.runtime import interrupts
from dlc.runtime.failures import Error

from .. import __version__
from . import report
from .usage import explained

# name -> what it does, in the order of `dlc --help`. The module `dlc.cli.NAME` defines the function of that name, but
# for those whose module has another.
MODULES = {"report": "run_report"}
COMMANDS = {
    "check": "Check every name and shape of a spec, or the inside of a .onnx file.",
    "compile": "Write the .onnx file of a spec.",
    "data": "Show what the columns of data become, and what is likely to be wrong with them.",
    "train": "Train a spec or a compiled file.",
    "sweep": "Search for the best hyperparameters of a spec.",
    "evaluate": "Compute loss and metrics of a trained file over a data set.",
    "predict": "Compute the outputs of a file for rows of data.",
    "serve": "Answer predictions over HTTP.",
    "profile": "Measure where the time and memory of a step go.",
    "report": "Write a page on one or more runs.",
    "export": "Write only the predicting part of a file.",
    "decompile": "Recover the spec that a file was compiled from.",
    "summary": "Print a table of layers, parameters, shapes and counts.",
    "graph": "Draw the graph of a spec.",
    "grad": "Derive a loss by a parameter, step by step.",
    "fmt": "Format specs in the standard form.",
    "lsp": "Serve an editor: problems, shapes, names, formatting.",
    "explain": "Print the page of an error code.",
    "completion": "Print the script that completes commands for bash, zsh or fish.",
    "doctor": "Check the installation: versions, devices, problems.",
}


def make_app() -> App:
    app = App(
        name="dlc",
        help="State a model in a small language; get one .onnx file that predicts and trains on stock ONNX Runtime.",
        version=__version__,
        help_format="plaintext",
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,
    )
    for place, (name, purpose) in enumerate(COMMANDS.items()):
        module = MODULES.get(name, name)
        app.command(f"dlc.cli.{module}:{name}", name=name, help=purpose, sort_key=place)  # imported when it is called
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status: 0, 2 bad input, 70 our own fault, 130 interrupted."""
    if argv is None:  # a process of our own: what a compiler makes lives to the end, looking through it is for nothing
        gc.set_threshold(500_000, 50, 50)
        atexit.register(gc.freeze)
        report.complete()
    tokens = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in tokens
    try:
        status = _run(tokens)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except CycloptsError as problem:
        return report.failed(explained(problem, make_app(), list(COMMANDS), tokens), as_json)
    except Error as problem:
        return report.failed(problem, as_json)
    except KeyboardInterrupt:
        report.note("interrupted")
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as ending:  # of rich, where nobody reads on what it prints
        if not isinstance(ending.__context__, BrokenPipeError):
            raise
        return 0
    except MemoryError:
        return report.failed(
            Error("E0797", "there is not enough memory for this", help="make the model, the batch or the data smaller"),
            as_json,
        )
    except OSError as problem:
        return report.failed(_system(problem), as_json)
    except Exception as problem:
        return report.fault(problem, as_json, "--debug" in tokens)


def _run(tokens: list[str]) -> object:
    try:
        words = _standard_input_last(tokens)
        return make_app()(words, exit_on_error=False, print_error=False, result_action="return_value")
    except Exception:
        if interrupts.asked():  # which the import of another library may have turned into an error of its own
            raise KeyboardInterrupt from None
        raise


def _standard_input_last(tokens: list[str]) -> list[str]:
    """`fmt -`, which cyclopts takes for an option that it does not know, as `fmt -- -`."""
    if tokens[:1] != ["fmt"] or "-" not in tokens or "--" in tokens:
        return tokens
    return [*(token for token in tokens if token != "-"), "--", *(token for token in tokens if token == "-")]


def _system(problem: OSError) -> Error:
    place = str(problem.filename) if problem.filename is not None else None
    return Error(
        "E0796",
        (problem.strerror or str(problem) or type(problem).__name__).lower(),
        where=place,
        help="check that it is there, that you may use it, and that the disk has room",
    )
