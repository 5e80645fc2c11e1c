// How is the graph drawn, and folded?  A tree of boxes (layers of the model, groups, loops); each open box is laid out on its own.

const NODE = { height: 36, title: 24, padding: 14 };
const AT_FIRST = 70;   // items up to which boxes are opened
const MOST_OPEN = 30000;

const BOLD = "600 12.5px system-ui, sans-serif", SMALL = "10.5px system-ui, sans-serif";
const ruler = document.createElement("canvas").getContext("2d"), widths = new Map();

function textWidth(text, font) {
  const key = font + text;
  if (!widths.has(key)) {
    ruler.font = font;
    widths.set(key, ruler.measureText(text).width);
  }
  return widths.get(key);
}

class Item {
  constructor(name, kind, detail, marks, parent, number = -1) {
    Object.assign(this, { name, kind, detail, marks, parent, number, children: null, open: false, x: 0, y: 0, width: 0, height: NODE.height });
    if (parent) (parent.children ||= []).push(this);
  }
}

// The parts of an origin that are folds: "node '/layers.0/attention/MatMul'" is in layers.0, attention; "model.py:3 in f" in f, line 3.
function scopesOf(origin, mode) {
  if (!origin || mode === "nothing") return [];
  const name = /node '(.*)'$/.exec(origin) || /node "(.*)"$/.exec(origin);
  if (name && mode === "layer") return name[1].split("/").filter(Boolean).slice(0, -1);
  if (name) return [name[1]];
  const line = /([^/\\]+):(\d+)(?: in (.*))?$/.exec(origin);
  if (!line) return [];
  return mode === "layer" ? [line[3] || line[1]] : [line[3] || line[1], `${line[1]}:${line[2]}`];
}

class GraphView {
  constructor() {
    this.pane = makePane("upper", "graph", "graph", true);
    const tools = make("span", "tools");
    this.stage = this.choice(tools, "which graph", Object.keys(report.graphs), "fused");
    this.mode = this.choice(tools, "what is folded", ["layer", "line", "nothing"], "layer");
    for (const [text, title, action] of [["⊕", "open one more level", () => this.level(true)], ["⊖", "close one level", () => this.level(false)],
      ["fit", "the whole graph (0)", () => this.fit(true)]]) {
      const button = make("button", "", text);
      button.title = title;
      button.onclick = action;
      tools.append(button);
    }
    this.pane.head.append(tools);
    const holder = make("div", "plot");
    this.pane.section.append(holder);
    this.plot = makePlot(holder, "the graph: drag to move it, double click opens and closes boxes", (context, width, height) => this.draw(context, width, height));
    this.camera = { x: 0, y: 0, scale: 1 };
    this.pane.show = () => { if (!this.root) this.build(); this.plot.redraw(); };
    this.pane.reveal = (from) => this.reveal(from);
    this.listen(this.plot.canvas);
  }
  choice(tools, title, names, chosen) {
    const select = make("select");
    select.title = title;
    for (const name of names) select.append(make("option", "", name));
    if (names.includes(chosen)) select.value = chosen;
    select.onchange = () => this.build();
    tools.append(select);
    return select;
  }

