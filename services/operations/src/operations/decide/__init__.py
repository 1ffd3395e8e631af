"""What a dead letter says about itself, what becomes of it, and what an operator may change. Pure."""
