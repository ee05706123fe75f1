"""Mistakes of the command line, in our own form: what was meant comes first, and alone where it is sure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import get_args

from cyclopts import App, CycloptsError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
)
from dlc.runtime.failures import Error
from dlc.runtime.nearest import nearest


def explained(problem: CycloptsError, app: App, commands: Sequence[str], tokens: Sequence[str]) -> Error:
    """What the parser of the command line refused, for `tokens`. Always E0790."""
    command = next(iter(problem.command_chain or ()), None)
    if isinstance(problem, UnknownOptionError) and command is not None:
        return _option(problem, command, tokens, lambda option: _takers(app, commands, option))
    usage = f"dlc {command} --help" if command is not None else "dlc --help"
    if isinstance(problem, UnknownCommandError):
        word = (problem.unused_tokens or [""])[0]
        file = Path(word).suffix in (".dl", ".onnx")
        near = _near(word, commands)
        return Error(
            "E0790",
            f"there is no command `{word}`",
            help=f"dlc check {word}, or another command of dlc --help"
            if file
            else f"{near} See {usage}"
            if near
            else usage,
        )
    if isinstance(problem, MissingArgumentError) and problem.argument is not None:
        name = problem.keyword or problem.argument.name
        given = any(token == name or token.startswith(f"{name}=") for token in tokens)
        return Error("E0790", f"`{name}` needs a value" if given else f"`dlc {command}` needs {name}", help=usage)
    if isinstance(problem, RepeatArgumentError):
        name = problem.token.keyword or problem.token.value
        return Error("E0790", f"`{name}` is given more than once", help=f"give it once; {usage}")
    if isinstance(problem, CoercionError) and problem.token is not None and (choices := _choices(problem)):
        found = problem.token.value
        name = f"`{problem.token.keyword or f'dlc {command}'}`"
        hits = nearest(found, choices, 1)
        return Error(
            "E0790",
            f"{name} does not take `{found}`",
            notes=["it takes " + ", ".join(choices)],
            help=f"did you mean `{hits[0]}`?" if hits else usage,
        )
    message = str(problem).rstrip(".").partition(". ")[0]
    message = re.sub(r'"([^"]*)"', r"`\1`", message)
    unused = re.match(r"Unused Tokens: \[(.*)\]", message)
    if unused:
        message = f"`dlc{f' {command}' if command else ''}` takes no more arguments: {unused.group(1)}"
    return Error("E0790", message[:1].lower() + message[1:], help=usage)


def _choices(problem: CoercionError) -> list[str]:
    """The words that an option takes; none where it takes others."""
    whole = problem.argument.hint if problem.argument is not None else problem.target_type
    waiting, found = [problem.target_type, whole], list[str]()
    while waiting:
        for part in get_args(waiting.pop()):
            if isinstance(part, str):
                found.append(part)
            else:
                waiting.append(part)
    return list(dict.fromkeys(found))


# What other tools call an option, and what says it here: of several, the first that the command has. Words that a spec
# may use too (`batch_size`) stand in `syntax/foreign.py`.
ELSEWHERE = {
    **dict.fromkeys(("gpu", "cuda", "use_gpu", "use_cuda", "gpus"), ("--device cuda",)),
    **dict.fromkeys(("cpu", "no_cuda", "no_gpu"), ("--device cpu",)),
    **dict.fromkeys(("verbose", "v", "vv", "log_interval", "log_steps"), ("--log-every 1", "--debug")),
    **dict.fromkeys(("silent", "s"), ("--quiet",)),
    **dict.fromkeys(("fp64", "double", "float64"), ("--precision float64",)),
    **dict.fromkeys(("fp16", "half", "float16", "amp", "autocast", "mixed_precision"), ("--precision float16",)),
    **dict.fromkeys(("bf16", "bfloat16"), ("--precision bfloat16",)),
    **dict.fromkeys(("dtype",), ("--precision VALUE",)),
    **dict.fromkeys(("out", "outfile", "output_file", "save", "to"), ("--output VALUE",)),
    **dict.fromkeys(
        ("output", "o", "output_dir", "out_dir", "outdir", "log_dir", "save_dir", "logdir"),
        ("--output VALUE", "--runs VALUE"),
    ),
    **dict.fromkeys(("input", "i", "dataset", "train_data", "test_data"), ("--data VALUE",)),
    **dict.fromkeys(("val", "val_data", "valid", "validation_data"), ("--validation VALUE",)),
    **dict.fromkeys(("checkpoint", "resume_from", "continue", "ckpt"), ("--resume VALUE",)),
    **dict.fromkeys(("b",), ("--batch VALUE",)),
    **dict.fromkeys(("e",), ("--epochs VALUE",)),
    **dict.fromkeys(("overwrite", "f", "y"), ("--force",)),
    **dict.fromkeys(("training", "no_training", "predict_only"), ("--inference",)),
}


def _takers(app: App, commands: Iterable[str], option: str) -> list[str]:
    """The commands that have an option."""
    return [
        command
        for command in commands
        if any(option in argument.names for argument in app[command].assemble_argument_collection())
    ]


def _elsewhere(name: str, value: str, own: Iterable[str]) -> str | None:
    """The option of this command that says what another tool's `name` does."""
    for said in ELSEWHERE.get(name, ()):
        if said.split()[0] in own:
            return f"`{said.replace('VALUE', value)}`"
    return None


