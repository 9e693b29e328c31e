"""How a profile leaves: one file a format."""
