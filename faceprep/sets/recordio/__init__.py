"""MXNet RecordIO: records, the index, and the writer."""
