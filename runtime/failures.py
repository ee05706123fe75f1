"""The one exception for bad input. It carries what a person needs: a code, the place, what was
found and expected, and a way out. The compiler raises a subclass that holds several diagnostics."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

# What a terminal obeys or what hides what stands there: control characters but for the line end and the tab, marks
# that turn the direction of writing round, other line ends, halves of surrogate pairs.
_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONG = re.compile(r"\S{400,}")  # a name of thousands of characters hides the rest of a message


def plain(text: str) -> str:
    """Text as it may be printed: names and messages come from files that anyone may have written. What is replaced
    stands as `\\u001b`, which is what JSON writes too."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shortened(text: str) -> str:
    """The same, for a message: what no space divides is cut where it is very long."""
    return plain(_LONG.sub(lambda found: f"{found[0][:100]}…{found[0][-20:]}", text))


class Error(Exception):
    """Bad input, never a fault of ours. `code` is like "E0612" and is never reused.

    `where` is the place ("file", or "file:line:column"), `notes` say what was found and expected,
    `help` is a way out.

        >>> try:
        ...     trainer = dlc.Trainer("nowhere.onnx")
        ... except dlc.Error as problem:
        ...     found = problem
        >>> found.code, found.help
        ('E0710', 'give the path of a .onnx file')
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: str | None = None,
        notes: tuple[str, ...] | list[str] = (),
        help: str | None = None,
    ) -> None:
        self.code, self.message, self.where = code, message, where
        self.notes, self.help = tuple(notes), help
        super().__init__(message)

    def render(self, columns: int | None = None) -> str:
        """The text shown to people, without colour and without a final newline. `columns`: of their terminal, for what
        is drawn to its width.

            >>> print(found.render())
            error[E0710]: cannot read `nowhere.onnx`
               = No such file or directory
               = help: give the path of a .onnx file
        """
        lines = [f"error[{self.code}]: {self.message}"]
        if self.where:
            lines.append(f"  --> {self.where}")
        lines += [f"   = {note}" for note in self.notes]
        if self.help:
            lines.append(f"   = help: {self.help}")
        # A line end within is one of a name: the next line would look like a message of ours.
        return "\n".join(shortened(line.replace("\n", "\\n")) for line in lines)

    def records(self) -> list[dict[str, object]]:
        """The same as data, for `--json`.

        >>> found.records()[0]["message"]
        'cannot read `nowhere.onnx`'
        """
        return [
            {
                "code": self.code,
                "severity": "error",
                "message": self.message,
                "where": self.where,
                "notes": list(self.notes),
                "help": self.help,
            }
        ]

    def __str__(self) -> str:
        return self.render()

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return f"<pre>{html.escape(self.render())}</pre>"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the mistake is in what was given, not on the way to it."""
        return self.render().split("\n")


def closest_node(name: str, nodes: Mapping[str, str]) -> str:
    """The longest known name that `name` begins with: fused nodes carry a first part's name and more."""
    while name and name not in nodes:
        cut = max(name.rfind("/"), name.rfind("_"))
        name = name[:cut] if cut > 0 else ""
    return name


def at_run_time(problem: Exception, sources: dict[str, str]) -> Error:
    """An ONNX Runtime failure as an `Error` that names the line of the spec.

    `sources` is node name -> `file:line:column` (or "" where a node says nothing). ONNX Runtime prints the
    node's name verbatim.
    """
    text = " ".join(str(problem).split())
    found = re.search(r"[Nn]ame:? ?'([^']*)'|[Nn]ode \(([^)]*)\)|[Nn]ode: ?'?([^'\s]+)", text)
    name = next((g for g in found.groups() if g), "") if found else ""
    if step := re.search(r"step (\d+) of the region", text):  # several nodes in one (regions.py)
        name = f"{name}/step {step[1]}"
    node = closest_node(name, sources)
    reason = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    notes = [f"node: {node}"] if node else []
    if re.search(r"NOT_IMPLEMENTED|Could not find an implementation|Failed to find kernel", text):
        return Error(
            "E0806",
            "ONNX Runtime has no kernel for an operation of this model",
            where=sources.get(node) or None,
            notes=[*notes, reason],
            help="try another --precision or --device",
        )
    return Error(
        "E0804", "ONNX Runtime failed while it ran the model", where=sources.get(node) or None, notes=[*notes, reason]
    )
