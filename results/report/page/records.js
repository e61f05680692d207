// A figure opens its records. Texts from records enter the page as text alone, never as markup.
const evidence = JSON.parse(document.getElementById("evidence").textContent);
const dialog = document.getElementById("record");
const heading = document.getElementById("record-title");
const contents = document.getElementById("record-body");

document.addEventListener("click", (event) => {
  const cell = event.target.closest("button[data-runs]");
  if (cell) {
    const places = cell.dataset.runs.split(" ").filter(Boolean).map(Number);
    const head = headOf(cell.closest("td"));
    const { name, unit } = head.dataset;
    const title = `${cell.closest("tr").cells[0].dataset.value}, ${name}: ${cell.textContent} ${unit}`.trim();
    open(title, places, Number(cell.dataset.of), head.dataset.key);
  } else if (event.target === dialog || event.target.closest(".close")) dialog.close();
});

dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
addEventListener("hashchange", openAddressed);
openAddressed();

function headOf(cell) {
  const rows = cell.closest("table").tHead.rows;
  return rows[rows.length - 1].cells[cell.cellIndex];
}

// An address that ends in #run=<id> opens that run.
function openAddressed() {
  if (!location.hash.startsWith("#run=")) return;
  const wanted = decodeURIComponent(location.hash.slice(5));
  const place = evidence.runs.findIndex((run) => run.id === wanted);
  if (place >= 0 && !dialog.open) open(wanted, [place], 1, "");
}

function open(title, places, count, key) {
  heading.textContent = title;
  const runs = places.map((place) => describe(evidence.runs[place], place, key, places.length === 1));
  const missing = count - places.length;
  const left = missing ? [make("p", `${missing} of ${count} records are not in this page; they are in the folder it was made from.`, "left-out")] : [];
  contents.replaceChildren(...runs, ...left);
  dialog.showModal();
  dialog.scrollTop = 0;
  if (places.length === 1) history.replaceState(null, "", `#run=${encodeURIComponent(evidence.runs[places[0]].id)}`);
}

function describe(run, place, key, alone) {
  const details = make("details");
  details.open = alone;
  const figure = run.metrics.find(([name]) => key === name || key.endsWith(`: ${name}`)); // a column may name its group
  details.append(make("summary", `${figure ? `${figure[1]} ${figure[2]}, ` : ""}seed ${run.seed}: ${run.id}`));
  for (const [label, text] of run.commands) details.append(command(label, text));
  details.append(pairs(run.facts));
  details.append(make("h3", "Deviations from the protocol"));
  details.append(run.deviations.length ? list(run.deviations) : make("p", "None.", "muted"));
  const picture = document.querySelector(`img[data-run="${place}"]`);
  if (picture) details.append(picture.cloneNode());
  details.append(fold("All figures", metrics(run.metrics)));
  for (const [name, text] of run.blocks) details.append(fold(name, pre(evidence.texts[text])));
  return details;
}

function command(label, text) {
  const box = make("div", "", "command");
  const line = pre(text);
  line.setAttribute("aria-label", label);
  const button = make("button", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(line);
      button.textContent = "Selected";
    }
  });
  box.append(make("span", label, "muted"), line, button);
  return box;
}

function pairs(facts) {
  const found = make("dl");
  for (const [name, text] of facts) found.append(make("dt", name), make("dd", text));
  return found;
}

function list(texts) {
  const found = make("ul");
  found.append(...texts.map((text) => make("li", text)));
  return found;
}

function metrics(rows) {
  const found = make("table", "", "metrics");
  for (const [name, value, unit, arrow] of rows) {
    const row = found.insertRow();
    const head = make("th", name);
    head.scope = "row";
    row.append(head, make("td", value), make("td", `${unit} ${arrow}`, "muted"));
  }
  return found;
}

function fold(name, inside) {
  const details = make("details");
  details.append(make("summary", name), inside);
  return details;
}

function pre(text) {
  const found = make("pre", text);
  found.tabIndex = 0;
  return found;
}

function make(tag, text = "", style = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (style) element.className = style;
  return element;
}