  // ---- the tree
  build() {
    const graph = report.graphs[this.stage.value], mode = this.mode.value;
    this.root = new Item("", "root", "", [], null);
    this.root.open = true;
    this.items = [];
    if (!graph) return;
    const scopes = new Map(), boxes = [];
    const scopeAt = (path) => {
      let item = this.root, key = "";
      for (const part of path) {
        key += "/" + part;
        if (!scopes.has(key)) scopes.set(key, new Item(part, "scope", "", [], item));
        item = scopes.get(key);
      }
      return item;
    };
    const pathOf = (marks) => {
      const mark = marks.find((m) => letter(m) === "l");
      return mark === undefined ? null : scopesOf(report.marks.origins[numberOf(mark)], mode);
    };
    graph.boxes.forEach(([title, kind, detail, marks, box]) => {
      boxes.push(new Item(title, kind, detail, marks, box < 0 ? scopeAt(pathOf(marks) || []) : boxes[box]));
    });
    graph.nodes.forEach(([name, family, detail, sources, marks, box], number) => {
      let parent = box < 0 ? this.root : boxes[box];
      if (box < 0 && family !== "input" && family !== "output") {
        const path = pathOf(marks), near = sources.length ? this.outside(this.items[sources[0]]) : this.root;
        parent = path ? scopeAt(path) : near;  // what passes added belongs to what it reads
      }
      this.items.push(new Item(name, family, detail, marks, parent, number));
    });
    this.sources = graph.nodes.map((node) => node[3]);
    this.lift(this.root);
    this.count(this.root);
    for (let budget = AT_FIRST; ;) {  // open the boxes of the model's layers level by level, while that stays readable
      const closed = this.shown().filter((item) => item.children && item.kind === "scope");
      const next = closed.filter((item) => (budget -= item.children.length) >= 0);
      if (this.shown().length > AT_FIRST || !next.length) break;
      for (const item of next) item.open = true;
    }
    this.arrange();
    this.fit(false);
  }
  outside(item) {  // the innermost scope around an item
    let parent = item.parent;
    while (parent && parent.kind !== "scope" && parent !== this.root) parent = parent.parent;
    return parent || this.root;
  }
  lift(item) {  // a scope of one child is no box
    if (!item.children) return;
    for (const child of [...item.children]) this.lift(child);
    item.children = item.children.map((child) => {
      if (child.kind !== "scope" || child.children.length !== 1) return child;
      const only = child.children[0];
      only.parent = item;
      if (only.kind === "scope") only.name = `${child.name}/${only.name}`;
      return only;
    });
  }
  count(item) {
    item.first = item.number >= 0 ? item.number : Infinity;
    item.size = item.children ? 0 : 1;
    item.depth = item.parent ? item.parent.depth + 1 : 0;
    for (const child of item.children || []) {
      this.count(child);
      item.first = Math.min(item.first, child.first);
      item.size += child.size;
    }
  }
  shown(item = this.root, found = []) {
    for (const child of item.children || []) child.open ? this.shown(child, found) : found.push(child);
    return found;
  }
  level(isOpen) {
    if (isOpen) {
      let left = MOST_OPEN;
      for (const item of this.shown()) if (item.children && (left -= item.children.length) > 0) item.open = true;
    } else {
      const deepest = (item) => Math.max(item.depth, ...(item.children || []).filter((c) => c.open).map(deepest));
      const depth = deepest(this.root);
      const close = (item) => { for (const child of item.children || []) { close(child); if (child.depth >= depth) child.open = false; } };
      if (depth > 0) close(this.root);
    }
    this.arrange();
    this.fit(false);
  }
  toggle(item) {
    const [x, y] = [item.absolute[0], item.absolute[1]];
    item.open = !item.open;
    this.arrange();
    this.camera.x += item.absolute[0] - x;  // the corner of the box stays where it is
    this.camera.y += item.absolute[1] - y;
    this.plot.redraw();
  }

