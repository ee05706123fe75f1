"""A module for people: formulas, pictures, pages."""
