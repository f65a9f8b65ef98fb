"""``python -m faceprep.synthetic ROOT``: write a small drawn set."""

from faceprep.synthetic.images import main

main()
