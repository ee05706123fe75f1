"""Writes `grammar/tables.json`, the parser's tables: `python tests/parser_tables.py` after a change of the grammar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dlc.syntax import tables
from lark.grammar import Rule
from lark.lexer import TerminalDef

SHIFT = 0  # in a table: to another state; 1: reduce by a rule


def written() -> str:
    """What `grammar/tables.json` is to hold."""
    text = tables.grammar()
    data, memo = tables.build(text, None, None).memo_serialize([TerminalDef, Rule])
    for name in ("transformer", "postlex"):
        del data["options"][name]
    for name, value in data["options"].items():  # tables of callbacks, which are empty
        assert value == {} or not isinstance(value, dict), name
    number(data["parser"]["parser"])
    return json.dumps({**tables.of(text), "data": data, "memo": memo}, separators=(",", ":")) + "\n"


def number(table: dict[str, Any]) -> None:
    """Numbers tokens by name, and states as they are reached: Lark's own numbers differ from run to run."""
    names: dict[int, str] = table["tokens"]
    tokens = {name: number for number, name in enumerate(sorted(names.values()))}
    states = {
        state: dict(sorted((tokens[names[token]], action) for token, action in actions.items()))
        for state, actions in table["states"].items()
    }
    order = dict.fromkeys(table["start_states"][start] for start in sorted(table["start_states"]))
    pending = list(order)
    for state in pending:  # grows
        for kind, argument in states[state].values():
            if kind == SHIFT and argument not in order:
                order[argument] = None
                pending.append(argument)
    place = {state: i for i, state in enumerate(order)}
    table["tokens"] = {i: name for name, i in tokens.items()}
    table["states"] = {
        place[state]: {t: (kind, place[to] if kind == SHIFT else to) for t, (kind, to) in states[state].items()}
        for state in order
    }
    for ends in ("start_states", "end_states"):
        table[ends] = {start: place[state] for start, state in sorted(table[ends].items())}


if __name__ == "__main__":
    place = Path(__file__).parent.parent / "grammar" / tables.NAME
    place.write_text(written(), "utf-8")
    print(f"{place}: {place.stat().st_size:,} bytes")
