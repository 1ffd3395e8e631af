// A signed-in customer's cart: what it comes to, and three ways to pay it. Each is a function that a shop may copy.
import { type ChargedOrder, type PaymentMethod, type Payments, type Quote, createPayments, newKey } from "payments-client";

type Lines = { sku: string; quantity: number }[];

/** The total with every way to ship, and how much store credit would pay of it. */
export async function quoted(api: Payments, lines: Lines, country: string): Promise<Quote> {
  const { data, error } = await api.POST("/api/payments/quote", {
    body: { lines, currency: "usd", shipping: { country }, use_store_credit: true },
  });
  if (error) throw new Error(`${error.code}: ${error.detail}`);
  return data;
}

/** The method to show first: the likeliest to be charged with success. */
export async function recommended(api: Payments): Promise<PaymentMethod | undefined> {
  const { data } = await api.GET("/api/payments/methods", { params: { query: { currency: "usd" } } });
  return data?.methods.find((method) => method.recommended);
}

/** What the customer may spend. */
export async function credit(api: Payments): Promise<number> {
  const { data } = await api.GET("/api/payments/store-credit");
  return data?.balances.find((balance) => balance.currency === "usd")?.available_minor ?? 0;
}

type Way =
  | { use_store_credit: true }
  | { split: [{ method_id: string; amount_minor: number }, { method_id: string }] }
  | { method_id: string; retry_later: true };

/** Buy at once. `total` is what was shown: another one is not charged. */
export async function buy(api: Payments, lines: Lines, total: number, way: Way, key = newKey()): Promise<ChargedOrder> {
  const { data, error } = await api.POST("/api/payments/one-click", {
    params: { header: { "Idempotency-Key": key } },
    body: { lines, currency: "usd", expected_total_minor: total, ...way },
  });
  if (error) throw new Error(`${error.code}: ${error.detail}`);
  return data;
}

/** What to tell the customer of what he bought. */
export function told(order: ChargedOrder): string {
  switch (order.status) {
    case "paid":
      return `Paid: ${order.payments?.length ?? (order.payment_intent ? 1 : 0)} charges`;
    case "processing":
      return "The money is on its way";
    case "requires_action":
      return `Confirm at ${order.action_url}`;
    case "retrying":
      return `We try again at ${order.next_attempt_at}`;
  }
}

const [baseUrl, token, sku, first, second, poor] = process.argv.slice(2) as [string, string, string, string, string, string];
const api = createPayments({ baseUrl, token: () => token });
const lines = [{ sku, quantity: 1 }];
const { ways, total_minor, store_credit_minor, amount_due_minor } = await quoted(api, lines, "US");
const bare = total_minor - (ways?.[0]?.amount_minor ?? 0);
const shown = await recommended(api);
const had = await credit(api);
const bought = [
  await buy(api, lines, bare, { use_store_credit: true }),
  await buy(api, lines, bare, { split: [{ method_id: first, amount_minor: 800 }, { method_id: second }] }),
  await buy(api, lines, bare, { method_id: poor, retry_later: true }),
];
console.log(
  JSON.stringify({
    ways: ways?.every((way) => way.total_minor !== null) ?? false,
    credit: had,
    adds_up: store_credit_minor > 0 && store_credit_minor + amount_due_minor === total_minor,
    recommended: shown?.id,
    status: bought.map((order) => order.status),
    told: told(bought[1]!),
  }),
);
