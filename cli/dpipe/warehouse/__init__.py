"""DuckDB over the lake, and the file of marts: built as a candidate, checked, then published."""
