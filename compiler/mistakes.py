"""stub"""
from __future__ import annotations
from dataclasses import dataclass
from collections.abc import Callable
from lark import Token
from lark.exceptions import *
from .source import Source, Span
from .diagnostics import CompileError, error
Examples=dict
@dataclass(frozen=True)
class Failure:
    source: Source
    start: int
    end: int
    text: str
    @classmethod
    def of(cls, e, source, open):
        t=getattr(e,'token',None)
        if t is not None: return cls(source,t.start_pos,t.end_pos,str(t))
        return cls(source,e.pos_in_stream,e.pos_in_stream+1,source.text[e.pos_in_stream])
def explain(f, examples):
    return error("E0102", f"`{f.text}` cannot stand here", Span(f.source,f.start,f.end))
def read_examples(g): return {}
