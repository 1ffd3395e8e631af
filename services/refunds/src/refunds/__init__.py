"""Captured payments and refunds."""
