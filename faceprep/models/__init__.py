"""Models that turn pixels into faces or vectors."""
