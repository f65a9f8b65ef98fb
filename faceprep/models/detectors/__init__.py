"""Face detectors, each with its weights and its decoding."""
