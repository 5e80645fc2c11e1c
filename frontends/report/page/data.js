"use strict";
// What does the page know?  Parts of the data, unpacked when they are first asked for; and how numbers and colors are written.

async function part(name) {
  const bytes = Uint8Array.from(atob(document.getElementById("data-" + name).textContent), (c) => c.charCodeAt(0));
  return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text());
}

const report = {};  // about, stages, graphs, steps, remarks, profile, marks
const panes = {};   // by name: { section, show(), reveal(from), ... }

function quantity(value, unit) {
  if (!unit) return value.toLocaleString("en");
  const steps = unit === "B" ? [["B", 1], ["KiB", 1024], ["MiB", 1048576], ["GiB", 1073741824]]
    : unit === "B/s" ? [["B/s", 1], ["MB/s", 1e6], ["GB/s", 1e9], ["TB/s", 1e12]]
    : unit === "s" ? [["ns", 1e-9], ["µs", 1e-6], ["ms", 1e-3], ["s", 1]]
    : ["", "k", "M", "G", "T"].map((prefix, i) => [prefix + unit, 1000 ** i]);
  const [name, size] = steps.findLast(([, size]) => Math.abs(value) >= size) || steps[0];
  const number = value / size;
  return (number >= 100 || Number.isInteger(number) ? Math.round(number).toLocaleString("en") : number.toPrecision(3)) + " " + name;
}

// Families of operators and kinds of groups share a few colors.
const FAMILIES = [
  ["contraction", "matrix products, convolutions", ["contraction", "contract", "conv"]],
  ["attention", "attention, recurrent cells", ["attention", "recurrent"]],
  ["reduction", "reductions, pooling, sorting", ["reduction", "reduce", "pool", "sort"]],
  ["loops", "elementwise", ["loops", "elementwise", "random"]],
  ["lookup", "gather, scatter", ["gather", "scatter"]],
  ["views", "rearranging, a group of one", ["rearrange", "constant", "pack", "single"]],
  ["control", "branches and loops", ["control", "cond", "while", "scan", "call"]],
  ["border", "inputs and outputs", ["input", "output"]],
];
const familyOf = new Map(FAMILIES.flatMap(([name, , members]) => members.map((member) => [member, name])));
const paint = (kind) => familyOf.get(kind) || "views";

const probe = document.createElement("i");
let resolved = new Map();
function color(name) {  // what a CSS variable is in the present theme, for canvases
  if (!resolved.has(name)) {
    if (!probe.parentNode) { probe.hidden = true; document.body.append(probe); }
    probe.style.color = `var(--${name})`;
    resolved.set(name, getComputedStyle(probe).color);
  }
  return resolved.get(name);
}

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function makePane(row, name, title, isWide) {
  const section = make("section", isWide ? "wide" : ""), head = make("h2", "", title), note = make("span");
  head.append(note);
  section.append(head);
  section.dataset.name = name;
  document.getElementById(row).append(section);
  return panes[name] = { name, title, row, section, head, note, show() {}, reveal() {} };
}

const tip = document.getElementById("tip");
function showTip(event, text) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 6)) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 16, innerHeight - box.height - 6)) + "px";
}

// A canvas that fills its box: `draw(context, width, height)` runs when it is asked to, when its size or the theme changes.
function makePlot(holder, label, draw) {
  const canvas = make("canvas");
  canvas.setAttribute("aria-label", label);
  canvas.tabIndex = 0;
  holder.append(canvas);
  const plot = { canvas, width: 0, height: 0, waiting: false };
  plot.redraw = () => {
    if (plot.waiting) return;
    plot.waiting = true;
    requestAnimationFrame(() => {
      plot.waiting = false;
      const box = holder.getBoundingClientRect(), scale = devicePixelRatio || 1;
      [plot.width, plot.height] = [box.width, box.height];
      if (!box.width || !box.height) return;
      [canvas.width, canvas.height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
      const context = canvas.getContext("2d");
      context.setTransform(scale, 0, 0, scale, 0, 0);
      draw(context, box.width, box.height);
    });
  };
  new ResizeObserver(plot.redraw).observe(holder);
  return plot;
}
