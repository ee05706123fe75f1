"""The one exception for bad input. It carries what a person needs: a code, the place, what was
found and expected, and a way out. The compiler raises a subclass that holds several diagnostics."""
from __future__ import annotations


class Error(Exception):
    """Bad input, never a fault of ours. `code` is like "E0612" and is never reused.

    `where` is the place ("file", or "file:line:column"), `notes` say what was found and expected,
    `help` is a way out.
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

    def render(self) -> str:
        """The text shown to people, without colour and without a final newline."""
        lines = [f"error[{self.code}]: {self.message}"]
        if self.where:
            lines.append(f"  --> {self.where}")
        lines += [f"   = {note}" for note in self.notes]
        if self.help:
            lines.append(f"   = help: {self.help}")
        return "\n".join(lines)

    def records(self) -> list[dict[str, object]]:
        """The same as data, for `--json`."""
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
