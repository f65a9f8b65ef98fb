"""Pixels to pixels or numbers, without state and without models."""
