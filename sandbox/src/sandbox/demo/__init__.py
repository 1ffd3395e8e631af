"""Start everything, buy something, show what happened and prove that it happened once."""
