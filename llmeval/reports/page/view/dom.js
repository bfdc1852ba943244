// Elements from plain data. Text goes in as text only, with what would be unseen spelled out:
// nothing here reads markup.

/**
 * @param {string} tag a name, with classes behind dots: "span.chip.good"
 * @param {Record<string, unknown>} [attributes] null and false leave one out; `on…` listens
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  node.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : plain(String(value)));
  }
  const shown = children.filter((child) => child || child === "");
  node.append(...shown.map((child) => (typeof child === "string" ? plain(child) : child)));
  return node;
}

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  return document.getElementById(id);
}

// What would be unseen or would turn its neighbours around: see page/text.py.
const UNSEEN =
  "\\0-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff";
const UNSEEN_RUN = new RegExp(`([${UNSEEN}])\\1*`, "g");
const ANY_UNSEEN = new RegExp(`[${UNSEEN}]`, "g");
const MOST_MARKS = 3000;
const FIRST_SHOWN = 20_000;

/** @param {string} character */
function codeOf(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** A text on one line of a list. @param {string | null} text */
export function plain(text) {
  return (text ?? "").replace(ANY_UNSEEN, (found) => `⟨${codeOf(found)}⟩`);
}

/** A text with marks for what would be unseen. @param {string} text @returns {Node[]} */
export function marked(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(UNSEEN_RUN)) {
    if (nodes.length > MOST_MARKS) break;
    nodes.push(document.createTextNode(text.slice(end, found.index)));
    const times = found[0].length > 1 ? ` ×${found[0].length}` : "";
    nodes.push(el("span.control", { title: "a control character" }, codeOf(found[1]) + times));
    end = found.index + found[0].length;
  }
  nodes.push(document.createTextNode(text.slice(end).replace(ANY_UNSEEN, "\ufffd")));
  return nodes;
}

/**
 * A block of foreign text; a long one shows its beginning and a button for the rest.
 * @param {string} text
 * @param {(text: string) => Node[]} [show]
 */
export function textBlock(text, show = marked) {
  if (text === "") return el("p.quiet.nothing", {}, "(empty)");
  const block = el("pre.text", { dir: "auto" }, ...show(text.slice(0, FIRST_SHOWN)));
  if (text.length <= FIRST_SHOWN) return block;
  const label = `Show all ${text.length.toLocaleString("en")} characters`;
  const more = el("button.plain", { type: "button" }, label);
  more.addEventListener("click", () => {
    block.replaceChildren(...show(text));
    more.remove();
  });
  return el("div", {}, block, more);
}

/** @param {string} text @param {number} most characters */
export function short(text, most) {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}

/** @param {number | null | undefined} value */
export function number(value) {
  if (typeof value !== "number") return value ?? "none"; // "inf" and the like stay words
  if (value !== 0 && Math.abs(value) < 0.0005) return value.toExponential(1);
  return Math.abs(value) < 1000 ? value.toFixed(3) : Math.round(value).toLocaleString("en");
}

/** @param {number} n @param {string} noun */
export function count(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}
