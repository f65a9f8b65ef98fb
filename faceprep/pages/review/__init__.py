"""The page on which a person reviews a plan."""
