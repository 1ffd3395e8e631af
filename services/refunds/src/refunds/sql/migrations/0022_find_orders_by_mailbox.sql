-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_mailbox ON orders (mailbox_of(customer ->> 'email'));
