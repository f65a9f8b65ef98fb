"""Manifests: the lists and shards of images that trainers read."""
