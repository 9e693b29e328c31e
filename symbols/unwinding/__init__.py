"""Call stacks from registers and a little memory."""
