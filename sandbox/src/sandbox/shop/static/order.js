// Follow the order: ask once a second at first, and show what changed without moving the page under the reader.
"use strict";
(() => {
  const order = document.getElementById("order");
  if (!order) return;
  const began = Date.now();
  let last = "";
  let misses = 0;

  const get = async (url) => {
    const answer = await fetch(url, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.text();
  };

  const show = async () => {
    const fresh = new DOMParser().parseFromString(await get(window.location.href), "text/html");
    document.title = fresh.title;
    for (const part of document.querySelectorAll("[data-part]")) {
      const now = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (now && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
    }
  };

  const ask = async () => {
    try {
      const seen = await get(order.dataset.url);
      if (seen !== last) await show();
      last = seen;
      misses = 0;
      if (JSON.parse(seen).final) return;
    } catch {
      misses += 1;
    }
    const calm = Date.now() - began > 60000 ? 5000 : 1000;
    window.setTimeout(ask, Math.min(calm * 2 ** misses, 15000));
  };
  window.setTimeout(ask, 400);
})();
