// Sorting by a column, and the filter of rows. Measured and published rows are sorted apart, and stay apart.
for (const table of document.querySelectorAll("table.sortable")) {
  const bodies = [...table.tBodies].map((body) => ({ body, rows: [...body.rows] }));
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, place) => head.firstElementChild.addEventListener("click", () => {
    const first = head.firstElementChild.dataset.sort;
    const second = first === "descending" ? "ascending" : "descending";
    const order = { none: first, [first]: second, [second]: "none" }[head.ariaSort];
    for (const other of heads) other.ariaSort = "none";
    head.ariaSort = order;
    for (const { body, rows } of bodies) body.append(...(order === "none" ? rows : sorted(rows, place, order)));
  }));
}

const collator = new Intl.Collator("en", { numeric: true });

function sorted(rows, place, order) {
  const sign = order === "ascending" ? 1 : -1;
  const heading = rows.filter((row) => row.classList.contains("heading"));
  const keyed = rows.filter((row) => !row.classList.contains("heading")).map((row) => [row, key(row, place)]);
  keyed.sort(([, a], [, b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // rows without a figure come last
    return sign * (typeof a === "number" ? a - b : collator.compare(a, b));
  });
  return [...heading, ...keyed.map(([row]) => row)];
}

// Text is ordered as text, but for the numbers in it; figures by their full precision.
function key(row, place) {
  const cell = row.cells[place];
  if (cell.matches(".absent")) return null;
  if (cell.matches("td[data-value]")) return Number(cell.dataset.value);
  return cell.dataset.value || cell.textContent.trim() || null;
}

const filter = document.getElementById("filter");
const filtered = document.getElementById("filtered");

filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0, all = 0;
  for (const table of document.querySelectorAll("table.sortable")) {
    let here = 0;
    for (const row of table.querySelectorAll("tr[data-label]")) {
      row.hidden = !words.every((word) => row.dataset.label.includes(word));
      here += !row.hidden;
      all += 1;
    }
    for (const heading of table.querySelectorAll("tr.heading")) {
      heading.hidden = !heading.parentElement.querySelector("tr[data-label]:not([hidden])");
    }
    table.closest(".scroll").nextElementSibling.hidden = here > 0;
    shown += here;
  }
  filtered.textContent = words.length ? `${shown} of ${all} rows` : "";
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  filter.focus();
});
