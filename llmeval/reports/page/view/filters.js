// The controls above the list, and the query that they make.

import { el } from "./dom.js";
import { STATUSES } from "./query.js";

const SEARCH_WAITS = 180; // ms after the last letter

/** @type {import("./query.js").Query} */
const EVERYTHING = {
  search: "", task: "", status: "", metric: "", score: "", low: "", high: "",
  facet: "", value: "", sort: "",
};

const SCORES = {
  one: [["", "any score"], ["right", "right"], ["wrong", "wrong"], ["between", "between …"]],
  two: [
    ["", "any scores"], ["changed", "changed"], ["lost", "lost: better before"],
    ["gained", "gained: better after"], ["right", "both right"], ["wrong", "both wrong"],
    ["between", "between …"],
  ],
};
const SORTS = [["", "as in the record"], ["id", "by id"], ["worst", "worst first"], ["best", "best first"]];
const PAIR_SORTS = [["loss", "greatest loss first"], ["gain", "greatest gain first"]];

export class Filters {
  /**
   * @param {HTMLElement} bar
   * @param {import("./query.js").Meta} meta
   * @param {() => void} changed
   */
  constructor(bar, meta, changed) {
    this.meta = meta;
    this.changed = changed;
    const pair = meta.sides.length > 1;
    this.search = el("input", {
      type: "search", id: "search", placeholder: "Search prompts, answers, targets", spellcheck: "false",
      autocomplete: "off", oninput: () => this.later(),
    });
    this.selects = {
      task: this.select("Task", "task", meta.tasks.length > 1 && [
        ["", "all tasks"], ...meta.tasks.map((task, i) => [i, `${task.name} (${task.n})`]),
      ]),
      metric: this.select("Metric", "metric", meta.metrics.length > 1 && [
        ["", "first of each task"], ...meta.metrics.map((metric, i) => [i, metric.name]),
      ]),
      score: this.select("Score", "score", pair ? SCORES.two : SCORES.one),
      status: this.select("Status", "status", [["", "any status"], ...STATUSES.map((s, i) => [i, s])]),
      facet: this.select("Slice", "slice", meta.facets.length > 0 && [["", "all"]]),
      sort: this.select("Order", "order", pair ? [...SORTS, ...PAIR_SORTS] : SORTS),
    };
    this.addFacets();
    this.low = this.bound("low", "from");
    this.high = this.bound("high", "to");
    this.range = el("span.field.range", { hidden: true }, this.low, this.high);
    this.clear = el("button.plain", { type: "button", hidden: true, onclick: () => this.reset() }, "Clear");
    const find = el("span.field.search", {}, el("label", { for: "search" }, "Search"), this.search);
    const fields = Object.values(this.selects).map((select) => select.parentElement);
    fields.splice(3, 0, this.range);
    bar.append(find, ...fields, this.clear);
  }

  select(label, id, options) {
    const node = el("select", { id: `by-${id}`, onchange: () => this.now() });
    for (const [value, text] of options || [["", ""]]) node.append(el("option", { value }, text));
    el("span.field", { hidden: !options }, el("label", { for: node.id }, label), node);
    return node;
  }

  bound(id, label) {
    return el("input", {
      type: "number", step: "any", id, "aria-label": `Value ${label}`, placeholder: label,
      oninput: () => this.later(),
    });
  }

  addFacets() {
    this.meta.facets.forEach((facet, j) => {
      const group = el("optgroup", { label: facet.key });
      facet.values.forEach((value, v) => {
        group.append(el("option", { value: `${j}:${v}` }, `${facet.key}: ${value}`));
      });
      this.selects.facet.append(group);
    });
  }

  /** @returns {import("./query.js").Query} */
  get query() {
    const code = (text) => (text === "" ? "" : Number(text));
    const { task, metric, score, status, facet, sort } = this.selects;
    const [key, value] = facet.value ? facet.value.split(":") : ["", ""];
    return {
      search: this.search.value,
      task: code(task.value), metric: code(metric.value), status: code(status.value),
      score: score.value, low: code(this.low.value), high: code(this.high.value),
      facet: code(key), value: code(value), sort: sort.value,
    };
  }

  reset() {
    this.search.value = this.low.value = this.high.value = "";
    for (const select of Object.values(this.selects)) select.value = "";
    this.now();
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.now(), SEARCH_WAITS);
  }

  now() {
    clearTimeout(this.timer);
    const query = this.query;
    this.range.hidden = query.score !== "between";
    this.clear.hidden = Object.keys(EVERYTHING).every((key) => query[key] === EVERYTHING[key]);
    this.changed();
  }
}
