"""What an address inside a guest means. Knows nothing of sampling or screens."""
