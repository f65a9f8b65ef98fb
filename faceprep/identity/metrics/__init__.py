"""Verification and identification metrics."""
