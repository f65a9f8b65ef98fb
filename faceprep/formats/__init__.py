"""Bytes <-> nouns: one file a format, reader and writer; each docstring draws the layout."""
