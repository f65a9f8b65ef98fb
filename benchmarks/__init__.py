"""Measurements of faceprep beside other tools: `python -m benchmarks --help`."""
