"""dlc check"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from .options import COMPILATION, OUTPUT, Compilation, Output, is_spec


def check(
    file: Annotated[Path, Parameter(help="A .dl spec or a .onnx file.")], /, *,
    compilation: Compilation = COMPILATION, output: Output = OUTPUT,
) -> None:
    """Check every name and shape of a spec, or the inside of a .onnx file (its training_info included)."""
    found = _spec(file, compilation, output) if is_spec(file) else _compiled(file, compilation)
    if output.json:
        print(json.dumps({"ok": True, "file": str(file), **found}, ensure_ascii=False))
    else:
        values = f"{found['values']:,} values in {found['parameters']} parameters"
        print(f"{file}: {found['model']} is fine, {values}{'' if found['trains'] else ', predicts only'}")


def _spec(path: Path, compilation: Compilation, output: Output) -> dict[str, Any]:
    from math import prod

    module = compilation.program(path, output).module
    shapes = [v.type.shape for v in module.variables.values() if v.kind == "parameter"]
    return {
        "model": module.name, "trains": module.trains, "parameters": len(shapes),
        "values": sum(prod(int(str(size)) for size in shape) for shape in shapes),
        "inputs": {leaf.attrs["name"]: str(leaf.type) for leaf in module.inputs},
        "targets": {leaf.attrs["name"]: str(leaf.type) for leaf in module.targets},
        "outputs": {name: str(module.graph.outputs[f"output/{name}"].type) for name in module.outputs},
        "metrics": list(module.metrics),
    }


def _compiled(path: Path, compilation: Compilation) -> dict[str, Any]:
    from math import prod

    from dlc.runtime.file import CompiledFile

    compilation.refuse(path)
    file = CompiledFile.load(path)
    shapes = [slot.shape for slot in file.slots if slot.name in file.parameters]
    return {
        "model": file.title, "trains": bool(file.parts), "parameters": len(shapes),
        "values": sum(prod(shape) for shape in shapes),
    }
