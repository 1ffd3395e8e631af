// Follow the order: ask once a second, and show the page anew when something changed.
"use strict";
(() => {
  const order = document.getElementById("order");
  if (!order || "final" in order.dataset) return;
  let misses = 0;
  const ask = async () => {
    try {
      const answer = await fetch(order.dataset.url, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const seen = await answer.json();
      misses = 0;
      if (seen.state !== order.dataset.state || String(seen.reached) !== order.dataset.reached) {
        window.location.reload();
        return;
      }
      if (seen.final) return;
    } catch {
      misses += 1;
    }
    window.setTimeout(ask, Math.min(1000 * 2 ** misses, 15000));
  };
  window.setTimeout(ask, 400);
})();
