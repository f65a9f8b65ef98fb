"""The command extract-video."""
