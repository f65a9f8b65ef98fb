"""A second look at each face, on a small crop, that places its landmarks exactly."""
