"""Scorers: models that give one number per crop, and the rules that read it."""
