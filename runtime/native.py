"""The native library: kernels of our own, which ONNX Runtime loads beside its own operators (docs/native.md).

It is built when dlc is installed, where there is a C compiler. Without it, or with `DLC_NATIVE=0`, everything works by
ONNX Runtime's operators alone.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from .failures import Error

logger = logging.getLogger("dlc.runtime")

MODULE = "dlc.runtime._chains"  # where setuptools puts the library: a file that no one imports
VARIABLE = "DLC_NATIVE"
# The form of the programs that are handed to the library: raised, here and in native/kernel.c, whenever an operator or
# what it takes changes, so that a library built from older sources is said to be one instead of failing in a session.
FORM = 6


@functools.cache
def library() -> Path | None:
    """The file of the library, None where it was not built."""
    found = importlib.util.find_spec(MODULE)
    return Path(found.origin) if found is not None and found.origin else None


def allowed() -> bool:
    """Whether the environment does not forbid it."""
    return os.environ.get(VARIABLE, "1").strip().lower() not in ("0", "false", "no", "off")


@functools.cache
def works() -> bool:
    """Whether the library is there and ONNX Runtime takes it."""
    return lanes() is not None and refusal() is None


@functools.cache
def lanes() -> str | None:
    """The kind of processor that its loops are for here: "avx512", "avx2" or "plain"; None where it does not load."""
    say = _function("dlc_native_lanes")
    if say is None:
        return None
    say.restype = ctypes.c_char_p
    return str(say().decode())


def _function(name: str) -> Any:
    """One of the library; None where it does not load, or has none of this name."""
    path = library()
    try:
        return None if path is None else getattr(ctypes.CDLL(str(path)), name)
    except (OSError, AttributeError):
        return None


def _form() -> int | None:
    say = _function("dlc_native_form")
    return None if say is None else int(say())


@functools.cache
def vector() -> int:
    """How many numbers of float32 the library's convolutions take at a time; 1 where the compiler made no vectors of
    them, and ONNX Runtime's are faster; 0 where there is none."""
    say = _function("dlc_native_filters")
    return 0 if say is None else int(say())


@functools.cache
def _sorts() -> Any:
    """The function that orders rows; None where there is none of this form."""
    made = _function("dlc_native_order") if _form() == FORM else None
    if made is not None:
        made.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64]
    return made


def order(count: int, key: int) -> np.ndarray | None:
    """The rows 0..count-1 in the order of the words that a key draws for them, shape [count] int64; None where NumPy
    has to say it."""
    sorts = _sorts() if allowed() else None
    if sorts is None:
        return None
    rows = np.empty(count, np.int64)
    return None if sorts(rows.ctypes.data, count, key) else rows


@functools.cache
def refusal() -> str | None:
    """Why ONNX Runtime does not take the library; None where it does, or where there is none."""
    from .session import onnxruntime  # not before it is needed

    path = library()
    if path is None:
        return None
    if _form() != FORM:
        return "it was built from other sources than those of this version: install dlc again"
    try:
        onnxruntime().SessionOptions().register_custom_ops_library(str(path))
    except Exception as problem:  # ONNX Runtime's exceptions have no common base
        logger.debug("the native library %s: %s", path, problem)
        return str(problem).split("\n")[0]
    return None


def register(options: Any) -> None:
    """Gives the options of a session the operators of the library, which must work."""
    options.register_custom_ops_library(str(library()))


def wanted(native: bool | None) -> bool:
    """Whether sessions take the library: what a caller says, else where it works and the environment allows it. Raises
    `Error` E0760 where it is asked for and does not work."""
    if native is None:
        return allowed() and works()
    if native and not works():
        why = refusal() if library() is not None else "it was not built: there was no C compiler when dlc was installed"
        raise Error(
            "E0760",
            "the native library does not work here",
            notes=[why or "it cannot be loaded"],
            help="leave `native` out: everything works without it; `dlc doctor` says what is missing",
        )
    return bool(native)
