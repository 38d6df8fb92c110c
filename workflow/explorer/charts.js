"use strict";
// The charts, as Vega specifications. Data come later: "points" or "lines" of the chosen runs, "clicked" of one.
const LOGARITHMIC = new Set(["NC0", "NC1", "train_loss", "test_loss"]);
const LONG = "epoch, logarithmic";
const SHAPES = {coupled: "circle", decoupled: "triangle-up", interpolated: "square", cautious: "triangle-down"};
const DASHES = {coupled: [1, 0], decoupled: [4, 2], interpolated: [4, 2, 1, 2], cautious: [1, 1.5]};
const LOOK = {
  axis: {labelFontSize: 10, titleFontSize: 11, titleFontWeight: "normal", gridColor: "#eceff3", domainColor: "#94a3b8",
    tickColor: "#94a3b8", labelOverlap: true},
};

// A scale that has a place for all rows of `data` and for the clicked run.
function scale(name, field, data, range, also = []) {
  const kind = LOGARITHMIC.has(field) ? {type: "log"} : {type: "linear", zero: false};
  const fields = [{data, field: name}, {data: "clicked", field: name}, ...also.map((other) => ({data, field: other}))];
  return {name, ...kind, nice: true, range, domain: {fields}};
}

function axes(x, y) {
  const text = {signal: "datum.value && (abs(datum.value) < 0.001 || abs(datum.value) >= 10000)"
    + " ? format(datum.value, '.0e') : format(datum.value, '~g')"};
  const every = {grid: true, tickCount: 5, encode: {labels: {update: {text}}}};
  const values = x === LONG ? {values: [0, 1, 10, 100, 1000]} : {};
  return [{orient: "bottom", scale: "x", title: x, ...every, ...values}, {orient: "left", scale: "y", title: y, ...every}];
}

function place(extra) {
  return {update: {x: {scale: "x", field: "x"}, y: {scale: "y", field: "y"}, ...extra}};
}

// A point a run: rows {x, y, run, colour, shape, valid}.
function scatterSpec(x, y, labels) {
  const ring = {size: {value: 170}, fill: {value: null}, stroke: {value: "black"}, strokeWidth: {value: 2}};
  const dots = {
    size: {value: 30}, shape: {field: "shape"}, fill: {field: "colour"}, stroke: {field: "colour"},
    fillOpacity: {signal: "datum.valid ? 0.65 : 0"}, strokeOpacity: {value: 0.8}, tooltip: {field: "run"},
    cursor: {value: "pointer"},
  };
  return {
    padding: 4, autosize: {type: "fit", contains: "padding", resize: true}, config: LOOK, height: 220,
    data: [{name: "points"}, {name: "clicked"}],
    scales: [scale("x", x, "points", "width"), scale("y", y, "points", "height")],
    axes: axes(labels[x], labels[y]),
    marks: [
      {type: "symbol", from: {data: "points"}, encode: place(dots)},
      {type: "symbol", interactive: false, from: {data: "clicked"}, encode: place(ring)},
    ],
  };
}

// A line an optimizer, broken between its runs: rows {x, y, optimizer}, y null between two runs; or, where
// `summarised`, its median with a band: rows {x, y, low, high, optimizer}.
function curveSpec(field, label, optimizers, epochs) {
  const names = Object.keys(optimizers);
  const look = {
    stroke: {scale: "colour", signal: "parent.optimizer"}, strokeDash: {scale: "dash", signal: "parent.optimizer"},
    strokeWidth: {signal: "width_of_lines"}, strokeOpacity: {value: 0.75}, defined: {signal: "datum.y !== null"},
  };
  const strong = {stroke: {value: "black"}, strokeWidth: {value: 2.2}};
  return {
    padding: 4, autosize: {type: "fit", contains: "padding", resize: true}, config: LOOK, height: 260,
    signals: [{name: "width_of_lines", value: 1}, {name: "summarised", value: false}],
    data: [{name: "lines"}, {name: "clicked"}],
    scales: [
      {name: "x", ...epochs, range: "width", domain: {data: "lines", field: "x"}, zero: true},
      scale("y", field, "lines", "height", ["low", "high"]),
      {name: "colour", type: "ordinal", domain: names, range: names.map((name) => optimizers[name].colour)},
      {name: "dash", type: "ordinal", domain: names, range: names.map((name) => DASHES[optimizers[name].kind])},
    ],
    axes: axes(epochs.type === "linear" ? "epoch" : LONG, label),
    marks: [
      {type: "group", clip: true, encode: {update: {width: {signal: "width"}, height: {signal: "height"}}},
        from: {facet: {name: "series", data: "lines", groupby: "optimizer"}},
        marks: [
          {type: "area", interactive: false, from: {data: "series"}, encode: {update: {
            x: {scale: "x", field: "x"}, y: {scale: "y", field: "low"}, y2: {scale: "y", field: "high"},
            fill: look.stroke, fillOpacity: {value: 0.12}, defined: {signal: "summarised"}}}},
          {type: "line", from: {data: "series"}, encode: place(look)},
        ]},
      {type: "line", interactive: false, from: {data: "clicked"}, encode: place(strong)},
      {type: "symbol", interactive: false, from: {data: "clicked"},
        encode: place({size: {value: 18}, fill: {value: "black"}})},
    ],
  };
}

// A chart in an element: `show` takes data by name; a width follows the element's.
async function chart(id, spec, onTip) {
  const element = document.getElementById(id);
  const {view} = await vegaEmbed(element, {...spec, width: element.clientWidth}, {
    mode: "vega", renderer: "canvas", actions: {export: true, source: false, compiled: false, editor: false},
    logLevel: 1, downloadFileName: `explorer_${id}`, tooltip: (handler, event, item, value) => onTip(event, value),
  });
  return {
    view, element,
    show(data, signals = {}) {
      for (const [name, rows] of Object.entries(data)) view.data(name, rows);
      for (const [name, value] of Object.entries(signals)) view.signal(name, value);
      view.run();
    },
  };
}

// The upper left corner of a chart's axes in the window.
function corner(view) {
  const box = view.container().querySelector("canvas").getBoundingClientRect();
  const [[left, top], padding] = [view.origin(), view.padding()];
  return [box.left + left + padding.left, box.top + top + padding.top];
}
