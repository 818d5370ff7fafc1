"""The commands: thin, one module a verb or noun."""
