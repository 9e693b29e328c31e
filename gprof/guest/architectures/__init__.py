"""What the registers of a vcpu mean, one file an architecture."""
