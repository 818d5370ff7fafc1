"""What runs cost, by the ledger of what they used, and what other architectures would."""
