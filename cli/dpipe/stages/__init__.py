"""The stages of the path, one module each."""
