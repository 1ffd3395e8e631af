// What the compiler must refuse. Each line below its mark is an error, and one that is none fails the compilation.
import createClient from "openapi-fetch";
import type { components, paths } from "./checkout.js";

const api = createClient<paths>({ baseUrl: "" });
const header = { "Idempotency-Key": "12345678" };

// @ts-expect-error: a price is never accepted
const priced: components["schemas"]["CheckoutLine"] = { sku: "MUG", quantity: 1, unit_amount_minor: 1 };

// @ts-expect-error: the key is required
api.POST("/api/payments/checkout-session", { body: { lines: [] } });

// @ts-expect-error: there is no such currency
api.POST("/api/payments/checkout-session", { params: { header }, body: { lines: [], currency: "xxx" } });

// @ts-expect-error: there is no such path
api.GET("/api/payments/order", {});

// @ts-expect-error: orders are not deleted
api.DELETE("/api/payments/orders/{order_id}", { params: { path: { order_id: "ord_1" } } });

const order = await api.GET("/api/payments/orders/{order_id}", { params: { path: { order_id: "ord_1" } } });
// @ts-expect-error: it may not be there
order.data.status;

// @ts-expect-error: there is no such state
if (order.data?.status === "refunded") throw new Error();

export { priced };
