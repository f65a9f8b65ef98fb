"""Test sets and an embedder -> results: what verify does with bins, folders of identities, IJB-B and IJB-C."""
