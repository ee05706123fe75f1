"""The standard library, example specs and their data."""
