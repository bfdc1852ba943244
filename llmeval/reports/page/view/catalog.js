// The list of runs: two that are chosen open side by side, the first as the baseline.

import { byId } from "./dom.js";

const button = byId("side-by-side");
/** @type {string[]} ids, in the order in which they were chosen */
let chosen = [];

document.addEventListener("change", (event) => {
  if (!event.target.matches(".pick")) return;
  const { value, checked } = event.target;
  chosen = chosen.filter((id) => id !== value);
  if (checked) chosen.push(value);
  button.disabled = chosen.length !== 2;
});

button.addEventListener("click", () => {
  location.href = `/view/${chosen.map(encodeURIComponent).join("/")}`;
});
