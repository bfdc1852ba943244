// The items of a large run, asked of the local server page by page.

const PAGE = 200; // rows
const KEPT_PAGES = 60;

export class ServedSource {
  /** @param {import("./query.js").Meta} meta */
  constructor(meta) {
    this.meta = meta;
  }

  async load() {}

  /** @param {string} path @param {Record<string, unknown>} [query] @param {AbortSignal} [signal] */
  async ask(path, query = {}, signal = undefined) {
    const parameters = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) {
      if (value !== "" && value !== null && value !== undefined) parameters.set(key, String(value));
    }
    const answer = await fetch(`${this.meta.api}/${path}?${parameters}`, { signal });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  /** @param {import("./query.js").Query} query @param {{ signal: AbortSignal }} options */
  async find(query, { signal }) {
    const first = await this.ask("items", { ...query, offset: 0, limit: PAGE }, signal);
    return new ServedFound(this, query, first);
  }

  /** @param {number} position */
  async open(position) {
    return this.ask(`items/${position}`);
  }

  /** @param {string} task @param {string} id */
  async locate(task, id) {
    return (await this.ask("locate", { task, id })).position;
  }
}

class ServedFound {
  constructor(source, query, first) {
    this.source = source;
    this.query = query;
    this.count = first.count;
    this.pages = new Map([[0, first.rows]]);
    /** Called when rows have come that were not there when they were asked for. */
    this.arrived = () => {};
  }

  /** Rows as far as they are here; null stands for one that is on its way. */
  rows(start, end) {
    const rows = [];
    for (let i = start; i < Math.min(end, this.count); i++) {
      const page = this.pages.get(Math.floor(i / PAGE));
      if (page === undefined) this.fetchPage(Math.floor(i / PAGE));
      rows.push(page && !(page instanceof Promise) ? page[i % PAGE] : null);
    }
    return rows;
  }

  fetchPage(number) {
    const asked = this.source
      .ask("items", { ...this.query, offset: number * PAGE, limit: PAGE })
      .then((answer) => {
        this.pages.set(number, answer.rows);
        if (this.pages.size > KEPT_PAGES) this.pages.delete(this.pages.keys().next().value);
        this.arrived();
        return answer.rows;
      })
      .catch(() => this.pages.delete(number)); // asked again when it is looked at again
    this.pages.set(number, asked);
    return asked;
  }

  async position(at) {
    const number = Math.floor(at / PAGE);
    const page = await (this.pages.get(number) ?? this.fetchPage(number));
    return page[at % PAGE].position;
  }

  placeOf(position) {
    for (const [number, page] of this.pages) {
      if (page instanceof Promise) continue;
      const at = page.findIndex((row) => row.position === position);
      if (at >= 0) return number * PAGE + at;
    }
    return -1;
  }
}
