"""Models in files of other programs: opened, prepared and run, for embedders and scorers."""
