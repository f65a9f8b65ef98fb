"""Numbers -> decisions, pure: which images show one person."""
