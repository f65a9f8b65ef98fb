"""Pixels -> faces: detectors in ONNX Runtime, chosen by name."""
