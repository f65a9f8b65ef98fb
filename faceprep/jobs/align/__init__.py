"""The command align."""
