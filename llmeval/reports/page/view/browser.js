// The sample browser: filters, list, the sample that is open, keys, and the link to it.

import { byId, count, el, plain } from "./dom.js";
import { EmbeddedSource } from "./embedded.js";
import { Filters } from "./filters.js";
import { ItemList } from "./list.js";
import { showItem } from "./item.js";
import { ServedSource } from "./served.js";

class Browser {
  /** @param {import("./query.js").Meta} meta */
  constructor(meta) {
    this.meta = meta;
    this.source = meta.api ? new ServedSource(meta) : new EmbeddedSource(meta);
    this.tally = byId("tally");
    this.bar = byId("progress");
    this.panel = byId("item");
    this.filters = new Filters(byId("filters"), meta, () => this.find());
    this.list = new ItemList(byId("items"), meta, (at) => this.open(at));
    this.opened = null;
    this.panel.addEventListener("close", () => this.closed());
    this.panel.addEventListener("click", (event) => event.target === this.panel && this.panel.close());
    document.addEventListener("keydown", (event) => this.press(event));
    window.addEventListener("hashchange", () => this.follow());
  }

  async start() {
    await this.source.load();
    await this.find();
    await this.follow();
  }

  /** Show what the filters ask for; a search shows what it has found so far. */
  async find() {
    this.searching?.abort();
    const searching = (this.searching = new AbortController());
    const query = this.filters.query;
    let began = false;
    const show = (found, done) => {
      this.list.show(found, query.metric, began);
      began = true;
      this.tell(found.count, done);
    };
    try {
      this.list.box.setAttribute("aria-busy", "true");
      this.tell(null, query.search ? 0 : 1);
      const found = await this.source.find(query, { signal: searching.signal, tell: show });
      if (!searching.signal.aborted) show(found, 1);
    } catch (error) {
      if (!searching.signal.aborted) this.fail(error);
    }
    if (!searching.signal.aborted) this.list.box.removeAttribute("aria-busy");
  }

  /** @param {number | null} found @param {number} done share of a search */
  tell(found, done) {
    this.bar.hidden = done >= 1;
    this.bar.value = done;
    if (found === null) return;
    const all = this.meta.total;
    const of = found === all ? count(all, "sample") : `${found.toLocaleString("en")} of ${count(all, "sample")}`;
    const cut = this.list.shown < found ? `; the first ${this.list.shown.toLocaleString("en")} are listed` : "";
    this.tally.textContent = done < 1 ? `${of} so far` : of + cut;
  }

  fail(error) {
    this.bar.hidden = true;
    this.tally.textContent = `This failed: ${error.message}`;
  }

  /** Open the sample at a place of the list. @param {number} at */
  async open(at) {
    await this.openPosition(await this.list.found.position(at), at);
  }

  /** @param {number} position @param {number} at its place in the list, -1 where it is not in it */
  async openPosition(position, at) {
    this.opened = { position, at };
    let item;
    try {
      item = await this.source.open(position);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.opened?.position !== position) return; // another was asked for meanwhile
    const place = at < 0 ? "" : `${(at + 1).toLocaleString("en")} of ${this.list.found.count.toLocaleString("en")}`;
    byId("item-place").textContent = place;
    byId("item-before").disabled = at <= 0;
    byId("item-after").disabled = at < 0 || at >= this.list.shown - 1;
    byId("item-body").replaceChildren(...showItem(item, this.meta));
    const side = item.find(Boolean);
    byId("item-title").textContent = plain(side.id);
    const link = `#${encodeURIComponent(side.task)}/${encodeURIComponent(side.id)}`;
    if (location.hash !== link) history[this.panel.open ? "replaceState" : "pushState"](null, "", link);
    if (!this.panel.open) this.panel.showModal();
    byId("item-body").scrollTop = 0;
    for (const node of this.panel.querySelectorAll(".tail")) node.scrollTop = node.scrollHeight;
    byId("item-body").focus({ preventScroll: true });
  }

  /** @param {number} step */
  async move(step) {
    if (!this.panel.open) {
      this.list.box.focus({ preventScroll: true });
      return this.list.select(this.list.active + step);
    }
    const at = this.opened.at + step;
    if (this.opened.at < 0 || at < 0 || at >= this.list.shown) return undefined;
    this.list.select(at);
    return this.open(at);
  }

  closed() {
    this.opened = null;
    if (location.hash.includes("/")) history.pushState(null, "", location.pathname + location.search);
    this.list.box.focus({ preventScroll: true });
  }

  /** Open what the address names; close what it no longer does. */
  async follow() {
    const [task, id] = parseLink(location.hash);
    if (id === undefined) {
      if (this.panel.open) this.panel.close();
      return;
    }
    const position = await this.source.locate(task, id);
    if (position === null) {
      this.tally.textContent = `There is no sample ${plain(id)} of task ${plain(task)}.`;
      return;
    }
    if (this.opened?.position === position) return;
    const at = this.list.found.placeOf(position);
    if (at >= 0) this.list.select(at);
    await this.openPosition(position, at);
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea");
    if (typing) {
      if (event.key === "Escape" && typing.type === "search") this.list.box.focus();
      return;
    }
    const scrolls = this.panel.open || byId("help").open;
    const inList = this.list.box.contains(document.activeElement);
    const act = {
      j: () => this.move(1),
      k: () => this.move(-1),
      ArrowDown: inList && !scrolls && (() => this.move(1)),
      ArrowUp: inList && !scrolls && (() => this.move(-1)),
      ArrowRight: this.panel.open && (() => this.move(1)),
      ArrowLeft: this.panel.open && (() => this.move(-1)),
      PageDown: inList && !scrolls && (() => this.move(this.list.page)),
      PageUp: inList && !scrolls && (() => this.move(-this.list.page)),
      Home: inList && !scrolls && (() => this.list.select(0)),
      End: inList && !scrolls && (() => this.list.select(this.list.shown - 1)),
      Enter: inList && !scrolls && this.list.active >= 0 && (() => this.open(this.list.active)),
      "/": () => {
        this.panel.close();
        this.filters.search.focus();
      },
      "?": () => byId("help").showModal(),
    }[event.key];
    if (!act || byId("help").open) return;
    event.preventDefault();
    act();
  }
}

/** What `#task/sample` names; no sample where it names a section of the page. @param {string} hash */
function parseLink(hash) {
  const slash = hash.indexOf("/");
  if (slash < 0) return [hash.slice(1), undefined];
  return [hash.slice(1, slash), hash.slice(slash + 1)].map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

const browser = new Browser(JSON.parse(byId("meta").textContent));
byId("item-before").addEventListener("click", () => browser.move(-1));
byId("item-after").addEventListener("click", () => browser.move(1));
byId("show-help").addEventListener("click", () => byId("help").showModal());
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
browser.start().catch((error) => {
  byId("items").replaceChildren(el("p.bad", {}, `The samples cannot be shown: ${error.message}`));
});
