-- What is known of an order, and the shipments that came of it. Facts arrive in any order, so every column of an
-- order may be empty; the constraints on shipments say again what the code decides.
CREATE TABLE orders (
    order_id uuid PRIMARY KEY,
    goods jsonb, -- what was paid for: lines, total, payment intents, address, customer
    stock_committed boolean NOT NULL DEFAULT false,
    held_at timestamptz,
    unheld_at timestamptz,
    refunds jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Lines that a refund takes out of a parcel before it leaves are a canceled shipment of their own.
CREATE TABLE shipments (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    state text NOT NULL,
    lines jsonb NOT NULL,
    carrier text,
    tracking_number text,
    version int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT shipments_known_state CHECK (state IN ('created', 'shipped', 'delivered', 'canceled', 'returned')),
    CONSTRAINT shipments_never_empty CHECK (jsonb_array_length(lines) > 0),
    CONSTRAINT shipments_carrier_once_shipped CHECK (
        (state IN ('shipped', 'delivered', 'returned')) = (carrier IS NOT NULL)
    )
);

CREATE UNIQUE INDEX shipments_one_live_per_order ON shipments (order_id) WHERE state <> 'canceled';
CREATE INDEX shipments_order ON shipments (order_id);

CREATE TABLE shipment_transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shipment_id uuid NOT NULL REFERENCES shipments,
    from_state text,
    to_state text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT shipment_transitions_legal CHECK (
        (coalesce(from_state, 'none'), to_state) IN (
            ('none', 'created'), ('none', 'canceled'),
            ('created', 'shipped'), ('created', 'canceled'),
            ('shipped', 'delivered'), ('shipped', 'returned'),
            ('delivered', 'returned')
        )
    )
);
REVOKE UPDATE ON shipment_transitions FROM fulfillment_app;

CREATE INDEX shipment_transitions_shipment ON shipment_transitions (shipment_id);

-- include: payments_shared/sql/outbox.sql
-- include: payments_shared/sql/inbox.sql
