"""Models that turn pixels into faces, vectors or scores."""
