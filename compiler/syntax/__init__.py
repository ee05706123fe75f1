"""Text to syntax tree: the parser, and what to say where a text does not parse."""
