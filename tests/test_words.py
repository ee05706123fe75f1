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
from word_forms import FORMS, SPEC, declarations, messages, spec

OURS = {*BUILTINS, *standard_index(), "interval", "patience"}


@pytest.mark.parametrize(("above", "form"), FORMS, ids=[form for _, form in FORMS])
def test_what_is_said_compiles(above: str, form: str) -> None:
    dlc.compile(spec(above, form))


def test_many_forms_are_tried() -> None:
    assert len(FORMS) > 400 and len(names.table()) > 800


def test_what_is_said_of_an_argument_is_true_of_the_function() -> None:
    """A name that it has, or a row that is meant for it; and each row is met."""
    met = set()
    for kind, name, known in declarations():
        for word in [*foreign.ARGUMENTS, *foreign.NOWHERE]:
            said = None if word in known else foreign.argument(word, known, kind, name)
            if said is None:
                continue
            ours = re.findall(r"`(\w+)`", said) if re.match("here it is called|did you mean", said) else []
            rows = [
                row[2].replace("{f}", name)
                for other in foreign.NOWHERE
                if foreign.fold(other) == foreign.fold(word)
                for row in foreign.NOWHERE[other]
                if row[0] in ("any", kind) and (not row[1] or row[1] & set(known))
            ]
            assert {*ours} <= {*known} if ours else said in rows, (name, word, said)
            met |= {(word, row[2]) for row in foreign.NOWHERE.get(word, ()) if row[2].replace("{f}", name) == said}
    assert met == {(word, row[2]) for word, rows in foreign.NOWHERE.items() for row in rows}


def test_what_is_named_exists() -> None:
    for said in messages():
        for form in re.findall(r"`([^`]*)`", said):
            for called in re.findall(r"(?<!fn )(?<!layer )\b([a-z]\w*)\(", form):
                assert called in OURS, (said, called)


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
    ("z = det(s)", "write `determinant(s)`"),
    ("z = sub(a, b)", "write `a - b`"),
    ("z = Layer_Norm1d(x)", "here it is called `layer_norm`"),
    ("z = SoftPlus(x)", "here it is called `softplus`"),
    ("z = MaskedFill(x)", "write `where(x > 0, 0, x)`, with your condition: 0 where it holds"),
    ("z = BatchNorm_2d(x)", "here it is called `batch_norm`"),
    ("z = InstanceNormLayer(x)", "here it is called `instance_norm`"),
    ("z = Mish2(x)", "did you mean `mish`?"),
    ("t ~ Normal(0, 1)", "write `normal(mean = 0, std = 1)`"),
    ("z = x |> dense(3, activation = relu)", "it is the last argument without a name: `x |> dense(8, relu)`"),
    ("z = x |> dense(3, in_features = 4)", "leave it out: the size is that of what the layer is applied to"),
    ("z = h |> conv(3, KernelSize = 4)", "here it is called `kernel`"),
    ("z = h |> conv(3, dilation_rate = 2)", "here it is called `dilation`"),
    ("z = h |> batch_norm(Eps = 2)", "here it is called `eps`"),
    ("z = w |> gru(8, batch_first = true)", "leave it out: a sequence is `[batch, time, n]`"),
    ("z = w |> gru(8, num_layers = 2)", "write `w |> stacked(gru, 8, layers = 2)`"),
    ("z = w |> gru(8, dropout = 0.2)", "a layer of its own does it: `w |> gru(8) |> dropout(0.2)`"),
    ("z = x |> dense(3, batch_first = true)", "give it by one of these names, or leave it out"),
    ("z = cross_entropy(logits, y, reduction = 1)", "leave it out: losses are means over every prediction"),
    ("z = softmax(x, reduction = 1)", "give it by one of these names, or leave it out"),
    ("z = softmax(x, dim = 1)", "here it is called `axis`"),
    ("z = transpose(w, dims = [0, 2, 1])", "here it is called `axes`"),
    ("z = sum(w, dims = 1)", "here it is called `axis`"),
    ("z = norm(x, p = 1)", "here it is called `order`"),
    ("z = f0(x, dim = 1)", "give it by one of these names, or leave it out"),
    ("z = f0(x, name = 1)", "leave it out: a value is called as it is bound, `z = relu(x)`"),
    ("z = x |> dense(3, name = 1)", "a layer is called as it is bound: `head = dense(8)`"),
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
