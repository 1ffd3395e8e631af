// What a front end does with the public API, through a client whose types are made of the document.
import createClient from "openapi-fetch";
import type { components, paths } from "./checkout.js";

type Order = components["schemas"]["Order"];

const [baseUrl, sku] = process.argv.slice(2);
const api = createClient<paths>({ baseUrl });

async function buy(): Promise<Order> {
  const { data: placed, error } = await api.POST("/api/payments/checkout-session", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { lines: [{ sku, quantity: 1 }], currency: "usd", email: "ada@example.com" },
  });
  if (error) throw new Error(`${error.code}: ${error.detail}`);
  const { data: order } = await api.GET("/api/payments/orders/{order_id}", {
    params: { path: { order_id: placed.order_id } },
    headers: { "Order-Token": placed.order_token },
  });
  if (!order) throw new Error("the order is gone");
  return order;
}

async function refusal(): Promise<string> {
  const { error } = await api.POST("/api/payments/checkout-session", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { lines: [{ sku: "NO-SUCH", quantity: 1 }], email: "ada@example.com" },
  });
  // The codes are known to the compiler: a case that cannot come is an error.
  switch (error?.code) {
    case "unknown_sku":
      return error.errors?.[0]?.pointer ?? "";
    case "rate_limited":
    case "out_of_stock":
      return error.code;
    default:
      return "";
  }
}

const order = await buy();
console.log(JSON.stringify({ status: order.status, total: order.total_minor, pointer: await refusal() }));
