// How does the page begin?  The parts that every view needs are unpacked, panes are made, keys and switches listened to.

const SHOWN = new Set(["graph", "traced", "kernels", "memory", "launches"]);

async function begin() {
  const names = ["about", "stages", "graphs", "steps", "remarks", "profile", "marks"];
  (await Promise.all(names.map(part))).forEach((value, i) => { report[names[i]] = value; });
  report.kernelsOf = new Map();  // mark of an origin -> those of the kernels that compute it
  for (const marks of report.steps ? report.steps.origins : [])
    for (const mark of marks.slice(1)) report.kernelsOf.set(mark, [...(report.kernelsOf.get(mark) || []), marks[0]]);

  const { title, target, figures } = report.about;
  document.querySelector("h1").textContent = document.querySelector("h1").title = title;
  for (const [name, value, unit] of [...figures, ["target", target, null]])
    document.getElementById("figures").append(make("div", "", make("dt", "", name), make("dd", "", unit === null ? value : quantity(value, unit))));

  const graph = new GraphView();
  graph.pane.view = graph;
  columns = report.stages.map((stage) => new Column(stage));
  if (report.steps) for (const View of [MemoryView, KernelsView]) new View();
  if (report.remarks.length) new RemarksView();
  const nav = document.querySelector("nav"), groups = [["graph"], report.stages.map((stage) => stage.name), ["memory", "launches", "remarks"]];
  for (const group of groups) {
    const box = make("div");
    for (const name of group) {
      const pane = panes[name];
      if (!pane) continue;
      pane.button = make("button", "", pane.title);
      pane.button.onclick = () => toggle(pane, pane.section.hidden);
      box.append(pane.button);
      toggle(pane, SHOWN.has(name));
    }
    nav.append(box);
  }
  for (const [family, text] of FAMILIES) {
    const swatch = make("i");
    swatch.style.background = `var(--${family})`;
    document.getElementById("families").append(make("li", "", swatch, text));
  }
  describe([]);
  document.body.dataset.ready = "";
}

function toggle(pane, on) {
  pane.section.hidden = !on;
  pane.button.setAttribute("aria-pressed", on);
  for (const row of ["upper", "lower"]) {
    const isEmpty = !document.querySelector(`#${row} > section:not([hidden])`);
    document.getElementById(row).classList.toggle("empty", isEmpty);
    if (row === "lower") document.getElementById("divider").classList.toggle("empty", isEmpty);
  }
  if (on) pane.show();
}

function repaint() {
  resolved = new Map();
  for (const pane of Object.values(panes)) if (!pane.section.hidden) pane.show();
}
function letGo() {
  find.value = "";
  search("");
  follow([], null);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
document.getElementById("theme").onclick = () => {
  const root = document.documentElement.style, isDark = root.colorScheme ? root.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.colorScheme = isDark ? "light" : "dark";
  repaint();
};
document.getElementById("help").onclick = () => document.getElementById("legend").showModal();
document.getElementById("release").onclick = letGo;
document.getElementById("divider").addEventListener("pointerdown", (event) => {
  const divider = event.currentTarget, lower = document.getElementById("lower");
  const move = (e) => { lower.style.height = Math.min(innerHeight - 200, Math.max(80, lower.getBoundingClientRect().bottom - e.clientY)) + "px"; };
  divider.setPointerCapture(event.pointerId);
  divider.addEventListener("pointermove", move);
  divider.addEventListener("pointerup", () => divider.removeEventListener("pointermove", move), { once: true });
});
addEventListener("keydown", (event) => {
  if (event.target === find && event.key !== "Escape") return;
  if (event.key === "/") { event.preventDefault(); find.select(); }
  else if (event.key === "?") document.getElementById("legend").showModal();
  else if (event.key === "Escape") { letGo(); find.blur(); }
});
begin();
