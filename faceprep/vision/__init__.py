"""Pixels -> pixels or numbers."""
