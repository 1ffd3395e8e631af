-- Whom a coupon is for, and what. `skus` NULL: everything.
ALTER TABLE coupons
    ADD COLUMN active boolean NOT NULL DEFAULT true,
    ADD COLUMN per_customer int CHECK (per_customer > 0),
    ADD COLUMN first_order_only boolean NOT NULL DEFAULT false,
    ADD COLUMN skus text[] CHECK (cardinality(skus) > 0);

-- Whose use it is: a person is known by the subject of his token and by his address in lower case. NULL: it was taken by
-- a release that did not write it down.
ALTER TABLE coupon_redemptions ADD COLUMN email text, ADD COLUMN customer_subject text;
UPDATE coupon_redemptions AS r
   SET email = lower(o.email), customer_subject = o.customer_subject
  FROM orders AS o
 WHERE o.id = r.order_id;
CREATE INDEX coupon_redemptions_by_email ON coupon_redemptions (email, code) WHERE state <> 'released';
CREATE INDEX coupon_redemptions_by_subject ON coupon_redemptions (customer_subject, code) WHERE state <> 'released';
