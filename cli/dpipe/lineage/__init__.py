"""Where records and columns come from and go to: one graph of a project."""
