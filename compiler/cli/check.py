"""dlc check"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import kinds, report, supplied
from .options import COMPILATION, OUTPUT, Compilation, Output, is_spec

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile
    from onnx import ModelProto

    from ..program import Program


def check(
    file: Annotated[Path, Parameter(help="A .dl spec or a .onnx file.")],
    /,
    *,
    device: Annotated[
        Literal["cuda"] | None,
        Parameter(help="List the nodes that would leave this device for the CPU; no GPU is needed."),
    ] = None,
    accept: Annotated[
        bool,
        Parameter(
            help="Accept a .onnx file that another tool has changed: write its new checksum.", show_default=False
        ),
    ] = False,
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Check every name and shape of a spec, or the inside of a .onnx file (its training_info included)."""
    kinds.expect(file, "check", kinds.SPEC, kinds.COMPILED)
    if is_spec(file):
        if accept:
            raise Error("E0790", "`--accept` is for .onnx files: a spec has no checksum", help="leave it out")
        found = _spec(file, device, compilation, output)
    else:
        found = _compiled(file, device, compilation, accept)
    if output.json:
        report.say(json.dumps({"ok": True, "file": str(file), **found}, ensure_ascii=False))
        return
    values = f"{found['values']:,} values in {found['parameters']} parameters"
    only = "" if found["trains"] else ", predicts only"
    unsealed = "" if found.get("checksum", True) else "; it has no checksum, so damage to it would go undetected"
    report.say(f"{file}: {found['model']} is fine, {values}{only}{unsealed}")
    for line in supplied.lines(found["supplied"]):
        report.say(line)
    if "members" in found:
        report.say(f"{found['members']} members, which train {found['training']}")
    if missing := found.get("missing"):
        names = ", ".join(f"`{name}`" for name in missing[:5]) + (", ..." if len(missing) > 5 else "")
        report.say(
            f"{len(missing)} parameters that its signature lists are not in it: {names}; "
            "another tool has folded, quantized or renamed them"
        )
    if altered := found.get("altered"):
        report.say("another tool has changed it, and left its training part out:")
        for note in altered:
            report.say(f"  {note}")
    if device is not None:
        _tell(found["placement"])


def _tell(placement: dict[str, Any]) -> None:
    """Where the nodes would run, for people."""
    leaving = placement["leaving"]
    count = f"{len(leaving)} of {placement['nodes']:,} nodes" if leaving else f"none of {placement['nodes']:,} nodes"
    report.say(f"{count} would leave CUDA for the CPU (kernels of ONNX Runtime {placement['kernels']})")
    for entry in leaving:
        where = entry["source"] or entry["graph"]
        report.say(f"  {where}: {entry['op_type']} of {', '.join(entry['types'])}: {entry['why']}")
    if placement["shape_arithmetic"]:
        report.say(f"  and {placement['shape_arithmetic']} that compute shapes, which ONNX Runtime keeps there anyway")


def _members(file: CompiledFile) -> dict[str, Any]:
    """Of an ensemble: how many members train, and whether they do so at once."""
    from dlc.runtime.together import forecast

    if file.ensemble is None or not file.parts:
        return {}
    return {"members": file.ensemble.members, "training": forecast(file)}


def _placement(model: ModelProto) -> dict[str, Any]:
    """Which nodes of a compiled file would leave CUDA, and how many of them compute shapes only."""
    from dataclasses import asdict

    from ..lower import kernels
    from ..lower.placement import departures

    found = departures(model)
    return {
        "nodes": len(model.graph.node)
        + sum(len(info.algorithm.node) + len(info.initialization.node) for info in model.training_info),
        "kernels": kernels.version(),
        "leaving": [asdict(departure) for departure in found if not departure.shape_arithmetic],
        "shape_arithmetic": sum(departure.shape_arithmetic for departure in found),
    }


def _spec(path: Path, device: str | None, compilation: Compilation, output: Output) -> dict[str, Any]:
    from math import prod

    program = compilation.program(path, output)
    module = program.module
    shapes = [v.type.shape for v in module.variables.values() if v.kind == "parameter"]
    return {
        "model": module.name,
        "trains": module.trains,
        "parameters": len(shapes),
        "values": sum(prod(int(str(size)) for size in shape) for shape in shapes),
        "inputs": {leaf.attrs["name"]: str(leaf.type) for leaf in module.inputs},
        "targets": {leaf.attrs["name"]: str(leaf.type) for leaf in module.targets},
        "outputs": {name: str(module.graph.outputs[f"output/{name}"].type) for name in module.outputs},
        "metrics": list(module.metrics),
        "supplied": supplied.records(module.supplied),
        **_foretold(program),
        **({"placement": _placement(program.model_proto())} if device else {}),
    }


def _foretold(program: Program) -> dict[str, Any]:
    """What is said of the members of an ensemble: of its compiled file, which a spec of one member need not be."""
    if not program.module.settings.get("train", {}).get("ensemble"):
        return {}
    from dlc.runtime.file import CompiledFile

    return _members(CompiledFile.of(program))


def _compiled(path: Path, device: str | None, compilation: Compilation, accept: bool) -> dict[str, Any]:
    from math import prod

    from dlc.runtime.file import CompiledFile

    compilation.refuse(path)
    file = CompiledFile.load(path, accept=accept, predicts=not accept)
    if file.stale is not None and file.stale.code != "E0759":  # what it has of training is faulty
        raise file.stale
    if accept:  # the strict validator has looked through it
        file.save(path)
        file = CompiledFile.load(path)
    shapes = [slot.shape for slot in file.slots if slot.name in file.parameters]
    missing = [entry.name for entry in file.signature.parameters if entry.name not in file.parameters]
    return {
        "model": file.title,
        "trains": bool(file.parts),
        "parameters": len(shapes),
        "values": sum(prod(shape) for shape in shapes),
        "checksum": file.sealed,
        "missing": missing,
        "supplied": supplied.records(file.supplied),
        "altered": list(file.stale.notes) if file.stale is not None else [],
        **_members(file),
        **({"placement": _placement(file.model)} if device else {}),
    }
