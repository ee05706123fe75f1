"""The rooms of the compiler stand in one order: each imports from those before it alone."""

from __future__ import annotations

import networkx as nx
from dlc.pipeline import ROOMS
from house import COMPILER, draw, imports, modules, room

# Where an import waits until a function needs it: what it brings takes longer than the rest of a command does.
LATE = {"__init__", "cli", "pipeline", "program", "view"}


def test_every_module_has_a_room():
    held = {room(module) for module in modules()} - {"__init__"}
    assert held == set(ROOMS) and len(ROOMS) == len(set(ROOMS))


def test_a_room_imports_from_those_before_it():
    place = {name: number for number, name in enumerate(ROOMS)}
    place["__init__"] = -1  # the version, and what it offers when it is asked for
    wrong = [
        f"compiler/{found.source}.py:{found.line} imports {found.target}"
        for found in imports()
        if found.rooms[0] not in ("__init__", found.rooms[1])
        and place[found.rooms[1]] > place[found.rooms[0]]
        and not found.typing
    ]
    assert wrong == []


def test_no_circle_within_a_room():
    """The evaluator's mutual recursion (an expression calls, a call evaluates) alone is one."""
    graph = nx.DiGraph(
        [
            (found.source, found.target)
            for found in imports()
            if not found.typing and found.target != "__init__" and not found.target.endswith("/__init__")
        ]
    )
    circles = [sorted(found) for found in nx.strongly_connected_components(graph) if len(found) > 1]
    assert [circle for circle in circles if {room(module) for module in circle} != {"elaborate"}] == []


def test_no_import_waits_in_a_function_to_break_a_circle():
    late = [f"compiler/{found.source}.py:{found.line} imports {found.target}" for found in imports() if found.late]
    assert [one for one in late if room(one.removeprefix("compiler/").partition(".py")[0]) not in LATE] == []


def test_the_drawing_is_of_these_rooms(tmp_path):
    """`python tests/house.py` draws it anew; it stops at an arrow that goes up."""
    draw(tmp_path / "house.svg")
    assert (tmp_path / "house.svg").read_text("utf-8") == (COMPILER.parent / "docs" / "house.svg").read_text("utf-8")
