"""The webhook endpoints of others, set up in throw-away environments outside the tree, and ours beside them."""
