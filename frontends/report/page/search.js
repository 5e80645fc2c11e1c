// Where is a word?  In the columns that are shown, drawn or not, and in the graph; a hit is followed.

const find = document.querySelector("input"), count = document.getElementById("count");
let hits = [], current = -1, columns = [];

function clearFound() {
  for (const column of columns) column.found = null;
  if (panes.graph) panes.graph.view.found = null;
}
function search(text) {
  hits = [];
  current = -1;
  clearFound();
  const wanted = text.toLowerCase();
  if (wanted) {
    const graph = panes.graph && panes.graph.view;
    if (graph && !panes.graph.section.hidden) for (const item of graph.visible || [])
      if (`${item.name} ${item.detail}`.toLowerCase().includes(wanted)) hits.push({ item });
    for (const column of columns) {
      if (column.pane.section.hidden) continue;
      for (const block of column.blocks) block.lines.forEach(([line], i) => { if (line.toLowerCase().includes(wanted)) hits.push({ column, block, line: i }); });
    }
  }
  count.textContent = wanted ? (hits.length ? hits.length.toLocaleString("en") + " found" : "nothing") : "";
}
function go(step) {
  if (!hits.length) return;
  current = (current + step + hits.length) % hits.length;
  const { item, column, block, line } = hits[current];
  clearFound();
  if (item) {
    panes.graph.view.found = item;
    panes.graph.view.center(item);
    follow(item.kind === "scope" ? [] : panes.graph.view.marksOf(item), panes.graph, item.name);
  } else {
    column.found = [block, line];
    column.open(block, line);
    follow(block.lines[line][1].length ? block.lines[line][1] : block.marks, column.pane, "");
  }
  count.textContent = `${(current + 1).toLocaleString("en")} / ${hits.length.toLocaleString("en")}`;
}
let waiting = 0;
find.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => search(find.value), 150); });
find.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  clearTimeout(waiting);
  if (current < 0) search(find.value);
  go(event.shiftKey ? -1 : 1);
});
