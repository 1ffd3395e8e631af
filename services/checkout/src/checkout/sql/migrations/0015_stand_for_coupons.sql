-- Codes that stand for a coupon, narrower than it is. What they are used for is in the redemptions, under the lock of
-- the coupon. `email` in lower case.
CREATE TABLE promotion_codes (
    code text PRIMARY KEY CHECK (code ~ '^[A-Za-z0-9_-]{1,40}$'),
    coupon text NOT NULL REFERENCES coupons,
    active boolean NOT NULL DEFAULT true,
    max_redemptions int CHECK (max_redemptions >= 0),
    first_order_only boolean NOT NULL DEFAULT false,
    minimums jsonb NOT NULL DEFAULT '{}',
    email text,
    customer_subject text,
    valid_until timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX promotion_codes_by_coupon ON promotion_codes (coupon);

ALTER TABLE coupon_redemptions ADD COLUMN promotion text REFERENCES promotion_codes;
CREATE INDEX coupon_redemptions_by_promotion ON coupon_redemptions (promotion)
 WHERE promotion IS NOT NULL AND state IN ('held', 'redeemed');
