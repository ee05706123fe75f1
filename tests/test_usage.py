"""Mistakes of the command line: what is said, and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

SPECS = Path(__file__).parent.parent / "specs"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["trian", "x.dl"], "did you mean `train`?"),
        (["x.dl"], "dlc check x.dl"),
        (["--foo"], "dlc --help"),
        (["train", "a.dl", "--epochs"], "`--epochs` needs a value"),
        (["train", "a.dl", "--epochs", "--debug"], "`--epochs` needs a value"),
        (["train", "nowhere.dl", "--lr", "3"], "help: `--set lr=3`, if it belongs to the spec"),
        (["evaluate", "a.onnx", "--dta", "x"], "did you mean `--data`?"),
        (["check"], "`dlc check` needs FILE"),
        (["check", "a.dl", "b.dl"], "takes no more arguments"),
        (["check", "a.dl", "--sed", "5"], "did you mean `--seed`?"),
        (["check", "a.dl", "--seed", "x"], "`x` is not an integer"),
        (["check", "a.dl", "--precision", "double"], "`double`"),
        (["check", "a.dl", "--set", "hidden"], "name=value"),
        (["check", "a.dl", "--seed", "-1"], "not negative"),
        (["train"], "a spec, a .onnx file, or --resume RUN"),
        (["train", "a.dl", "--epochs", "0"], "above 0"),
        (["export", "a.onnx"], "--inference"),
        (["evaluate", "a.dl", "--data", "d.npz"], "is a spec"),
        (["fmt"], "needs a file"),
    ],
)
def test_mistakes_of_the_command_line(run, argv: list[str], says: str) -> None:
    status, out, err = run(*argv)
    assert status == 2
    assert out == ""
    assert err.startswith("error[E0790]: ")
    assert says in err


@pytest.mark.parametrize("command", ["train", "compile", "check", "summary", "graph", "grad"])
@pytest.mark.parametrize(
    ("words", "help"),
    [
        (["--lr", "3"], "`--set lr=3`"),
        (["--lr=3e-4"], "`--set lr=3e-4`"),
        (["-lr", "-3"], "`--set lr=-3`"),
        (["--hidden", "64"], "`--set hidden=64`"),
        (["--validate", "0.3"], "`--set validate=0.3`"),
        (["--learning-rate", "0.1"], "`--set lr=0.1`"),
        (["--lr"], "`--set lr=VALUE`"),
        (["--hiden", "4"], "did you mean `--set hidden=4`? See dlc {} --help"),
        (["--foo"], "dlc {} --help"),
    ],
)
def test_a_hyperparameter_is_no_option(run, command: str, words: list[str], help: str) -> None:
    """The way that works stands alone: no option that is spelt a little like it stands before."""
    for argv in ([command, SPECS / "digits.dl", *words], [command, *words, SPECS / "digits.dl"]):
        if words[-1] in ("--lr", "--foo") and argv[-1] not in words:
            continue
        status, out, err = run(*argv, *(["--wrt", "x"] if command == "grad" else []))
        assert (status, out) == (2, "")
        [first, *notes, last] = err.splitlines()
        assert first == f"error[E0790]: `dlc {command}` has no option `{words[0].partition('=')[0]}`"
        assert last == f"   = help: {help.format(command)}"
        assert notes == (
            [
                "   = `--set` takes hidden, lr, batch, epochs, steps, data, validate, stop, seed, columns, "
                "class_weights, test, restore, folds, ensemble, drop_last, sampler, stream"
            ]
            if words == ["--foo"]
            else []
        )


@pytest.mark.parametrize(
    ("words", "help"),
    [
        (["--epoch", "3"], "did you mean `--epochs`? See dlc train --help"),
        (["--batch-size", "16"], "`--batch 16`"),
        (["--num-epochs", "2"], "`--epochs 2`"),
        (["--random_state", "1"], "`--seed 1`"),
    ],
)
def test_what_is_an_option_by_another_name(run, words: list[str], help: str) -> None:
    status, _, err = run("train", SPECS / "digits.dl", *words)
    assert status == 2 and err.splitlines()[1:] == [f"   = help: {help}"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("check a.dl --seed 1 --seed 2", ["`--seed` is given more than once"]),
        ("check a.dl --device tpu", ["`--device` does not take `tpu`", "it takes cuda"]),
        ("compile a.dl --emit grpah", ["tokens, syntax, graph, simplified", "did you mean `graph`?"]),
        ("graph a.dl --stage x", ["forward, backward, update, step, predict"]),
        ("completion tcsh", ["bash, zsh, fish"]),
        ("check a.dl --precision double", ["float32, float64"]),
        ("train a.dl --gpu", ["`--device cuda`"]),
        ("evaluate a.onnx --cuda", ["`--device cuda`"]),
        ("train a.dl --verbose", ["`--log-every 1`"]),
        ("train a.dl -v", ["`--log-every 1`"]),
        ("predict a.onnx -v", ["`--debug`"]),
        ("evaluate a.onnx --epochs 3", ["`dlc train`, `dlc sweep` take it"]),
        ("evaluate a.onnx --batch_size 3", ["`dlc train` takes it, as `--batch`; dlc evaluate --help"]),
        ("decompile a.onnx --accept", ["`dlc check`, `dlc train`, `dlc evaluate` take it"]),
        ("train a.dl --output x", ["`--runs x`"]),
        ("train a.dl --batch-size 16", ["`--batch 16`"]),
        ("compile a.dl --seed -1", ["not negative"]),
        ("compile a.dl --emit graph --seed -1", ["not negative"]),
        ("compile a.dl --emit graph --max-nodes 0", ["`--max-nodes`", "above 0"]),
        ("graph a.dl --seed -1", ["not negative"]),
        ("grad a.dl --wrt x --max-nodes -3", ["above 0"]),
        ("predict a.onnx --seed -1", ["not negative", "found -1"]),
        ("predict a.onnx --rows 0", ["`--rows`", "above 0"]),
    ],
)
def test_what_an_option_takes(run, words: str, says: list[str]) -> None:
    status, out, err = run(*words.split())
    assert (status, out) == (2, "")
    assert err.startswith("error[E0790]: ") and "= help: " in err
    for part in says:
        assert part in err


def test_every_option_of_train_is_said_to_be_one(run) -> None:
    """By the commands that lack it, as the command itself has them."""
    from dlc.cli.app import make_app

    app = make_app()
    here, there = (
        {name for argument in app[command].assemble_argument_collection() for name in argument.names}
        for command in ("explain", "train")
    )
    missing = sorted(
        name for name in there - here if name.startswith("--") and "o-" not in name[:5] and "empty" not in name
    )
    assert len(missing) > 12
    for name in missing:
        err = run("explain", "E0101", name, "1")[2]
        assert "`dlc train`" in err and "take" in err, err


def test_a_hyperparameter_comes_before_another_tools_word(run, tmp_path: Path) -> None:
    (tmp_path / "m.dl").write_text("model m(v = 1) { input x: float[batch, 4]; output y = v * x }\n")
    assert "`--set v=3`" in run("train", tmp_path / "m.dl", "--v", "3")[2]
