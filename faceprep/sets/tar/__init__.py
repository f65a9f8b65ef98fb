"""Sets in WebDataset shards, read by position."""
