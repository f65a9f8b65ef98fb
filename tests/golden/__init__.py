"""The golden run: two checkouts, driven by their command line only, compare what they compute."""
