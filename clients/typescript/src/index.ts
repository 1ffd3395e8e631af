// The buyers' API of the platform, with types that are made of its OpenAPI document.
import createFetchClient, { type Client, type ClientOptions } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, paths } from "./schema.js";

export type Schemas = components["schemas"];
export type Order = Schemas["Order"];
export type PlacedOrder = Schemas["PlacedOrder"];
export type ChargedOrder = Schemas["ChargedOrder"];
export type Quote = Schemas["QuoteShown"];
export type Recovery = Schemas["Recovery"];
export type PaymentMethod = Schemas["Method"];
export type StoreCredit = Schemas["Statement"];

export interface PaymentsOptions extends ClientOptions {
  /** The bearer token of whoever is signed in, asked for with each request; nothing for a guest. */
  token?: () => string | undefined | Promise<string | undefined>;
}

export type Payments = Client<paths>;

/** A client of the platform at `baseUrl`. It throws when nobody answers; what is refused is the answer's `error`. */
export function createPayments({ token, ...options }: PaymentsOptions = {}): Payments {
  const client = createFetchClient<paths>(options);
  if (token) {
    client.use({
      async onRequest({ request }) {
        const shown = await token();
        if (shown) request.headers.set("Authorization", `Bearer ${shown}`);
        return request;
      },
    });
  }
  return client;
}

/** A key for one wish: kept and sent again with each repeat of it, so that a second click places no second order. */
export function newKey(): string {
  return crypto.randomUUID();
}
