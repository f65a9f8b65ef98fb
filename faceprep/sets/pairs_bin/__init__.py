"""Verification .bin files: pairs of images in a pickle that is never run."""
