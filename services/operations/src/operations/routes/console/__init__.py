"""The console: pages for people, on a port of their own."""
