"""What samples add up to."""