  // ---- places
  arrange() {
    const shownAs = this.items.map((item) => {
      let found = item;
      for (let p = item.parent; p; p = p.parent) if (!p.open) found = p;
      return found;
    });
    const pairs = new Map(), inner = new Map();  // edges between shown items; those between the children of a box
    this.edges = [];
    this.sources.forEach((sources, number) => {
      for (const source of sources) {
        const a = shownAs[source], b = shownAs[number];
        if (a === b) continue;
        if (!pairs.has(a)) pairs.set(a, new Set());
        if (pairs.get(a).has(b)) continue;
        pairs.get(a).add(b);
        let [p, q] = [a, b];
        while (p.parent !== q.parent) p.depth > q.depth ? p = p.parent : q.depth > p.depth ? q = q.parent : (p = p.parent, q = q.parent);
        const edge = { a, b, p, q };
        this.edges.push(edge);
        if (!inner.has(p.parent)) inner.set(p.parent, new Map());
        const known = inner.get(p.parent), key = p.first * 1e6 + q.first;
        known.has(key) ? known.get(key).push(edge) : known.set(key, [edge]);
      }
    });
    this.measure(this.root, inner);
    this.visible = [];
    this.settle(this.root, 0, 0);
    for (const edge of this.edges) edge.points = this.route(edge);
  }
  measure(item, inner) {
    if (!item.open) {
      const detail = item.kind === "scope" ? "1,000 operators" : item.detail;
      item.width = Math.max(64, Math.min(300, textWidth(item.name, BOLD) + (item.children ? 34 : 26)), Math.min(190, textWidth(detail, SMALL) + 26));
      item.height = NODE.height;
      return;
    }
    const children = item.children = item.children || [];
    children.sort((a, b) => a.first - b.first);
    children.forEach((child, i) => { this.measure(child, inner); child.index = i; });
    const edges = [...(inner.get(item) || new Map()).values()];
    const found = layered(children.map((c) => [c.width, c.height]), edges.map(([{ p, q }]) => [p.index, q.index]));
    const [left, top] = item.parent ? [NODE.padding, NODE.title + 8] : [0, 0];
    children.forEach((child, i) => { child.x = found.x[i] + left; child.y = found.y[i] + top; });
    edges.forEach((list, i) => list.forEach((edge) => { edge.bends = found.bends[i].map(([x, y]) => [x + left, y + top]); edge.around = item; }));
    item.width = Math.max(found.width + 2 * left, 7 * item.name.length + 60);
    item.height = found.height + top + (item.parent ? NODE.padding : 0);
  }
  settle(item, x, y) {
    item.absolute = [x, y];
    if (item.parent) this.visible.push(item);
    if (item.open) for (const child of item.children) this.settle(child, x + child.x, y + child.y);
  }
  route({ a, b, bends, around }) {
    const [left, top] = around.absolute;
    const middle = bends.map(([x, y]) => [x + left, y + top]);
    const start = [a.absolute[0] + a.width / 2, a.absolute[1] + a.height], end = [b.absolute[0] + b.width / 2, b.absolute[1]];
    return start[1] <= end[1] ? [start, ...middle, end] : [start, end];
  }

