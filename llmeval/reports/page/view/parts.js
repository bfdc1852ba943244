// Pieces that the parts of an open sample are made of.

import { el, textBlock } from "./dom.js";

/** @typedef {{ side: object, name: string }} There a run that has the sample, and its name */

/** @param {string} title @param {...Node} children */
export function section(title, ...children) {
  return el("section", {}, el("h3", {}, title), ...children);
}

/** @param {string} title @param {...Node} children */
export function folded(title, ...children) {
  return el("details", {}, el("summary", {}, title), ...children);
}

/** One run as it is, two side by side. @param {There[]} there @param {(one: There, k: number) => Node} show */
export function columns(there, show) {
  if (there.length === 1) return show(there[0], 0);
  const parts = there.map((one, k) => el("div", {}, el("h4", {}, one.name), show(one, k)));
  return el("div.columns", {}, ...parts);
}

/** A prompt: a text, or turns of a chat with their roles. @param {string | [string, string][]} turns */
export function prompt(turns) {
  if (typeof turns === "string") return textBlock(turns);
  const rows = turns.map(([role, content]) =>
    el("div.turn", {}, el("div.role", {}, role), textBlock(content)),
  );
  return el("div.chat", {}, ...rows);
}

/** @param {unknown} value of a data row */
export function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 1);
}
