// Choices with their log-probabilities: which is right, which was picked, by which metric.

import { el, marked, number, short } from "./dom.js";

const NOTE = "Share: the choice's part of all choices' probability (softmax of the log-probabilities).";

/** @param {import("./parts.js").There[]} there */
export function haveSameChoices(there) {
  const texts = there.map(({ side }) => JSON.stringify(side.exchanges.map((one) => one.request.rest)));
  return texts.every((text) => text === texts[0]);
}

/** @param {import("./parts.js").There[]} there one run, or two that were asked for the same choices */
export function choicesTable(there) {
  const wide = there.length > 1;
  const names = [["log-probability", "num"], ["tokens", "num"], ["share", "num"], ["", ""]];
  const shown = wide ? names.filter(([name]) => name !== "tokens") : names;
  const over = there.map(({ name }) => el("th.over", { scope: "colgroup", colspan: shown.length }, name));
  const head = [["choice", ""], ...there.flatMap(() => shown)].map(([text, name]) =>
    el(name ? `th.${name}` : "th", { scope: "col" }, text),
  );
  const rows = there[0].side.choices.map((_, i) => choiceRow(there, i));
  const table = el(
    "table.choices",
    {},
    el("thead", {}, wide ? el("tr", {}, el("td"), ...over) : null, el("tr", {}, ...head)),
    el("tbody", {}, ...rows),
  );
  return el("div", {}, el("div.scroll", {}, table), el("p.note", {}, NOTE));
}

function choiceRow(there, i) {
  const text = there[0].side.exchanges[i].request.rest[0];
  const right = there.some(({ side }) => side.choices[i].right);
  const name = el("span", { dir: "auto" }, ...marked(short(text.trim(), 4000)));
  return el(
    right ? "tr.right" : "tr",
    {},
    el("th.choice", { scope: "row" }, name, right ? el("span.chip.good", {}, "right") : null),
    ...there.flatMap(({ side }) => choiceCells(side, i, there.length > 1)),
  );
}

function choiceCells(side, i, narrow) {
  const [choice, { response }] = [side.choices[i], side.exchanges[i]];
  const meter = el("span.meter", { "aria-hidden": "true" }, el("span"));
  meter.firstChild.style.width = `${100 * (choice.share ?? 0)}%`;
  const name = choice.right === false ? ".bad" : choice.right ? ".good" : "";
  const picked = choice.picked.length && el(`span.chip${name}`, {}, `picked: ${choice.picked.join(", ")}`);
  const logprob = response.kind === "failure" ? "failed" : number(response.logprob);
  return [
    el("td.num", {}, logprob),
    narrow ? null : el("td.num.quiet", {}, String(response.num_tokens ?? "")),
    el("td.num", {}, choice.share === null ? "" : `${(100 * choice.share).toFixed(1)}%`),
    el("td.picked", {}, meter, picked || null),
  ];
}
