"""Worker: what lands is processed, and marts are published, until somebody says stop."""
