"""Merging, ONNX and quantisation."""
