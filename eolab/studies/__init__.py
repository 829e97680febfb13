"""Studies: what only one study needs."""
