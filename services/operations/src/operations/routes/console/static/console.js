"use strict";
// What the pages do beyond htmx. All of them work without this.

// A part that could not be fetched stays as it was, and the page says so until that very part has come again.
const trouble = document.getElementById("trouble");
const missing = new Set();
const part = (event) => event.detail.requestConfig.path.split("?")[0];
const tell = () => { trouble.hidden = missing.size === 0; };
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.body.addEventListener(name, (event) => { missing.add(part(event)); tell(); });
}
// htmx says afterOnLoad of an answer that is an error, too.
document.body.addEventListener("htmx:afterOnLoad", (event) => {
  if (!event.detail.successful) return;
  missing.delete(part(event));
  tell();
});

// Lists with boxes: all of a page at once, and how many are selected.
for (const form of document.querySelectorAll("[data-selection]")) {
  const boxes = [...form.querySelectorAll("input[name=id]")];
  const all = form.querySelector("[data-all]");
  const sure = boxes.filter((one) => !("doubtful" in one.dataset)); // the others are ticked one by one
  const count = form.querySelector("[data-count]");
  const box = all.querySelector("input");
  const show = () => {
    const ticked = boxes.filter((one) => one.checked).length;
    count.textContent = ticked ? `${ticked} selected` : "";
    box.checked = ticked > 0 && sure.every((one) => one.checked);
    box.indeterminate = ticked > 0 && !box.checked;
  };
  box.addEventListener("change", () => {
    for (const one of box.checked ? sure : boxes) one.checked = box.checked;
    show();
  });
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    if (boxes.some((one) => one.checked)) return;
    event.preventDefault();
    count.textContent = "Select at least one.";
  });
  all.hidden = false;
  show(); // a browser that comes back has ticked boxes
}
