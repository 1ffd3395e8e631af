-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_email ON orders (lower(customer ->> 'email'));
