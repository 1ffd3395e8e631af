"""Orders, catalogue, coupons and payment attempts."""
