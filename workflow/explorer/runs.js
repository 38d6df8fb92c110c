// The runs and their curves, and rows of them for the charts.
const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
const COUNT = RUNS.key.length;
const CURVES = unpacked(DATA.curves.columns);
const PLACE = new Map(DATA.keys.map((key, place) => [key, place]));

function unpacked(columns) {
  const bytes = (text) => {
    const letters = atob(text);
    const found = new Uint8Array(letters.length);
    for (let place = 0; place < letters.length; place++) found[place] = letters.charCodeAt(place);
    return found.buffer;
  };
  return Object.fromEntries(Object.entries(columns).map(([name, text]) =>
    [name, name === "epoch" ? new Uint32Array(bytes(text)) : new Float32Array(bytes(text))]));
}

function hasPlace(value, field) {
  return value !== null && Number.isFinite(value) && (value > 0 || !LOGARITHMIC.has(field));
}

function points(rows, y) {
  return rows.filter((row) => hasPlace(RUNS.NC0[row], "NC0") && hasPlace(RUNS[y][row], y)).map((row) => {
    const look = DATA.optimizers[RUNS.optimizer[row]];
    return {x: RUNS.NC0[row], y: RUNS[y][row], run: row, colour: look.colour, shape: SHAPES[look.kind],
      valid: RUNS.outcome[row] === "valid"};
  });
}

function curveOf(row, field) {
  const place = PLACE.get(RUNS.key[row]);
  const found = [];
  for (let at = DATA.curves.starts[place]; at < DATA.curves.starts[place + 1]; at++)
    if (hasPlace(CURVES[field][at], field))
      found.push({x: CURVES.epoch[at], y: CURVES[field][at], optimizer: RUNS.optimizer[row], run: row});
  return found;
}

function lines(rows, field) {
  const found = [];
  const seen = new Set(); // a training that two experiments ask for is one line
  for (const row of rows) {
    if (seen.has(RUNS.key[row])) continue;
    seen.add(RUNS.key[row]);
    const curve = curveOf(row, field);
    if (!curve.length) continue;
    for (const point of curve) found.push(point);
    found.push({...curve[curve.length - 1], y: null});
  }
  return found;
}

// Of each optimizer, at each epoch, the median of its runs and the quarters: rows {x, y, low, high, optimizer}.
function summaries(rows, field) {
  const found = new Map(); // optimizer, then epoch: values
  const seen = new Set();
  for (const row of rows) {
    if (seen.has(RUNS.key[row])) continue;
    seen.add(RUNS.key[row]);
    const name = RUNS.optimizer[row];
    if (!found.has(name)) found.set(name, new Map());
    const epochs = found.get(name);
    const place = PLACE.get(RUNS.key[row]);
    for (let at = DATA.curves.starts[place]; at < DATA.curves.starts[place + 1]; at++) {
      if (!hasPlace(CURVES[field][at], field)) continue;
      if (!epochs.has(CURVES.epoch[at])) epochs.set(CURVES.epoch[at], []);
      epochs.get(CURVES.epoch[at]).push(CURVES[field][at]);
    }
  }
  return [...found].flatMap(([optimizer, epochs]) => [...epochs].sort(([a], [b]) => a - b).map(([x, its]) => {
    const sorted = Float64Array.from(its).sort();
    const [low, y, high] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
    return {x, y, low, high, optimizer};
  }));
}

function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}
