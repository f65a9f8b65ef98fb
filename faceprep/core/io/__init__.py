"""File formats that sets and tables share: npz, Parquet, CSV, image headers."""
