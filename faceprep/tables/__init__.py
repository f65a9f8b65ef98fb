"""Small typed tables about images: faces, scores, embeddings, plans, verdicts, ledgers."""