def _option(
    problem: UnknownOptionError, command: str, tokens: Sequence[str], takers: Callable[[str], Sequence[str]]
) -> Error:
    """An option that the command does not have: one of its own, what `--set` takes, or an option of other commands."""
    asked = (problem.token.keyword or problem.token.value).partition("=")[0]
    message, usage = f"`dlc {command}` has no option `{asked}`", f"dlc {command} --help"
    name, value = asked.lstrip("-").replace("-", "_"), _value(asked, tokens)
    own = [option for argument in problem.argument_collection for option in argument.names if option.startswith("--")]
    known = _settable(tokens) if "--set" in own else []
    if name in known:
        return Error("E0790", message, help=f"`--set {name}={value}`")
    if said := _elsewhere(name, value, own):
        return Error("E0790", message, help=said)
    meant = _of_other_libraries(name)
    if meant is not None and f"--{meant}" in own:
        return Error("E0790", message, help=f"`--{meant} {value}`")
    if "--set" not in own:
        for option in (asked.replace("_", "-"), f"--{meant}"):
            if others := takers(option):
                called = ", ".join(f"`dlc {other}`" for other in others)
                said = "" if option == asked else f", as `{option}`"
                return Error("E0790", message, help=f"{called} take{'s' * (len(others) == 1)} it{said}; {usage}")
        near = _near(asked, own)
        return Error("E0790", message, help=f"{near} See {usage}" if near else usage)
    if meant is not None and meant in known:
        return Error("E0790", message, help=f"`--set {meant}={value}`")
    near = _near(asked, own)
    if near is None and (hits := nearest(name, known, 1)):
        near = f"did you mean `--set {hits[0]}={value}`?"
    if near is not None:
        return Error("E0790", message, help=f"{near} See {usage}")
    if not known:
        return Error("E0790", message, help=f"`--set {name}={value}`, if it belongs to the spec; options: {usage}")
    return Error("E0790", message, notes=["`--set` takes " + ", ".join(known)], help=usage)


def _near(word: str, known: Iterable[str]) -> str | None:
    """The one name that is nearest."""
    return next((f"did you mean `{name}`?" for name in nearest(word, known, 1)), None)


def _value(option: str, tokens: Sequence[str]) -> str:
    """What was given for an option, as far as it can be told from what comes next."""
    for i, token in enumerate(tokens):
        word, sign, value = token.partition("=")
        if word == option:
            after = tokens[i + 1] if i + 1 < len(tokens) else ""
            value = value if sign else after if not after.startswith("--") else ""
            return value if re.fullmatch(r"[\w.,:/+-]{1,40}", value) else "VALUE"
    return "VALUE"


def _settable(tokens: Sequence[str]) -> list[str]:
    """What `--set` takes for the spec on the command line; nothing where it cannot be read."""
    from ..diagnostics import CompileError
    from ..elaborate.train import SETTABLE
    from ..syntax import tree as syntax
    from ..syntax.parser import parse, read_source

    found: list[str] = []
    for token in tokens[1:]:
        if token.endswith(".dl"):
            try:
                declared = parse(read_source(token)).declarations
            except CompileError:
                continue
            found += [
                parameter.name
                for one in declared
                if isinstance(one, syntax.Model | syntax.Train)
                for parameter in one.configuration
            ]
            found += SETTABLE
    return list(dict.fromkeys(found))


def _of_other_libraries(name: str) -> str | None:
    """The name here of what other libraries call `name`."""
    from ..syntax import foreign

    said = foreign.lookup(name, [foreign.SETTINGS, foreign.NAMES]) or ""
    setting = re.match(r"write `(\w+): ", said)
    return setting[1] if setting else next(iter(foreign.called(name)), None)
