"""A mail server that keeps what it gets, with a web page to read it."""
