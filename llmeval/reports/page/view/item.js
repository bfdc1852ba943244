// One sample whole, of one run or of two side by side.

import { answers } from "./answers.js";
import { count, el, marked, number, short, textBlock } from "./dom.js";
import { asText, columns, folded, prompt, section } from "./parts.js";

/**
 * @param {(object | null)[]} item an entry for each run, null where it lacks the sample
 * @param {import("./query.js").Meta} meta
 * @returns {HTMLElement[]}
 */
export function showItem(item, meta) {
  const sides = item.map((side, k) => ({ side, name: meta.sides[k].name }));
  const there = sides.filter(({ side }) => side);
  const first = there[0].side;
  const alike = there.every(({ side }) => same(side.prompt, first.prompt));
  return [
    heading(first, sides),
    section("Scores", scoresTable(there)),
    ...(alike
      ? [section("Prompt", tail(prompt(first.prompt)), tokensOfPrompt(first))]
      : [section("Prompt, asked differently", columns(there, ({ side }) => tail(prompt(side.prompt))))]),
    first.target === null ? null : section("Target", textBlock(first.target)),
    answers(there),
    foldedTable("Metadata", first.metadata),
    foldedTable("Data row", first.fields),
  ].filter(Boolean);
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

function heading(first, sides) {
  const absent = sides.filter(({ side }) => !side).map(({ name }) => `${name} does not have it`);
  const cluster = first.cluster === null ? null : `cluster ${first.cluster}`;
  const slices = Object.entries(first.metadata).map(([key, value]) => `${key}: ${asText(value)}`);
  const chips = [first.task, ...slices, cluster, ...absent].filter(Boolean).slice(0, 12);
  return el("p.chips", {}, ...chips.map((text) => el("span.chip", {}, short(text, 60))));
}

// -- prompt ---------------------------------------------------------------------------------------

/** A long prompt opens at its end: the question stands behind the examples. */
function tail(node) {
  return el("div.tail", { tabindex: 0, role: "region", "aria-label": "Prompt" }, node);
}

/** What the model read: the prompt's tokens, without a continuation's. */
function tokensOfPrompt({ exchanges }) {
  const response = exchanges[0]?.response;
  if (!response?.prompt_tokens) return null;
  const read = response.prompt_tokens - (response.num_tokens ?? 0);
  const cut = response.truncated ? `, ${response.truncated.toLocaleString("en")} more cut off on the left` : "";
  return el(response.truncated ? "p.note.warn" : "p.note", {}, count(read, "token") + cut);
}

// -- scores ---------------------------------------------------------------------------------------

function scoresTable(there) {
  const names = [...new Set(there.flatMap(({ side }) => side.scores.map((score) => score.metric)))];
  const rows = names.map((name) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      ...there.flatMap(({ side }) => scoreCells(side.scores.find((score) => score.metric === name))),
    ),
  );
  const wide = there.length > 1;
  const over = el("tr", {}, el("td"), ...there.map(({ name }) => el("th.over", { scope: "colgroup", colspan: 2 }, name)));
  const head = ["metric", ...there.flatMap(() => ["value", "read, or why not scored"])];
  return el(
    "div.scroll",
    {},
    el(
      "table",
      {},
      el("thead", {}, wide ? over : null, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, ...rows),
    ),
  );
}

function scoreCells(score) {
  if (!score) return [el("td.quiet", {}, "–"), el("td")];
  const value =
    score.status === "scored"
      ? score.value === null ? el("td.quiet", {}, "of the corpus") : el("td", {}, number(score.value))
      : el("td.warn", {}, score.status);
  const told = score.reason ?? score.extracted;
  return [value, el("td.told", { dir: "auto" }, ...(told === null ? [] : marked(short(told, 2000))))];
}

// -- data -----------------------------------------------------------------------------------------

function foldedTable(title, data) {
  const entries = typeof data === "object" && data ? Object.entries(data) : [["", data]];
  if (!entries.length) return null;
  const rows = entries.map(([key, value]) =>
    el("tr", {}, el("th", { scope: "row" }, key), el("td", {}, textBlock(asText(value)))),
  );
  return folded(`${title} (${count(entries.length, "field")})`, el("table.data", {}, el("tbody", {}, ...rows)));
}
