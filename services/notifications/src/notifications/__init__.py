"""E-mail to customers and staff."""
