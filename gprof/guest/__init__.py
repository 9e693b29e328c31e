"""A running guest seen from outside."""
