"""What the all-container demo needs once, or on request: keys, goods on the shelf, the operators' command line."""
