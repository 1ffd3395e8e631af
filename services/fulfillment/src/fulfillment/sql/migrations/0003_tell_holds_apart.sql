-- What holds an order for a cause of its own, and which of these causes are over: {"held": […], "over": […]}.
ALTER TABLE orders ADD COLUMN causes jsonb NOT NULL DEFAULT '{"held": [], "over": []}';
