// What is chosen and clicked, and what is shown of it.
const ALWAYS = ["architecture", "dataset", "optimizer", "learning_rate", "momentum", "weight_decay"];
const ROWS = 100; // of the list
const MOST_LINES = 300; // more cannot be told apart: then a median and a band an optimizer
const METRICS = ["NC0", "NC1", "NC2", "NC3", "NC4", "train_accuracy", "test_accuracy", "train_loss", "test_loss"];
const chosen = new Map(); // a field's name to the set of values pressed; none pressed: not in it
let clicked = null; // a row of RUNS
let shown = []; // the rows that fit the choices
const fields = fieldsToChoose();
const charts = {};

function values(field) {
  const every = [...new Set(RUNS[field])];
  const known = Object.keys(DATA.optimizers);
  if (field === "optimizer") return known;
  return every.sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : 1));
}

// Always the paper's axes; of the other settings those that differ within the study.
function fieldsToChoose() {
  const others = DATA.settings.filter((name) => !ALWAYS.includes(name) && values(name).length > 1);
  return ["experiment", ...ALWAYS, ...others, "outcome"].map((name) => ({name, values: values(name)}));
}

function words(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value !== "number") return String(value);
  if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e6)) return value.toExponential(3).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(4)));
}

function fits(row, besides) {
  for (const [name, wanted] of chosen) if (name !== besides && !wanted.has(RUNS[name][row])) return false;
  return true;
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function buildChoices() {
  const aside = document.getElementById("choices");
  const all = element("button", "Choose all", {type: "button", id: "all"});
  all.addEventListener("click", () => {chosen.clear(); update();});
  aside.append(all);
  for (const field of fields) {
    const set = element("fieldset", undefined, {"data-field": field.name});
    set.append(element("legend", field.name.replaceAll("_", " ")));
    for (const value of field.values) {
      const button = element("button", undefined, {type: "button", "aria-pressed": "false", "data-value": words(value)});
      if (field.name === "optimizer") button.append(element("i", "", {style: `background:${DATA.optimizers[value].colour}`}));
      button.append(field.name === "optimizer" ? DATA.optimizers[value].label : words(value), " ", element("small", ""));
      button.addEventListener("click", () => {press(field.name, value); update();});
      set.append(button);
    }
    aside.append(set);
  }
}

function press(name, value) {
  const wanted = chosen.get(name) ?? new Set();
  if (!wanted.delete(value)) wanted.add(value);
  if (wanted.size) chosen.set(name, wanted); else chosen.delete(name);
}

// On each button how many runs it has, all other choices kept.
function countChoices() {
  for (const field of fields) {
    const counts = new Map(field.values.map((value) => [value, 0]));
    for (let row = 0; row < COUNT; row++)
      if (fits(row, field.name)) counts.set(RUNS[field.name][row], counts.get(RUNS[field.name][row]) + 1);
    const buttons = document.querySelectorAll(`fieldset[data-field="${field.name}"] button`);
    field.values.forEach((value, place) => {
      buttons[place].setAttribute("aria-pressed", String(chosen.get(field.name)?.has(value) ?? false));
      buttons[place].classList.toggle("none", counts.get(value) === 0);
      buttons[place].querySelector("small").textContent = counts.get(value);
    });
  }
}

function tip(event, row) {
  const box = document.getElementById("tip");
  box.hidden = row === null || row === undefined || row === "";
  if (box.hidden) return;
  box.textContent = `${name(row)}\n${METRICS.slice(0, 4).map((metric) => `${metric} ${words(RUNS[metric][row])}`).join("  ")}`;
  box.style.left = `${Math.min(event.clientX + 12, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${event.clientY + 14}px`;
}

function name(row) {
  const settings = [["η", "learning_rate"], ["β", "momentum"], ["λ", "weight_decay"]]
    .map(([symbol, field]) => `${symbol} ${words(RUNS[field][row])}`);
  return [DATA.optimizers[RUNS.optimizer[row]].label, ...settings].join(", ");
}

// Runs of lengths that differ much share no linear axis.
function epochScale() {
  const lengths = shown.map((row) => RUNS.epochs[row]);
  const [least, most] = [lengths.reduce((a, b) => Math.min(a, b), Infinity), lengths.reduce((a, b) => Math.max(a, b), 1)];
  return most > 4 * least ? {type: "symlog", constant: 1} : {type: "linear"};
}

async function drawCurves() {
  const field = document.getElementById("quantity").value;
  charts.curves?.view.finalize();
  const epochs = epochScale();
  charts.curves = await chart("curves", curveSpec(field, DATA.labels[field], DATA.optimizers, epochs), tip);
  charts.curves.kind = epochs.type;
  charts.curves.view.addEventListener("click", (event) => {
    const [left, top] = corner(charts.curves.view);
    const near = nearest([event.clientX - left, event.clientY - top]);
    if (near !== null) click(near);
  });
  fillCurves();
}

function fillCurves() {
  const field = document.getElementById("quantity").value;
  const many = shown.length > MOST_LINES;
  const drawn = many ? summaries(shown, field) : lines(shown, field);
  charts.curves.rows = many ? [] : drawn;
  charts.curves.show({lines: drawn, clicked: clicked === null ? [] : curveOf(clicked, field)},
    {width_of_lines: many ? 2 : shown.length > 50 ? 0.8 : 1.3, summarised: many});
  document.getElementById("lines").textContent = many
    ? `median and middle half of the runs of each optimizer; choose ${MOST_LINES} runs or fewer to see each`
    : "a line a run";
}

function nearest([across, up]) {
  const [x, y] = [charts.curves.view.scale("x"), charts.curves.view.scale("y")];
  let [best, least] = [null, 15 ** 2];
  for (const row of charts.curves.rows) {
    if (row.y === null) continue;
    const apart = (x(row.x) - across) ** 2 + (y(row.y) - up) ** 2;
    if (apart < least) [best, least] = [row.run, apart];
  }
  return best;
}

function fillScatters() {
  for (const metric of ["NC1", "NC2", "NC3"])
    charts[metric].show({points: points(shown, metric), clicked: clicked === null ? [] : points([clicked], metric)});
}

function fillCount() {
  const valid = shown.filter((row) => RUNS.outcome[row] === "valid").length;
  const without = shown.filter((row) => !METRICS.slice(0, 4).every((metric) => hasPlace(RUNS[metric][row], metric))).length;
  const hollow = shown.some((row) => RUNS.outcome[row] === "undertrained") ? "; hollow points are undertrained" : "";
  const place = without ? `; ${without} without a place on all axes` : "";
  document.getElementById("count").textContent = `${shown.length} of ${COUNT} runs, ${valid} of them valid${place}${hollow}`;
}

function fillList() {
  const columns = ["experiment", ...ALWAYS, "outcome", "NC0", "NC1", "NC2", "NC3", "test_accuracy"]
    .filter((column) => column.startsWith("NC") || values(column).length > 1);
  const head = element("tr");
  head.append(...columns.map((column) => element("th", column.replaceAll("_", " "))));
  document.querySelector("#list thead").replaceChildren(head);
  const body = document.querySelector("#list tbody");
  body.replaceChildren(...shown.slice(0, ROWS).map((row) => {
    const line = element("tr", undefined, {tabindex: "0", "data-key": RUNS.key[row]});
    line.append(...columns.map((column) => element("td", words(RUNS[column][row]))));
    line.classList.toggle("clicked", row === clicked);
    line.addEventListener("click", () => click(row));
    line.addEventListener("keydown", (event) => {if (event.key === "Enter") click(row);});
    return line;
  }));
  const left = shown.length - ROWS;
  document.getElementById("more").textContent = left > 0 ? `${left} more runs are chosen; the list has the first ${ROWS}.` : "";
}

function rank(metric) {
  const others = shown.map((row) => RUNS[metric][row]).filter((value) => value !== null);
  const own = RUNS[metric][clicked];
  return own === null ? "–" : `${1 + others.filter((value) => value < own).length} of ${others.length}`;
}

function fillDetails() {
  const aside = document.getElementById("details");
  if (clicked === null) return;
  const command = `.venv/bin/collapse lineage ${RUNS.key[clicked]} --study ${DATA.study}`;
  const twins = RUNS.key.flatMap((key, row) => (key === RUNS.key[clicked] ? [RUNS.experiment[row]] : []));
  const reason = RUNS.reason[clicked] ? `: ${RUNS.reason[clicked]}` : "";
  const copy = element("button", "Copy", {type: "button"});
  copy.addEventListener("click", () => navigator.clipboard?.writeText(command));
  const ends = METRICS.map((metric) => [metric.replaceAll("_", " "), `${metric}_init` in RUNS ? words(RUNS[`${metric}_init`][clicked]) : "",
    words(RUNS[metric][clicked]), rank(metric)]);
  const about = ["epochs_done", "seconds", "device", "threads", "torch_version", "protocol"];
  aside.replaceChildren(
    element("h2", name(clicked)), element("p", `Run ${RUNS.key[clicked]}, ${RUNS.outcome[clicked]}${reason}. In ${twins.join(", ")}.`),
    element("h3", "Where it comes from"), element("code", command, {id: "lineage"}), copy,
    element("h3", "Metrics"), table(["", "start", "end", "place"], ends),
    element("p", "Place: among the chosen runs, 1 the smallest.", {class: "note"}),
    element("h3", "Settings"), table(null, DATA.settings.map((field) => [field.replaceAll("_", " "), words(RUNS[field][clicked])])),
    element("h3", "Training"), table(null, about.map((field) => [field.replaceAll("_", " "), words(RUNS[field][clicked])])));
}

function table(head, rows) {
  const made = element("table");
  const line = (cells, tag) => {
    const row = element("tr");
    row.append(...cells.map((cell, place) => element(tag, cell, place ? {class: "number"} : {})));
    return row;
  };
  made.append(...(head ? [line(head, "th")] : []), ...rows.map((cells) => line(cells, "td")));
  return made;
}

function click(row) {
  clicked = row;
  fillScatters();
  fillCurves();
  fillDetails();
  for (const line of document.querySelectorAll("#list tbody tr"))
    line.classList.toggle("clicked", line.dataset.key === RUNS.key[row]);
}

async function update() {
  shown = [...Array(COUNT).keys()].filter((row) => fits(row, null));
  countChoices();
  fillCount();
  fillScatters();
  if (charts.curves?.kind === epochScale().type) fillCurves(); else await drawCurves();
  fillList();
  fillDetails();
}

async function start() {
  buildChoices();
  const quantity = document.getElementById("quantity");
  for (const field of Object.keys(CURVES)) if (field !== "epoch") quantity.append(new Option(DATA.labels[field], field));
  quantity.addEventListener("change", drawCurves);
  for (const metric of ["NC1", "NC2", "NC3"]) {
    charts[metric] = await chart(metric, scatterSpec("NC0", metric, DATA.labels), tip);
    charts[metric].view.addEventListener("click", (event, item) => {if (item?.datum?.run !== undefined) click(item.datum.run);});
  }
  addEventListener("resize", () => {
    for (const {view, element: box} of Object.values(charts)) view.width(box.clientWidth).runAsync();
  });
  await update();
  document.body.dataset.ready = "yes";
}

start();
