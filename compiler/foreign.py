"""What other languages and editors write, and what this language says instead."""

from __future__ import annotations

# Signs of other languages, and what this one says.
OPERATORS = {
    "**": "`^` is the power: `x^2`",
    "&&": "write `and`",
    "&": "write `and`",
    "||": "write `or`",
    "|": "write `or`, or `|>` to pass a value on",
    "!": "write `not`",
    "!==": "write `!=`",
    "===": "write `==`",
    "<>": "write `!=`",
    "=<": "write `<=`",
    "=>": "write `=` for the value of a function, `->` for its type, `>=` to compare",
    ":=": "a name is given a value with `=`, a state with `<-`",
    "~=": "write `!=` to compare, `~` for how a value is distributed",
    "?": "write `a if c else b`",
    "::": "write `.`",
    "%>%": "write `|>`",
    "\\": "a line goes on by itself after an operator and inside brackets",
    **{
        f"{op}=": f"write `x = x {op} ...` for a name, `x <- x {op} ...` for a state"
        for op in ("+", "-", "*", "/", "//", "%", "@", "^")
    },
    "**=": "write `x = x^...`",
    "++": "write `x = x + 1`",
    "--": "write `x = x - 1`",
}

# Words that begin a statement in other languages.
WORDS = {
    "def": "a function is declared with `fn f(x) = ...`",
    "function": "a function is declared with `fn f(x) = ...`",
    "func": "a function is declared with `fn f(x) = ...`",
    "lambda": "a function has a name: `fn f(x) = ...` at the top of the file",
    "class": "what has parameters is declared with `layer name(...)(x) { ... }`",
    "struct": "what has parameters is declared with `layer name(...)(x) { ... }`",
    "elif": "write `else if`",
    "elseif": "write `else if`",
    "elsif": "write `else if`",
    "while": "loops are `for i in 0..n { ... }`, unrolled, and `scan t over 0..n { ... }`, run",
    "switch": "write `if ... { } else if ... { }`",
    "match": "write `if ... { } else if ... { }`",
    "let": "a name is given a value with `name = value`",
    "var": "a name is given a value with `name = value`",
    "const": "a name is given a value with `name = value`",
    "auto": "a name is given a value with `name = value`",
    "from": 'write `import std.vision` or `import "blocks.dl"`',
    "include": 'write `import std.vision` or `import "blocks.dl"`',
    "print": "what a model computes is shown with `output name = ...` or `metric name = ...`",
    "pass": "an empty block is `{ }`",
    "break": "a loop takes all its turns; `where` chooses values",
    "continue": "a loop takes all its turns; `where` chooses values",
    "try": "nothing is caught at run time; `where` keeps values in range",
}

# Characters that look like one of the language, by editors and word processors.
LOOKALIKES = {
    "'": 'texts stand in double quotes: `"..."`',
    "`": 'texts stand in double quotes: `"..."`',
    **dict.fromkeys("“”„«»‘’", 'texts stand in straight double quotes: `"..."`'),
    **dict.fromkeys("−–—", "write `-`"),
    **dict.fromkeys("×·∙⋅∗", "write `*`"),
    **dict.fromkeys("÷∕", "write `/`"),
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "←": "write `<-`",
    "→": "write `->`",
    "…": "write `...`",
    "√": "write `sqrt(x)`",
    "∑": "write `sum(x)`",
    "²": "write `^2`",
    "³": "write `^3`",
    "∞": "write `inf`",
    "$": "names are letters, digits and `_`",
}
