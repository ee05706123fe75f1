"""Differentiation: graph to graph, in both modes and through scans."""
