"""Face embedders, each with its preprocessing."""
