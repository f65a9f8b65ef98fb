"""Types, errors, text and access to the disk: the base of every other package."""
