"""Conversion of TFLite files to ONNX."""
