// What every report's page does: tables that sort, and a choice of light or dark.

/**
 * Make a table sortable by the buttons in its head: one direction, the other, as it came.
 * A cell's `data-sort` is what it is sorted by, else its text; empty cells stay at the end.
 * @param {HTMLTableElement} table
 */
function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells].filter((head) => head.dataset.sort !== "none");
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const key = (row) => sortKey(row.cells[head.cellIndex]);
      const numeric = original.every((row) => key(row) === "" || !isNaN(Number(key(row))));
      const steps = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
      const next = steps[steps.indexOf(head.ariaSort) + 1];
      for (const other of heads) other.ariaSort = null;
      if (next) head.ariaSort = next;
      body.append(...(next ? sorted(original, key, numeric, next === "ascending") : original));
      table.classList.toggle("is-sorted", Boolean(next));
    });
  }
}

/** @param {HTMLTableCellElement | undefined} cell */
function sortKey(cell) {
  return cell ? (cell.dataset.sort ?? cell.textContent.trim()) : "";
}

/**
 * @param {HTMLTableRowElement[]} rows
 * @param {(row: HTMLTableRowElement) => string} key
 * @param {boolean} numeric
 * @param {boolean} ascending
 */
function sorted(rows, key, numeric, ascending) {
  const sign = ascending ? 1 : -1;
  const compare = numeric
    ? (a, b) => Number(a) - Number(b)
    : (a, b) => a.localeCompare(b, undefined, { numeric: true });
  const keyed = rows.map((row) => ({ row, key: key(row) }));
  keyed.sort((a, b) => {
    if (a.key === "" || b.key === "") return (a.key === "" ? 1 : 0) - (b.key === "" ? 1 : 0);
    return sign * compare(a.key, b.key);
  });
  return keyed.map((item) => item.row);
}

/**
 * The button that turns between the system's colours, light and dark.
 * @param {HTMLButtonElement} button
 */
function chooseTheme(button) {
  const themes = ["auto", "light", "dark"];
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme;
    button.setAttribute("aria-label", `Colours: ${theme}. Change`);
  };
  show(themes.includes(recall("theme")) ? recall("theme") : "auto");
  button.hidden = false;
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme;
    const theme = themes[(themes.indexOf(now) + 1) % themes.length];
    show(theme);
    remember("theme", theme);
  });
}

// A page from a file may have no storage: then a choice lasts as long as the page.
function recall(name) {
  try {
    return localStorage.getItem(`llmeval.${name}`);
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`llmeval.${name}`, value);
  } catch {
    return;
  }
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("button.theme").forEach(chooseTheme);
