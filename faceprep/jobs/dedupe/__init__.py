"""The command dedupe."""
