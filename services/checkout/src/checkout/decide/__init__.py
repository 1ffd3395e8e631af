"""The rules of checkout: what a cart costs, and what an order has become. Pure."""
