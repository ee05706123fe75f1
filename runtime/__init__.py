"""Trains and runs a compiled file on stock ONNX Runtime; needs nothing of the compiler."""
