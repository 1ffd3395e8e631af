// Follow the order and show what changed without moving the page under the reader: told by server-sent events while
// money is awaited; asking again and again for parcels, and where the stream fails.
"use strict";
(() => {
  const order = document.getElementById("order");
  if (!order) return;
  const AWAITING = ["pending", "declined", "processing"];
  const STREAM_MS = 60000;
  const REOPEN_MS = 5000;
  const opened = Date.now();
  let last = "";
  let misses = 0;

  const get = async (url, method = "GET") => {
    const answer = await fetch(url, { method, cache: "no-store" });
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

  const look = async () => {
    const seen = await get(order.dataset.url);
    if (seen !== last) await show();
    last = seen;
    return JSON.parse(seen);
  };

  const ask = async () => {
    let calm = Date.now() - opened > 60000 ? 5000 : 1000;
    try {
      const seen = await look();
      misses = 0;
      if (seen.final) return;
      if (!AWAITING.includes(seen.state)) calm = 5000;
    } catch {
      misses += 1;
    }
    window.setTimeout(ask, Math.min(calm * 2 ** misses, 15000));
  };

  const follow = async () => {
    let path;
    try {
      path = JSON.parse(await get(`${order.dataset.url}/ticket`, "POST")).path;
    } catch {
      return ask();
    }
    const began = Date.now();
    const stream = new EventSource(path);
    let reopening = 0;
    const leave = () => {
      stream.close();
      // What lasted ended in its time, and wants another ticket; what did not has failed, or has no more to tell.
      return Date.now() - began > STREAM_MS ? follow() : ask();
    };
    stream.onopen = () => {
      window.clearTimeout(reopening);
      reopening = 0;
    };
    stream.addEventListener("order", () => look().catch(() => {}));
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED) {
        reopening ||= window.setTimeout(leave, REOPEN_MS);
        return;
      }
      window.clearTimeout(reopening);
      leave();
    };
  };
  follow();
})();
