"""The command embed."""
