// What is asked of the items, and what it means. The server's queries.py means the same.

/**
 * @typedef {object} Meta
 * @property {{ name: string, id: string }[]} sides the run, or the two that stand side by side
 * @property {{ name: string, n: number, metric: number | null, binary: number[] }[]} tasks `metric`
 *   is the first one, those in `binary` are 0 or 1 for every sample
 * @property {{ name: string, higher: boolean }[]} metrics
 * @property {{ key: string, values: string[] }[]} facets
 * @property {number} total
 * @property {number[]} chunks samples in each chunk of the page
 * @property {string} api where the server answers; "" in a page that holds everything
 *
 * @typedef {object} Side
 * @property {number | null} status a place in STATUSES; null where the run lacks the item
 * @property {string} answer
 * @property {(number | null)[]} values one for each metric
 *
 * @typedef {object} Row
 * @property {number} position
 * @property {number} task a place in `Meta.tasks`
 * @property {string} id
 * @property {string} snippet
 * @property {string | null} target
 * @property {boolean} alike asked in the same way by both runs
 * @property {(number | null)[]} facets
 * @property {Side[]} sides
 *
 * @typedef {object} Query
 * @property {string} search a part of any text, in any case
 * @property {number | ""} task
 * @property {number | ""} status of any run
 * @property {number | ""} metric which `score`, `low`, `high` and `sort` are about; "": each task's first
 * @property {"" | "right" | "wrong" | "between" | "changed" | "lost" | "gained"} score
 *   of two runs, `right` and `wrong` mean both; `lost` and `gained` go from the first to the second
 * @property {number | ""} low
 * @property {number | ""} high
 * @property {number | ""} facet
 * @property {number | ""} value a place in the facet's values
 * @property {"" | "id" | "best" | "worst" | "gain" | "loss"} sort
 */

export const STATUSES = ["scored", "unscored", "errored"];

/** @param {Row} row @param {number | ""} metric @param {Meta} meta @returns {number | null} */
export function metricOf(row, metric, meta) {
  return metric === "" ? meta.tasks[row.task].metric : metric;
}

/** @param {Row} row @param {number | ""} metric @param {Meta} meta @returns {(number | null)[]} */
export function valuesOf(row, metric, meta) {
  const m = metricOf(row, metric, meta);
  return row.sides.map((side) => (m === null ? null : (side.values[m] ?? null)));
}

/** Whether samples of the row's task are right or wrong. */
export function isBinary(row, metric, meta) {
  return meta.tasks[row.task].binary.includes(metricOf(row, metric, meta));
}

/** How much better the second run is; null where one has no number. */
export function gainOf(row, metric, meta) {
  const [before, after] = valuesOf(row, metric, meta);
  if (before === null || after === null || after === undefined) return null;
  return meta.metrics[metricOf(row, metric, meta)].higher ? after - before : before - after;
}

/** @param {Row} row @param {Query} query @param {Meta} meta */
export function matches(row, query, meta) {
  if (query.task !== "" && row.task !== query.task) return false;
  if (query.status !== "" && !row.sides.some((side) => side.status === query.status)) return false;
  if (query.facet !== "" && query.value !== "" && row.facets[query.facet] !== query.value) return false;
  return query.score === "" || hasScore(row, query, meta);
}

function hasScore(row, query, meta) {
  const values = valuesOf(row, query.metric, meta);
  if (query.score === "between") {
    const [low, high] = [query.low === "" ? -Infinity : query.low, query.high === "" ? Infinity : query.high];
    return values.some((value) => value !== null && value >= low && value <= high);
  }
  if (query.score === "right" || query.score === "wrong") {
    if (!isBinary(row, query.metric, meta)) return false;
    const { higher } = meta.metrics[metricOf(row, query.metric, meta)];
    return values.every((value) => value === (higher === (query.score === "right") ? 1 : 0));
  }
  const gain = gainOf(row, query.metric, meta);
  if (gain === null) return false;
  return query.score === "lost" ? gain < 0 : query.score === "gained" ? gain > 0 : gain !== 0;
}

/** @returns {((a: Row, b: Row) => number) | null} null: as they stand in the record */
export function compareBy(sort, metric, meta) {
  if (sort === "") return null;
  if (sort === "id") {
    return (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : a.position - b.position);
  }
  const key = sort === "gain" || sort === "loss" ? gainOf : goodness;
  const sign = sort === "best" || sort === "gain" ? -1 : 1;
  return (a, b) => {
    const [x, y] = [key(a, metric, meta), key(b, metric, meta)];
    if (x === null || y === null) {
      return (x === null ? 1 : 0) - (y === null ? 1 : 0) || a.position - b.position;
    }
    return sign * (x - y) || a.position - b.position;
  };
}

/** The last run's value, turned so that more is better. */
function goodness(row, metric, meta) {
  const value = valuesOf(row, metric, meta).at(-1);
  if (value === null) return null;
  return meta.metrics[metricOf(row, metric, meta)].higher ? value : -value;
}

/** All texts of an item in lower case. @param {(object | null)[]} item one entry for each run */
export function searchable(item) {
  const texts = [];
  const add = (text) => typeof text === "string" && texts.push(text);
  const addPrompt = (prompt) =>
    Array.isArray(prompt) ? prompt.forEach(([, content]) => add(content)) : add(prompt);
  for (const side of item) {
    if (!side) continue;
    [side.id, side.target].forEach(add);
    addPrompt(side.prompt);
    for (const { request, response } of side.exchanges) {
      addPrompt(request.prompt);
      [request.rest?.[0], response.text, response.reasoning, response.reason].forEach(add);
    }
    for (const score of side.scores) [score.extracted, score.reason].forEach(add);
  }
  return texts.join("\n").toLowerCase();
}
