-- How payments were made: the method in Stripe's words, and a keyed hash of the card's fingerprint.
CREATE TABLE charges (
    payment_intent text PRIMARY KEY,
    method_type text,
    card text,
    charged_at timestamptz NOT NULL
);
CREATE INDEX charges_by_card ON charges (card, charged_at) WHERE card IS NOT NULL;

-- What is usual, by day in UTC: orders that were paid, orders for which people asked to refund them, once for each day on
-- which they did, and their requests.
-- Of the shop the name is empty, of a product it is its SKU, of an operator his subject.
CREATE TABLE tallies (
    kind text NOT NULL CHECK (kind IN ('shop', 'product', 'operator')),
    name text NOT NULL,
    day date NOT NULL,
    orders int NOT NULL,
    refunded int NOT NULL,
    requests int NOT NULL,
    PRIMARY KEY (kind, name, day)
);
CREATE INDEX tallies_by_day ON tallies (kind, day);

-- How suspicious a request was, and why. `buyer` is the address of its order, `skus` those of its lines, in their order:
-- reports of many requests read no orders. The database fills them, also for a release from before.
ALTER TABLE requests
    ADD COLUMN score_reasons jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN buyer text,
    ADD COLUMN skus text[] NOT NULL DEFAULT '{}';
CREATE FUNCTION describe_request() RETURNS trigger
LANGUAGE plpgsql SET search_path = refunds, pg_temp
AS $$
BEGIN
    SELECT lower(o.customer ->> 'email'),
           ARRAY(SELECT o.bill -> 'lines' -> (line ->> 'line')::int ->> 'sku'
                   FROM jsonb_array_elements(NEW.lines) WITH ORDINALITY AS l (line, number)
                  ORDER BY number)
      INTO NEW.buyer, NEW.skus
      FROM orders AS o
     WHERE o.order_id = NEW.order_id;
    NEW.skus := coalesce(NEW.skus, '{}');
    RETURN NEW;
END
$$;
CREATE TRIGGER describe_request BEFORE INSERT ON requests FOR EACH ROW EXECUTE FUNCTION describe_request();
UPDATE requests AS q
   SET buyer = lower(o.customer ->> 'email'),
       skus = ARRAY(SELECT o.bill -> 'lines' -> (line ->> 'line')::int ->> 'sku'
                      FROM jsonb_array_elements(q.lines) WITH ORDINALITY AS l (line, number)
                     ORDER BY number)
  FROM orders AS o
 WHERE o.order_id = q.order_id;

-- The bill says when it was paid; here an index finds it, also of what a release from before writes.
ALTER TABLE orders ADD COLUMN paid_at timestamptz;
CREATE FUNCTION date_order() RETURNS trigger
LANGUAGE plpgsql SET search_path = refunds, pg_temp
AS $$
BEGIN
    NEW.paid_at := (NEW.bill ->> 'paid_at')::timestamptz;
    RETURN NEW;
END
$$;
CREATE TRIGGER date_order
    BEFORE INSERT OR UPDATE OF bill ON orders
    FOR EACH ROW WHEN (NEW.bill IS NOT NULL AND NEW.paid_at IS NULL) EXECUTE FUNCTION date_order();
UPDATE orders SET paid_at = (bill ->> 'paid_at')::timestamptz WHERE bill IS NOT NULL;
