// Which words of two texts differ: Myers' shortest edit script (1986) over words and blanks.

import { el, marked } from "./dom.js";

const MOST_EDITS = 1500;
const LEAST_COMMON = 4; // letters; shorter matches amid changes are chance and only confuse

/**
 * @typedef {{ same: boolean, text: string }} Piece
 * @param {string} a
 * @param {string} b
 * @returns {[Piece[], Piece[]]} both texts in pieces that the other has, or lacks
 */
export function diffWords(a, b) {
  const [left, right] = [words(a), words(b)];
  const least = Math.min(left.length, right.length);
  let start = 0;
  while (start < least && left[start] === right[start]) start++;
  let end = 0;
  while (end < least - start && left.at(-1 - end) === right.at(-1 - end)) end++;
  const middle = [left, right].map((list) => list.slice(start, list.length - end));
  const kept = dropChance(commonWords(middle[0], middle[1]), middle[0]);
  return [left, right].map((list, side) => {
    const same = list.map((_, i) => i < start || i >= list.length - end);
    for (const pair of kept) same[start + pair[side]] = true;
    return join(list, same);
  });
}

/** @param {string} text */
function words(text) {
  return text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
}

/** @param {string[]} list @param {boolean[]} same @returns {Piece[]} */
function join(list, same) {
  const pieces = [];
  list.forEach((text, i) => {
    if (pieces.at(-1)?.same === same[i]) pieces.at(-1).text += text;
    else pieces.push({ same: same[i], text });
  });
  return pieces;
}

/**
 * Pairs of positions of a longest common subsequence; none where the texts differ too much.
 * @param {string[]} a
 * @param {string[]} b
 * @returns {[number, number][]}
 */
function commonWords(a, b) {
  const most = Math.min(a.length + b.length, MOST_EDITS);
  const offset = most + 1;
  const reached = new Int32Array(2 * most + 3);
  const history = [];
  for (let edits = 0; edits <= most; edits++) {
    history.push(reached.slice(offset - edits - 1, offset + edits + 2));
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && reached[offset + k - 1] < reached[offset + k + 1]);
      let x = down ? reached[offset + k + 1] : reached[offset + k - 1] + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      reached[offset + k] = x;
      if (x >= a.length && x - k >= b.length) return trace(history, a.length, b.length);
    }
  }
  return [];
}

/**
 * Leave out matches that are too short to mean anything.
 * @param {[number, number][]} pairs from the end to the start
 * @param {string[]} words of the first text
 */
function dropChance(pairs, words) {
  const runs = [];
  for (const pair of pairs.reverse()) {
    const last = runs.at(-1)?.at(-1);
    if (last && last[0] + 1 === pair[0] && last[1] + 1 === pair[1]) runs.at(-1).push(pair);
    else runs.push([pair]);
  }
  const length = (run) => run.reduce((sum, [i]) => sum + words[i].trim().length, 0);
  return runs.filter((run) => length(run) >= LEAST_COMMON).flat();
}

/**
 * Walk the edit script back from its end.
 * @param {Int32Array[]} history how far each diagonal had come before each edit
 * @param {number} x
 * @param {number} y
 */
function trace(history, x, y) {
  const pairs = [];
  for (let edits = history.length - 1; edits >= 0; edits--) {
    const reached = (k) => history[edits][k + edits + 1];
    const k = x - y;
    const down = k === -edits || (k !== edits && reached(k - 1) < reached(k + 1));
    const line = down ? k + 1 : k - 1;
    const before = edits > 0 ? reached(line) : 0;
    const start = down ? before : before + 1;
    while (x > start) pairs.push([--x, x - k]);
    [x, y] = [before, before - line];
  }
  return pairs;
}

/** @param {Piece[]} pieces @param {"del" | "ins"} tag @returns {Node[]} */
export function showPieces(pieces, tag) {
  return pieces.flatMap((piece) =>
    piece.same ? marked(piece.text) : [el(tag, {}, ...marked(piece.text))],
  );
}
