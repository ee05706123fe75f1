"""Words of other libraries: what a message says to write compiles, wherever the word was met."""

from __future__ import annotations

import re

import dlc
import pytest
from dlc import Error
from dlc.elaborate.builtins import BUILTINS
from dlc.elaborate.library import standard_index
from dlc.runtime.nearest import did_you_mean
from dlc.syntax import foreign, names

SPEC = """
fn f0(x) = 2 * x
{above}
model m {{
    input x: float[batch, 4]
    input h: float[batch, 2, 6, 6]
    input w: float[batch, 4, 3]
    target y: int[batch]
    target t: float[batch]
    param theta: float[4, 4] init {init}
    prediction, hit = sum(x @ theta, axis = -1), where(x[:, 0] > 0, 1, 0)
    a, b, q, k, v = x + 1, x + 2, w, w, w
    logits = stack([x[:, 0], x[:, 1], x[:, 2]], axis = -1)
    s, c = theta @ transpose(theta), theta[:, :2]
    head = dense(1)
    param K: float[3, 2, 3, 3]
    param T: float[4, 3, 4]
    param V: float[4, 3]
    param gain: float[3] init ones
    loss start = mean((prediction - t)^2) + mean(head(x)^2)
    {line}
    output o = prediction
}}
train {{
    {minimize}
    {setting}
}}
"""
OURS = {*BUILTINS, *standard_index(), "interval", "patience"}
PROSE = re.compile(r"\w+|if training|param \w+|.*\.\.\..*|[\w/]+\.dl|dlc .*|--\w.*|std\..*|<-|\|>|\[.*\]")


def spec(form: str) -> str | None:
    """A spec with that form in it; None where it is a word, a command or a shape."""
    place = {"above": "", "line": "", "init": "zeros", "minimize": "minimize loss using sgd(0.1)", "setting": ""}
    if PROSE.fullmatch(form):
        return None
    if re.match(r"(penalty|clip|epochs|batch|stop|validate|steps|seed|data):", form):
        place["setting"] = form + ("; validate: 0.2" if form.startswith("stop") else "")
    elif form.startswith("minimize"):
        place["minimize"] = form
    elif form.startswith("init "):
        place["init"] = form.removeprefix("init ")
    elif form.startswith("fn "):
        place["above"] = form
    elif re.match(r"(loss|metric|output|scan)\b|[\w, ]+ = |[^=<>]* ~ ", form):
        place["line"] = form
    else:
        place["line"] = "made = " + form
    return SPEC.format(**place)


FORMS = sorted({form for said in names.table().values() for form in re.findall(r"`([^`]*)`", said) if spec(form)})


@pytest.mark.parametrize("form", FORMS)
def test_what_is_said_compiles(form: str) -> None:
    text = spec(form)
    assert text is not None
    dlc.compile(text)


def test_many_forms_are_tried() -> None:
    assert len(FORMS) > 150 and len(names.table()) > 500


def test_what_is_named_exists() -> None:
    for word, said in {**names.table(), **foreign.NOWHERE}.items():
        for form in re.findall(r"`([^`]*)`", said):
            for called in re.findall(r"(?<!fn )\b([a-z]\w*)\(", form):
                assert called in OURS, (word, called)


def test_no_word_is_answered_with_a_name_that_is_only_spelt_alike() -> None:
    """`asin` is not `sin`: a word of the tables gets what they say, though a name of ours be near."""
    near = 0
    known = [*standard_index(), *BUILTINS]
    for word in foreign.NAMES:
        near += did_you_mean(word, known) is not None
        assert foreign.lookup(word, [foreign.NAMES], known) == foreign.NAMES[word]
    assert near > 20


def helped(line: str) -> str:
    with pytest.raises(Error) as caught:
        dlc.compile(SPEC.format(above="", line=line, init="zeros", minimize="minimize loss using sgd(0.1)", setting=""))
    return str(caught.value.help)


@pytest.mark.parametrize(("line", "said"), [
    ("z = asin(x)", "write `arcsin(x)`"),
    ("z = det(s)", "write `log_determinant(s)`, of a symmetric positive definite s"),
    ("z = sub(a, b)", "write `a - b`"),
    ("z = Layer_Norm1d(x)", "here it is called `layer_norm`"),
    ("z = SoftPlus(x)", "here it is called `softplus`"),
    ("z = MaskedFill(x)", "write `where(x > 0, x, 0)`, with your condition"),
    ("z = BatchNorm_2d(x)", "here it is called `batch_norm`"),
    ("z = InstanceNormLayer(x)", "here it is called `instance_norm`"),
    ("z = Mish2(x)", "did you mean `mish`?"),
    ("t ~ Normal(0, 1)", "write `normal(mean = 0, std = 1)`"),
    ("z = x |> dense(3, activation = relu)", "it is applied behind the layer: `x |> dense(8) |> relu`"),
    ("z = x |> dense(3, in_features = 4)", "leave it out: the size is that of what the layer is applied to"),
    ("z = h |> conv(3, KernelSize = 4)", "here it is called `kernel`"),
    ("z = h |> conv(3, dilation_rate = 2)", "here it is called `dilation`"),
    ("z = h |> batch_norm(Eps = 2)", "here it is called `eps`"),
    ("t ~ normal(loc = 0, scale = 1)", "here it is called `mean`"),
    ("z = batch_size", "write `batch: 32`"),
])  # fmt: skip
def test_messages(line: str, said: str) -> None:
    assert helped(line) == said


@pytest.mark.parametrize(("setting", "said"), [
    ("EarlyStopping: 3", "write `stop: patience(5, on = validation.loss)`"),
    ("Batch: 3", "here it is called `batch`"),
    ("BatchSize: 3", "write `batch: 32`"),
    ("ReduceLROnPlateau: 3", names.table()["ReduceLROnPlateau"]),
])  # fmt: skip
def test_settings(setting: str, said: str) -> None:
    with pytest.raises(Error) as caught:
        dlc.compile(
            SPEC.format(above="", line="", init="zeros", minimize="minimize loss using sgd(0.1)", setting=setting)
        )
    assert (caught.value.code, caught.value.help) == ("E0506", said)


def test_an_option_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    from dlc.cli import main

    assert main(["train", "specs/digits.dl", "--LearningRate", "3"]) == 2
    assert "`--set lr=3`" in capsys.readouterr().err
    assert main(["train", "specs/digits.dl", "--num-epochs", "3"]) == 2
    assert "epochs" in capsys.readouterr().err
