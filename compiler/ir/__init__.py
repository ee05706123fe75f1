"""What the stages hand on: types, operations, graphs of them, modules; and their NumPy interpreter."""
