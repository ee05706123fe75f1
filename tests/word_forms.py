"""The forms that messages on words of other libraries say to write, each in a spec that has what it names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dlc.elaborate.builtins import BUILTINS
from dlc.elaborate.library import standard_folder
from dlc.syntax import foreign, tree as syntax
from dlc.syntax.parser import parse, read_source

INPUTS = """
    input x: float[batch, 4]
    input h: float[batch, 4, 6, 6]
    input w: float[batch, 4, 3]
    param theta: float[4, 4] init {init}
    param K: float[3, 4, 3, 3]
    param T: float[4, 3, 4]
    param V: float[4, 3]"""
VALUES = """
    prediction, hit = sum(x @ theta, axis = -1), where(x[:, 0] > x[:, 1], 1, 0)
    a, b, q, k, v = x + 2, 1 - x / 2, w, w^2, w + 1
    p, z = sigmoid(x), prediction
    logits = stack([x[:, 0], x[:, 1], x[:, 2]], axis = -1)
    s, c = theta @ transpose(theta), theta[:, :2]"""
SPEC = f"""
fn f0(x) = 2 * x
{{above}}
model m(n = 4) {{{{{INPUTS}
    target y: int[batch]
    target t: float[batch]{VALUES}
    head = dense(1)
    state count: float = 0
    loss start = mean((prediction - t)^2) + mean(head(x)^2)
    {{line}}
    output o = prediction
}}}}
train {{{{
    {{minimize}}
    {{setting}}
}}}}
"""
# Words, commands, types and signs in the text of a message.
PROSE = re.compile(
    r"\w+|if training|param \w+|[\w/]+\.dl|dlc .*|--\w.*|std\..*|<-|\|>|\[.*\]|(float|int|bool)\[.*\]|power = 1|\W+"
    r'|else if|a if c else b|import "blocks.dl"'
)
SETTING = re.compile("(penalty|clip|epochs|batch|stop|validate|steps|seed|data|weights|class_weights):|freeze ")


def forms(said: str) -> list[tuple[str, str]]:
    """Each form of a message that is not a word of its text, and the line above it that the message has for it: of `a =
    ...`, or a declaration of data."""
    found = [form for form in re.findall(r"`([^`]*)`", said) if not PROSE.fullmatch(form)]
    above = [form for form in found if f"of `{form}`" in said or re.match("input|target", form)]
    return [(";".join(line for line in above if line != form), form) for form in found]


def spec(above: str, form: str) -> str:
    """A spec with that form in it."""
    place = {"above": "", "line": above, "init": "zeros", "minimize": "minimize loss using sgd(0.1)", "setting": ""}
    if SETTING.match(form):
        place["setting"] = form + ("; validate: 0.2" if form.startswith("stop") else "")
    elif form.startswith("minimize"):
        place["minimize"] = form
    elif form.startswith("init "):
        place["init"] = form.removeprefix("init ")
    elif re.match("(fn|layer|import) ", form):
        place["above"] = form
    else:
        place["line"] += f"\n    {statement(form)}"
    text = SPEC.format(**place)
    if form.startswith("class_weights"):  # where it is known how many classes there are
        text = text.replace("target y: int[batch]", "target y: int[batch] in 0..3")
    return text


def statement(form: str) -> str:
    """A form as a statement of a model."""
    if re.match(r"(for|scan)\b", form):
        return form if form.endswith("}") else form + " { each = x }"
    if re.match(r"(loss|metric|output|input|target)\b|[\w, ]+ = |[^=<>]* ~ ", form):
        return form
    if re.match(r"if\b|\w+ <- ", form):
        return form
    return "made = " + form


def value(form: str) -> str | None:
    """The value of a form as an expression (`y ~ d` as it is: it makes a loss); None for a line of the train block, a
    declaration, or several names."""
    if SETTING.match(form) or re.match(r"(minimize|init|fn|layer|import|input|target|for|scan|if)\b|\w+ <- ", form):
        return None
    if re.match(r"[\w, ]+ = ", form) and not form.startswith(("loss", "metric")):
        return None
    return re.sub(r"^(loss|metric \w+) = ", "", form)


def declarations() -> list[tuple[str, str, list[str]]]:
    """Kind, name and arguments of what the library and the compiler define."""
    found = [("fn", name, [parameter for parameter, _ in one.parameters]) for name, one in BUILTINS.items()]
    for path in sorted(standard_folder().glob("*.dl")):
        for one in parse(read_source(path)).declarations:
            if isinstance(one, syntax.Fn | syntax.Layer | syntax.Distribution | syntax.Optimizer):
                found.append((type(one).__name__.lower(), one.name, [each.name for each in one.configuration]))
    return found


def arguments() -> list[str]:
    """What is said of arguments that nothing has, of each function that it is said of."""
    said = {
        foreign.argument(word, known, kind, name)
        for kind, name, known in declarations()
        for word in foreign.NOWHERE
        if word not in known and not any(ours in known for ours in foreign.called(word))
    }
    return [text for text in said if text is not None]


def messages() -> Iterable[str]:
    signs = [*foreign.WORDS.values(), *foreign.OPERATORS.values()]
    return [*signs, *foreign.NAMES.values(), *foreign.SETTINGS.values(), *foreign.TYPES.values(), *arguments()]


FORMS = sorted({form for said in messages() for form in forms(said)})
