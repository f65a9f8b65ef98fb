"""Types, errors, text and the disk: what every other room stands on."""
