// What was answered: completions, with their words compared, and single log-probabilities.

import { choicesTable, haveSameChoices } from "./choices.js";
import { diffWords, showPieces } from "./diff.js";
import { count, el, marked, number, short, textBlock } from "./dom.js";
import { columns, folded, prompt, section } from "./parts.js";

/** @param {import("./parts.js").There[]} there */
export function answers(there) {
  if (there.every(({ side }) => side.choices)) {
    const together = haveSameChoices(there);
    return section("Choices", together ? choicesTable(there) : columns(there, (one) => choicesTable([one])));
  }
  const most = Math.max(...there.map(({ side }) => side.exchanges.length));
  if (!most) return section("Answer", el("p.quiet", {}, "Nothing was asked."));
  const parts = [];
  for (let i = 0; i < most; i++) {
    const title = most > 1 ? `Answer ${i + 1} of ${most}` : "Answer";
    parts.push(section(title, columns(there, (one, k) => exchange(one.side, i, otherText(there, k, i), k))));
  }
  return el("div", {}, ...parts);
}

function otherText(there, k, i) {
  const text = there[1 - k]?.side.exchanges[i]?.response.text;
  return there.length > 1 && typeof text === "string" ? text : null;
}

/** One question with its answer. @param {string | null} other the other run's answer */
function exchange(side, i, other, k) {
  const one = side.exchanges[i];
  if (!one) return el("p.quiet", {}, "Not asked.");
  const { request, response } = one;
  const own = request.prompt === undefined ? null : folded("Its prompt", prompt(request.prompt));
  return el("div", {}, own, el("p.note", {}, ...facts(request, response)), ...answer(request, response, other, k));
}

function answer(request, response, other, k) {
  if (response.kind === "failure") return [el("p.bad", {}, "No answer: ", ...marked(response.reason))];
  if (response.kind === "loglikelihood") {
    const text = typeof request.rest?.[0] === "string" ? textBlock(request.rest[0]) : null;
    return [text].filter(Boolean);
  }
  const [tag, pieces] = k === 0 ? ["del", (text) => diffWords(text, other)[0]] : ["ins", (text) => diffWords(other, text)[1]];
  const show = other === null ? marked : (text) => showPieces(pieces(text), tag);
  const parts = [textBlock(response.text, show)];
  if (response.reasoning) parts.push(folded("Reasoning", textBlock(response.reasoning)));
  if (response.top_logprobs) parts.push(folded("First token's alternatives", alternatives(response.top_logprobs)));
  return parts;
}

function alternatives(logprobs) {
  const rows = Object.entries(logprobs).sort((a, b) => b[1] - a[1]);
  const cells = rows.map(([token, logprob]) =>
    el("tr", {}, el("th.mono", { scope: "row" }, ...marked(JSON.stringify(token))), el("td.num", {}, number(logprob))),
  );
  return el("table", {}, el("tbody", {}, ...cells));
}

/** What the record says of an answer, as chips. */
function facts(request, response) {
  const chip = (text, name = "") => el(`span.chip${name}`, {}, text);
  const chips = [];
  if (response.kind === "loglikelihood") {
    chips.push(chip(`log-probability ${number(response.logprob)}`), chip(count(response.num_tokens, "token")));
    if (response.is_greedy) chips.push(chip("what greedy decoding would say"));
  }
  if (response.kind === "generation") {
    const { finish_reason: reason } = response;
    chips.push(chip(`ended by ${reason}`, reason === "stop" ? "" : ".warn"));
    const [read, written] = [response.prompt_tokens ?? 0, response.completion_tokens ?? 0];
    if (read || written) chips.push(chip(`${count(read, "token")} read, ${written.toLocaleString("en")} written`));
    if (response.reasoning_tokens) chips.push(chip(`${count(response.reasoning_tokens, "token")} of thoughts`));
    if (response.cached_tokens) chips.push(chip(`${count(response.cached_tokens, "token")} from the provider's cache`));
  }
  if (response.truncated) chips.push(chip(`${count(response.truncated, "token")} cut off on the left`, ".warn"));
  if (response.boundary) chips.push(chip(`boundary: ${response.boundary}`));
  const [sampling, repeat] = request.kind === "generate" ? (request.rest ?? []) : [];
  if (sampling && typeof sampling === "object") {
    for (const [key, value] of Object.entries(sampling)) {
      chips.push(chip(`${key} ${short(JSON.stringify(value), 60)}`));
    }
  }
  if (repeat) chips.push(chip(`draw ${repeat + 1}`));
  return chips.flatMap((node) => [node, " "]);
}
