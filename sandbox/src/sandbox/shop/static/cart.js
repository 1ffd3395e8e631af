// What is changed in the cart is sent at once, and what it comes to is shown anew, without moving the page under the
// reader. Without this script there are buttons for it.
"use strict";
(() => {
  const form = document.getElementById("cart");
  if (!form) return;
  for (const button of form.querySelectorAll("[data-plain]")) button.hidden = true;
  const CALM_MS = 150; // a click on a button ends a field too, and must find the button where it was
  let asking = new AbortController();
  let waiting = 0;

  const show = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const held = document.activeElement?.id;
    for (const part of document.querySelectorAll("[data-part]")) {
      const now = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (now && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
    }
    if (held && document.activeElement?.id !== held) document.getElementById(held)?.focus();
  };

  const send = async () => {
    asking.abort();
    asking = new AbortController();
    form.setAttribute("aria-busy", "true");
    try {
      const body = new URLSearchParams(new FormData(form));
      const answer = await fetch("/shop/cart", { method: "POST", body, signal: asking.signal });
      if (!answer.ok) throw new Error(String(answer.status));
      show(await answer.text());
      form.removeAttribute("aria-busy");
    } catch (error) {
      // The whole page says what is wrong, or that the shop is away.
      if (error.name !== "AbortError") window.location.assign("/shop/cart");
    }
  };

  form.addEventListener("change", (event) => {
    if (event.target.name === "email") return;
    window.clearTimeout(waiting);
    waiting = window.setTimeout(send, CALM_MS);
  });
  form.addEventListener("submit", () => {
    window.clearTimeout(waiting);
    asking.abort();
  });
})();
