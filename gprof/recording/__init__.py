"""A profile on disk."""
