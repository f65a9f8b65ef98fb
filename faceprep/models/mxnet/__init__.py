"""MXNet checkpoints, read and converted to ONNX without MXNet."""
