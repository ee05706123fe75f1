"""dlc completion"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from cyclopts import Parameter

from . import report
from .options import OUTPUT, Output

FILES = """COMPREPLY=(); while IFS= read -r _x; do COMPREPLY+=("$_x"); done < <(compgen -f -- "${cur}")"""


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Which shell reads the script.")],
    /,
    *,
    output: Output = OUTPUT,
) -> None:
    """The script that completes commands, options and files for a shell."""
    from .app import make_app

    text = make_app().generate_completion(shell=shell)
    # Bash puts a slash behind a folder and a backslash before a space where it knows that words are names of files, and
    # takes a name with a space for two words where the shell splits them.
    text = text.replace("\ncomplete -F _dlc dlc", "\ncomplete -o filenames -F _dlc dlc")
    text = text.replace('COMPREPLY=( $(compgen -f -- "${cur}") )', FILES)
    if output.json:
        report.say(json.dumps({"shell": shell, "script": text}))
    else:
        report.data(text)
