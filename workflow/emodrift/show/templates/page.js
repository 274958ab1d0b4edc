"use strict";
document.documentElement.classList.add("scripting");

// Tables: a click on a column's name sorts by it.
for (const table of document.querySelectorAll("table")) {
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortTable(table, column));
  }
}

function sortTable(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = (row) => row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [a, b].map((row) => parseFloat(key(row)));
    if (Number.isNaN(x) && Number.isNaN(y)) return key(a).localeCompare(key(b));
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return up ? x - y : y - x;
  };
  const rows = [...table.tBodies[0].rows].sort(compare);
  table.tBodies[0].append(...rows);
}

// The explorer.
const series = JSON.parse(document.getElementById("series").textContent);
const colours = ["#882255", "#332288", "#117733", "#AA4499", "#44AA99", "#999933", "#88CCEE", "#1a1a1a"];
const measure = document.getElementById("measure");
const item = document.getElementById("item");
const which = document.getElementById("which");

function fill(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

for (const [number, run] of series.runs.entries()) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, value: number });
  const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
  swatch.style.background = colours[number % colours.length];
  label.append(box, " ", swatch, run);
  which.append(label);
}

function chosen() {
  const found = series.measures.find((one) => one.name === measure.value);
  const shown = new Set([...which.querySelectorAll("input:checked")].map((box) => +box.value));
  const rows = (found.items[item.value] ?? [])
    .filter(([run]) => shown.has(run))
    .map(([run, place, step, value, low, high]) => ({ run: series.runs[run], place, step, value, low, high }));
  return { unit: found.unit, rows };
}

function draw() {
  const { unit, rows } = chosen();
  const ranged = rows.filter((row) => row.low !== null && row.high !== null);
  const [stages, ticks] = [series.axis.stages, new Map(series.axis.ticks)];
  const chart = Plot.plot({
    width: Math.max(340, Math.min(1100, document.getElementById("explore").clientWidth)),
    height: 380,
    marginLeft: 55,
    marginTop: 30,
    style: { fontSize: "13px" },
    color: { domain: series.runs, range: series.runs.map((_, i) => colours[i % colours.length]) },
    x: { label: "training step within stage", ticks: [...ticks.keys()], tickFormat: (place) => ticks.get(place) ?? "" },
    y: { label: unit, grid: true, nice: true },
    marks: [
      Plot.rectX(stages.filter((_, i) => i % 2), { x1: (s) => s[1], x2: (s) => s[2], fill: "#f3f3f3" }),
      Plot.text(stages, { x: (s) => (s[1] + s[2]) / 2, frameAnchor: "top", dy: -16, text: (s) => s[0], fill: "#555" }),
      Plot.areaY(ranged, { x: "place", y1: "low", y2: "high", fill: "run", fillOpacity: 0.1 }),
      Plot.lineY(rows, { x: "place", y: "value", stroke: "run", z: "run" }),
      Plot.dot(rows, { x: "place", y: "value", fill: "run", r: 3.5 }),
      Plot.tip(rows, Plot.pointer({ x: "place", y: "value", title: describe })),
    ],
  });
  document.getElementById("chart").replaceChildren(chart);
  document.getElementById("numbers").replaceChildren(tabulate(rows));
}

function describe({ run, step, value, low, high }) {
  return `${run}, step ${step}\n${value}` + (low === null || high === null ? "" : ` (${low} to ${high})`);
}

function tabulate(rows) {
  const table = document.createElement("table");
  const names = ["run", "step", "value", "low", "high"];
  const head = table.createTHead().insertRow();
  for (const name of names) head.append(Object.assign(document.createElement("th"), { scope: "col", textContent: name }));
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const name of names) line.insertCell().textContent = row[name] ?? "–";
  }
  return table;
}

function pickMeasure() {
  const { items } = series.measures.find((one) => one.name === measure.value);
  const names = Object.keys(items);
  fill(item, names);
  item.value = names.find((name) => items[name].some(([, , , value]) => value !== null)) ?? names[0];
  draw();
}

fill(measure, series.measures.map((one) => one.name));
measure.addEventListener("change", pickMeasure);
item.addEventListener("change", draw);
which.addEventListener("change", draw);
addEventListener("resize", draw);
pickMeasure();
