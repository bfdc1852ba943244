// The items of a page that holds everything: columns at once, whole samples chunk by chunk.

import { compareBy, matches, searchable } from "./query.js";

const KEPT_CHUNKS = 24;
const TELL_EVERY = 80; // ms
const [UNKNOWN, NO, YES] = [0, 1, 2];

/** @param {string} id @returns {Promise<unknown>} the JSON that an element holds packed */
async function unpack(id) {
  if (!document.getElementById(id) && document.readyState === "loading") {
    await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));
  }
  const bytes = fromBase64(document.getElementById(id).textContent);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** @param {string} text */
function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** @typedef {import("./query.js").Query} Query */

export class EmbeddedSource {
  /** @param {import("./query.js").Meta} meta */
  constructor(meta) {
    this.meta = meta;
    this.starts = [];
    let start = 0;
    for (const size of meta.chunks) {
      this.starts.push(start);
      start += size;
    }
    this.kept = new Map();
    this.searched = { needle: "", verdicts: new Uint8Array(meta.total) };
  }

  /** Read the columns; nothing else works before. */
  async load() {
    this.columns = await unpack("index");
  }

  /** @param {number} position @returns {import("./query.js").Row} */
  row(position) {
    const c = this.columns;
    return {
      position,
      task: c.task[position],
      id: c.id[position],
      snippet: c.snippet[position],
      target: c.target[position],
      alike: c.alike[position],
      facets: c.facets.map((codes) => codes[position]),
      sides: c.sides.map((side) => ({
        status: side.status[position],
        answer: side.answer[position],
        values: side.values.map((values) => values[position]),
      })),
    };
  }

  /**
   * @param {Query} query
   * @param {{ signal: AbortSignal, tell: (found: Found, done: number) => void }} options
   *   `tell` hears of what a search has found so far, and of its share done
   */
  async find(query, { signal, tell }) {
    const { meta } = this;
    const rows = [];
    for (let position = 0; position < meta.total; position++) {
      const row = this.row(position);
      if (matches(row, query, meta)) rows.push(row);
    }
    const compare = compareBy(query.sort, query.metric, meta);
    if (compare) rows.sort(compare);
    const positions = rows.map((row) => row.position);
    if (!query.search) return new Found(this, positions);
    const pick = () => positions.filter((p) => this.searched.verdicts[p] === YES);
    await this.search(query.search.toLowerCase(), positions, signal, (done) =>
      tell(new Found(this, pick()), done),
    );
    return new Found(this, pick());
  }

  /** Mark each position as having the needle or not; what is known from before is kept. */
  async search(needle, positions, signal, tell) {
    this.remember(needle);
    const { verdicts } = this.searched;
    const wanted = new Map();
    for (const position of positions) {
      if (verdicts[position] !== UNKNOWN) continue;
      const chunk = this.chunkOf(position);
      if (!wanted.has(chunk)) wanted.set(chunk, []);
      wanted.get(chunk).push(position);
    }
    let told = performance.now();
    let done = 0;
    for (const chunk of [...wanted.keys()].sort((a, b) => a - b)) {
      const items = await this.chunk(chunk);
      signal.throwIfAborted();
      for (const position of wanted.get(chunk)) {
        const has = searchable(items[position - this.starts[chunk]]).includes(needle);
        verdicts[position] = has ? YES : NO;
      }
      done++;
      if (performance.now() - told > TELL_EVERY) {
        tell(done / wanted.size);
        await new Promise((next) => setTimeout(next)); // let the page draw and listen
        signal.throwIfAborted();
        told = performance.now();
      }
    }
  }

  /** A longer needle cannot be where a shorter one that it contains is not. */
  remember(needle) {
    const before = this.searched;
    if (before.needle === needle) return;
    const narrower = before.needle && needle.includes(before.needle);
    const verdicts = narrower
      ? before.verdicts.map((verdict) => (verdict === NO ? NO : UNKNOWN))
      : new Uint8Array(this.meta.total);
    this.searched = { needle, verdicts };
  }

  /** @param {number} position */
  chunkOf(position) {
    let [low, high] = [0, this.starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** @param {number} chunk */
  async chunk(chunk) {
    if (!this.kept.has(chunk)) {
      this.kept.set(chunk, unpack(`chunk-${chunk}`));
      if (this.kept.size > KEPT_CHUNKS) this.kept.delete(this.kept.keys().next().value);
    }
    return this.kept.get(chunk);
  }

  /** @param {number} position @returns {Promise<(object | null)[]>} the item in each run */
  async open(position) {
    const chunk = this.chunkOf(position);
    return (await this.chunk(chunk))[position - this.starts[chunk]];
  }

  /** @param {string} task @param {string} id @returns {Promise<number | null>} */
  async locate(task, id) {
    const { columns, meta } = this;
    const code = meta.tasks.findIndex((one) => one.name === task);
    const at = columns.id.findIndex((one, i) => one === id && columns.task[i] === code);
    return at < 0 ? null : at;
  }
}

/** The items that a query found, in its order. */
class Found {
  /** @param {EmbeddedSource} source @param {number[]} positions */
  constructor(source, positions) {
    this.source = source;
    this.positions = positions;
    this.count = positions.length;
  }

  /** @param {number} start @param {number} end */
  rows(start, end) {
    return this.positions.slice(start, end).map((position) => this.source.row(position));
  }

  /** @param {number} at @returns {Promise<number>} */
  async position(at) {
    return this.positions[at];
  }

  /** @param {number} position @returns {number} its place, -1 where it is not among them */
  placeOf(position) {
    return this.positions.indexOf(position);
  }
}
