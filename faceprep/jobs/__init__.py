"""One file a command: the sentence that joins formats and pixels. Knows no runner."""
