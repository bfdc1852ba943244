// A list of any length of which only the rows in sight exist.

import { el, number } from "./dom.js";
import { STATUSES, gainOf, isBinary, metricOf, valuesOf } from "./query.js";

const MARGIN = 8; // rows kept above and below what is in sight
const MOST_PIXELS = 15_000_000; // of height, which browsers bound; beyond, one filters

export class ItemList {
  /**
   * @param {HTMLElement} box scrolls; holds nothing else
   * @param {import("./query.js").Meta} meta
   * @param {(at: number) => void} open
   */
  constructor(box, meta, open) {
    this.box = box;
    this.meta = meta;
    this.metric = "";
    this.active = -1;
    this.found = { count: 0, rows: () => [] };
    this.space = el("div.space");
    this.nothing = el("p.quiet.nothing", { hidden: true }, "No sample matches.");
    box.append(this.space, this.nothing);
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(box);
    this.space.addEventListener("click", (event) => {
      const item = event.target.closest("[role=option]");
      if (!item) return;
      this.select(Number(item.dataset.at));
      open(this.active);
    });
    this.measure();
  }

  measure() {
    this.height = parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) || 60;
    this.drawn = "";
    this.draw();
  }

  get shown() {
    return Math.min(this.found.count, Math.floor(MOST_PIXELS / this.height));
  }

  /** @param {object} found @param {number | ""} metric @param {boolean} [keep] the place */
  show(found, metric, keep = false) {
    this.found = found;
    this.metric = metric;
    if (!keep) {
      this.active = found.count ? 0 : -1;
      this.box.scrollTop = 0;
    }
    found.arrived = () => this.redraw();
    this.nothing.hidden = found.count > 0;
    this.redraw();
  }

  redraw() {
    this.drawn = "";
    this.draw();
  }

  /** @param {number} at */
  select(at) {
    if (!this.shown) return;
    this.active = Math.max(0, Math.min(this.shown - 1, at));
    const top = this.active * this.height;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop) this.box.scrollTop = top;
    if (top + this.height > scrollTop + clientHeight) {
      this.box.scrollTop = top + this.height - clientHeight;
    }
    this.redraw();
  }

  /** How many rows a page key moves. */
  get page() {
    return Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
  }

  draw() {
    this.space.style.height = `${this.shown * this.height}px`;
    const { scrollTop, clientHeight } = this.box;
    const start = Math.max(0, Math.floor(scrollTop / this.height) - MARGIN);
    const end = Math.min(this.shown, Math.ceil((scrollTop + clientHeight) / this.height) + MARGIN);
    if (this.drawn === `${start}-${end}`) return;
    this.drawn = `${start}-${end}`;
    const rows = this.found.rows(start, end);
    this.space.replaceChildren(...rows.map((row, i) => this.item(row, start + i)));
    if (this.active >= start && this.active < end) {
      this.box.setAttribute("aria-activedescendant", `item-${this.active}`);
    } else this.box.removeAttribute("aria-activedescendant");
  }

  /** @param {import("./query.js").Row | null} row @param {number} at */
  item(row, at) {
    const node = el("div.item", {
      role: "option",
      id: `item-${at}`,
      "aria-selected": String(at === this.active),
      "aria-posinset": at + 1,
      "aria-setsize": this.shown,
      "data-at": at,
    });
    node.style.transform = `translateY(${at * this.height}px)`;
    if (row) node.append(this.marks(row), this.what(row), this.answers(row));
    else node.append(el("span.quiet", {}, "…"));
    return node;
  }

  what(row) {
    const task = this.meta.tasks.length > 1 ? `${this.meta.tasks[row.task].name} · ` : "";
    return el(
      "span.what",
      {},
      el("span.snippet", { dir: "auto" }, row.snippet),
      el("span.where", {}, task + row.id),
    );
  }

  marks(row) {
    const marks = row.sides.map((side, k) => markOf(row, k, this.metric, this.meta));
    if (marks.length === 1) return el("span.marks", {}, marks[0]);
    const gain = gainOf(row, this.metric, this.meta);
    const change = gain ? el("span.change", {}, gain < 0 ? "lost" : "gained") : null;
    return el("span.marks.two", {}, marks[0], el("span.quiet", {}, "→"), marks[1], change);
  }

  answers(row) {
    const given = row.sides.map((side) =>
      el("span.given", { dir: "auto" }, side.status === null ? "not in this run" : side.answer),
    );
    const right = markOf(row, 0, this.metric, this.meta).textContent === "right";
    const wanted = row.target && !(right && row.sides.length === 1);
    return el(
      "span.answers",
      {},
      ...given,
      row.sides.length === 1 && wanted ? el("span.wanted", { dir: "auto" }, row.target) : null,
    );
  }
}

/**
 * What a sample came to, in a word or a number.
 * @param {import("./query.js").Row} row
 * @param {number} k which run
 * @param {number | ""} metric
 * @param {import("./query.js").Meta} meta
 */
export function markOf(row, k, metric, meta) {
  const { status } = row.sides[k];
  if (status === null) return el("span.mark.quiet", {}, "absent");
  const value = valuesOf(row, metric, meta)[k];
  if (value === null) {
    const word = status === 0 ? "none" : STATUSES[status];
    return el(status === 0 ? "span.mark.quiet" : "span.mark.warn", {}, word);
  }
  if (!isBinary(row, metric, meta)) return el("span.mark.number", {}, number(value));
  const right = (value === 1) === meta.metrics[metricOf(row, metric, meta)].higher;
  return el(right ? "span.mark.good" : "span.mark.bad", {}, right ? "right" : "wrong");
}
