"""Decisions and metrics computed from vectors alone."""
