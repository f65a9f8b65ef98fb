"""Sets of images, one module per container, with its reader and its writer."""