  // ---- the view
  fit(isWhole) {
    if (!this.plot.width) return requestAnimationFrame(() => this.fit(isWhole));
    const across = (this.plot.width - 40) / this.root.width, down = (this.plot.height - 40) / this.root.height;
    this.camera.scale = isWhole ? Math.min(across, down, 1.2) : Math.max(Math.min(across, 1.1), .55);
    this.camera.x = this.root.width / 2 - this.plot.width / 2 / this.camera.scale;
    this.camera.y = isWhole ? this.root.height / 2 - this.plot.height / 2 / this.camera.scale : -16 / this.camera.scale;
    this.plot.redraw();
  }
  zoom(factor, x, y) {
    const camera = this.camera, scale = Math.min(3, Math.max(.004, camera.scale * factor));
    camera.x += x / camera.scale - x / scale;
    camera.y += y / camera.scale - y / scale;
    camera.scale = scale;
    this.plot.redraw();
  }
  level_of(item) {  // how strongly an item is lit: a closed box as the strongest inside it
    if (!followed.size) return 0;
    if (item.lit && item.lit[0] === followed) return item.lit[1];
    let best = strength(item.marks);
    if (!item.open && best < 4) for (const child of item.children || []) best = Math.max(best, this.level_of(child));
    item.lit = [followed, best, item.open];
    return best;
  }
  draw(context, width, height) {
    const { x, y, scale } = this.camera;
    context.fillStyle = color("back");
    context.fillRect(0, 0, width, height);
    if (!this.visible) return;
    context.save();
    context.scale(scale, scale);
    context.translate(-x, -y);
    const right = x + width / scale, bottom = y + height / scale;
    const inSight = this.visible.filter((item) => item.absolute[0] < right && item.absolute[1] < bottom
      && item.absolute[0] + item.width > x && item.absolute[1] + item.height > y);
    this.drawn = inSight.length;
    for (const item of inSight) if (item.open) this.drawBox(context, item, scale);
    this.drawEdges(context, scale, x, y, right, bottom);
    for (const item of inSight) if (!item.open) this.drawItem(context, item, scale);
    context.restore();
  }
  drawEdges(context, scale, x, y, right, bottom) {
    const path = new Path2D(), lit = new Path2D();
    for (const { points, a, b } of this.edges) {
      const from = points[0], to = points.at(-1);
      if (Math.max(from[1], to[1]) < y || Math.min(from[1], to[1]) > bottom) continue;
      const into = followed.size && this.level_of(a) > 1 && this.level_of(b) > 1 ? lit : path;
      into.moveTo(...from);
      for (let i = 1; i < points.length; i++) {
        const [px, py] = points[i - 1], [qx, qy] = points[i], bend = Math.max(8, (qy - py) / 2);
        into.bezierCurveTo(px, py + bend, qx, qy - bend, qx, qy);
      }
    }
    context.strokeStyle = color("wire");
    context.lineWidth = Math.max(1.1, .8 / scale);
    context.stroke(path);
    context.strokeStyle = color("exact");
    context.lineWidth = 2.5;
    context.stroke(lit);
  }
  drawBox(context, item, scale) {
    const [x, y] = item.absolute, level = this.level_of(item);
    context.fillStyle = level ? color(LEVELS[level]) : color("panel");
    context.globalAlpha = level ? .55 : 1;
    context.strokeStyle = item.kind === "scope" ? color("line") : color(paint(item.kind));
    context.lineWidth = 1 / Math.max(scale, .3);
    context.beginPath();
    context.roundRect(x, y, item.width, item.height, 9);
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
    if (scale < .3) return;
    context.fillStyle = color("faint");
    context.font = BOLD;
    context.fillText(`▾ ${item.name}`, x + 10, y + 17);
  }
  drawItem(context, item, scale) {
    const [x, y] = item.absolute, level = this.level_of(item), hue = item.kind === "scope" ? "wire" : paint(item.kind);
    if (scale < .12) {  // far away: a patch of its color
      context.fillStyle = level ? color(LEVELS[level]) : color(hue);
      context.fillRect(x, y, item.width, item.height);
      return;
    }
    const end = item.kind === "input" || item.kind === "output";
    context.fillStyle = level ? color(LEVELS[level]) : color(item.kind === "scope" ? "panel" : "raised");
    context.strokeStyle = item === this.found ? color("alarm") : color(item.children || end ? hue : "line");
    context.lineWidth = item === this.found ? 3 : 1.2;
    context.beginPath();
    context.roundRect(x, y, item.width, item.height, end ? 18 : 7);
    context.fill();
    context.stroke();
    if (!end && item.kind !== "scope") {
      context.fillStyle = color(hue);
      context.beginPath();
      context.roundRect(x, y, 5, item.height, [7, 0, 0, 7]);
      context.fill();
    }
    if (scale < .35) return;
    context.save();
    context.beginPath();
    context.rect(x, y, item.width - 4, item.height);
    context.clip();
    context.fillStyle = color("text");
    context.font = BOLD;
    context.fillText((item.children ? "▸ " : "") + item.name, x + (end ? 16 : 12), y + 15.5);
    context.fillStyle = color(level ? "text" : "faint");
    context.font = SMALL;
    context.fillText(item.kind === "scope" ? `${item.size.toLocaleString("en")} operators` : item.detail, x + (end ? 16 : 12), y + 29);
    context.restore();
  }

