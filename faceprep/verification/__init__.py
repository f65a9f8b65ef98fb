"""Likeness of faces to the figures of the field; pure functions of NumPy arrays."""
