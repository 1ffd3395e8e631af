-- Stock, and what is promised of it. The constraints say again what the code decides: nothing below zero, nothing
-- lost, no step without an arrow.
CREATE TABLE stock (
    sku text PRIMARY KEY,
    total int NOT NULL,
    available int NOT NULL,
    held int NOT NULL DEFAULT 0,
    committed int NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stock_never_below_zero CHECK (available >= 0 AND held >= 0 AND committed >= 0),
    CONSTRAINT stock_conserved CHECK (available + held + committed = total)
) WITH (fillfactor = 70); -- every hold updates its row: leave room on the page for the next version

-- `standing` is the strongest word heard about the order's money. `closed` is the tombstone of an order that ended
-- before, or instead of, its hold; `shortfall` is an order that was paid and could not be served.
CREATE TABLE reservations (
    order_id uuid PRIMARY KEY,
    state text NOT NULL,
    standing text NOT NULL,
    expires_at timestamptz,
    version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reservations_state_follows_standing CHECK (
        (state = 'held' AND standing IN ('open', 'processing'))
        OR (state IN ('released', 'closed') AND standing IN ('ended', 'processing', 'failed'))
        OR (state IN ('committed', 'shortfall') AND standing = 'paid')
    ),
    CONSTRAINT reservations_deadline_while_open CHECK ((standing = 'open') = (expires_at IS NOT NULL))
);

CREATE INDEX reservations_deadline ON reservations (expires_at) WHERE state = 'held';

-- A line counts as held or committed as its reservation does, less what came back.
CREATE TABLE reservation_lines (
    order_id uuid NOT NULL REFERENCES reservations,
    sku text NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    restocked int NOT NULL DEFAULT 0,
    PRIMARY KEY (order_id, sku),
    CONSTRAINT reservation_lines_restocked_within_quantity CHECK (restocked BETWEEN 0 AND quantity)
);

CREATE INDEX reservation_lines_sku ON reservation_lines (sku);

CREATE TABLE reservation_transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES reservations,
    from_state text,
    to_state text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT reservation_transitions_legal CHECK (
        (coalesce(from_state, 'none'), to_state) IN (
            ('none', 'held'), ('none', 'closed'), ('none', 'committed'), ('none', 'shortfall'),
            ('held', 'released'), ('held', 'committed'),
            ('released', 'held'), ('released', 'committed'), ('released', 'shortfall'),
            ('closed', 'held'), ('closed', 'committed'), ('closed', 'shortfall')
        )
    )
);
REVOKE UPDATE ON reservation_transitions FROM inventory_app;

CREATE INDEX reservation_transitions_order ON reservation_transitions (order_id);

-- One row per shipment whose goods came back, so that a repeated fact restocks once.
CREATE TABLE restocks (
    shipment_id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES reservations,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
REVOKE UPDATE ON restocks FROM inventory_app;

-- include: payments_shared/sql/outbox.sql
-- include: payments_shared/sql/inbox.sql