  // ---- the pointer
  at(event) {
    const box = this.plot.canvas.getBoundingClientRect(), { x, y, scale } = this.camera;
    const [px, py] = [x + (event.clientX - box.left) / scale, y + (event.clientY - box.top) / scale];
    let found = null;
    for (const item of this.visible || []) {  // what is inside comes behind what is around it
      const [left, top] = item.absolute;
      if (px >= left && px <= left + item.width && py >= top && py <= top + item.height) found = item;
    }
    return [found, px, py];
  }
  listen(canvas) {
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      drag = { x: event.clientX, y: event.clientY, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) return this.hover(event);
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.moved && Math.abs(dx) + Math.abs(dy) < 4) return;
      Object.assign(drag, { x: event.clientX, y: event.clientY, moved: true });
      this.camera.x -= dx / this.camera.scale;
      this.camera.y -= dy / this.camera.scale;
      canvas.style.cursor = "grabbing";
      this.plot.redraw();
    });
    canvas.addEventListener("pointerup", (event) => {
      const click = drag && !drag.moved;
      drag = null;
      canvas.style.cursor = "";
      if (click) this.click(event);
    });
    canvas.addEventListener("pointerleave", (event) => showTip(event, ""));
    canvas.addEventListener("dblclick", (event) => {
      const [item] = this.at(event);
      if (item && item.children) this.toggle(item);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey) return this.zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
      this.camera.x += (event.shiftKey ? event.deltaY : event.deltaX) / this.camera.scale;
      this.camera.y += (event.shiftKey ? 0 : event.deltaY) / this.camera.scale;
      this.plot.redraw();
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = 80 / this.camera.scale, moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (moves[event.key]) { this.camera.x += moves[event.key][0]; this.camera.y += moves[event.key][1]; }
      else if (event.key === "+" || event.key === "-") return this.zoom(event.key === "+" ? 1.25 : .8, this.plot.width / 2, this.plot.height / 2);
      else if (event.key === "0") return this.fit(true);
      else return;
      event.preventDefault();
      this.plot.redraw();
    });
  }
  click(event) {
    const [item, px, py] = this.at(event);
    if (!item) return follow([], this.pane);
    const isHandle = item.children && px < item.absolute[0] + 24 && py < item.absolute[1] + NODE.title;
    if (isHandle) return this.toggle(item);
    follow(item.kind === "scope" ? [] : this.marksOf(item), this.pane, item.kind === "scope" ? "" : item.name);
  }
  marksOf(item) {  // a group stands for the origins of all that is in it
    const inside = (child) => [...child.marks.filter((mark) => letter(mark) === "l"), ...(child.children || []).flatMap(inside)];
    return [...new Set([...item.marks, ...inside(item)])];
  }
  hover(event) {
    const [item] = this.at(event);
    this.plot.canvas.style.cursor = item && !(item.open && item.kind === "scope") ? "pointer" : "";
    if (!item || item.open && item.kind === "scope") return showTip(event, "");
    const origin = item.marks.find((mark) => letter(mark) === "l");
    showTip(event, [item.kind === "scope" ? `${item.name}: ${item.size.toLocaleString("en")} operators` : `${item.name}  (${item.kind})`, item.detail,
      origin === undefined ? "" : report.marks.origins[numberOf(origin)], item.children ? "double click opens and closes it" : ""].filter(Boolean).join("\n"));
  }
  reveal(from) {
    this.plot.redraw();
    if (from === this.pane || !this.visible || !followed.size) return;
    let best = null, level = 1;
    for (const item of this.visible) if (this.level_of(item) > level && !(item.open && item.kind === "scope")) [best, level] = [item, this.level_of(item)];
    best ||= this.visible.find((item) => this.level_of(item) && !item.open);
    if (best) this.center(best);
  }
  center(item) {
    const [x, y] = item.absolute, { scale } = this.camera, { width, height } = this.plot;
    const isSeen = x > this.camera.x && y > this.camera.y && x + item.width < this.camera.x + width / scale && y + NODE.height < this.camera.y + height / scale;
    if (!isSeen) {
      this.camera.x = x + item.width / 2 - width / 2 / scale;
      this.camera.y = y + Math.min(item.height, height / scale) / 2 - height / 2 / scale;
    }
    this.plot.redraw();
  }
}
