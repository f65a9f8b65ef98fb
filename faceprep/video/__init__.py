"""Videos as streams of frames, and the .face files beside them."""
