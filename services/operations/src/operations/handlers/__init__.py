"""Use cases of operations: keep dead letters, send them back in bulk, tell the story of an order."""
