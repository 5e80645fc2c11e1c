// How is text of any length shown?  Only the rows in sight are elements.

// A list in `holder`: `count()` rows of `height` pixels, `draw(index)` makes one, `width()` is the widest in characters.
class VirtualList {
  constructor(holder, height, count, draw, width = () => 0) {
    Object.assign(this, { holder, height, count, draw, width, waiting: false });
    this.whole = make("div", "whole");
    holder.classList.add("scroll");
    holder.append(this.whole);
    holder.addEventListener("scroll", () => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(holder);
  }
  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.drawNow(); });
  }
  drawNow() {
    const total = this.count(), { scrollTop, clientHeight } = this.holder;
    this.whole.style.height = total * this.height + 40 + "px";
    this.whole.style.width = this.width() ? `calc(${this.width()}ch + 40px)` : "";
    const first = Math.max(0, Math.floor(scrollTop / this.height) - 8);
    const last = Math.min(total, Math.ceil((scrollTop + clientHeight) / this.height) + 8);
    const rows = [];
    for (let i = first; i < last; i++) {
      const row = this.draw(i);
      row.style.top = i * this.height + "px";
      row.dataset.row = i;
      rows.push(row);
    }
    this.whole.replaceChildren(...rows);
  }
  scrollTo(index) {
    this.whole.style.height = this.count() * this.height + 40 + "px";
    this.holder.scrollTop = Math.max(0, index * this.height - this.holder.clientHeight / 3);
    this.redraw();
  }
  has(index) {
    return (index + 1) * this.height <= this.holder.scrollTop + this.holder.clientHeight && index * this.height >= this.holder.scrollTop;
  }
}

// A stage: blocks of lines, those of one block under its heading where there are several.
class Column {
  constructor(stage) {
    this.stage = stage;
    this.pane = makePane("upper", stage.name, stage.name);
    this.pane.note.textContent = `${stage.lines.toLocaleString("en")} lines` + (stage.blocks > 1 ? `, ${stage.blocks} parts` : "");
    const holder = make("div", "code");
    this.pane.section.append(holder);
    this.rows = [];    // pairs: block, line (-1: its heading)
    this.list = new VirtualList(holder, 18, () => this.rows.length / 2, (i) => this.drawRow(i), () => this.widest);
    this.pane.show = () => this.unpack().then(() => this.reveal(null));
    this.pane.reveal = (from) => this.reveal(from);
    holder.addEventListener("click", (event) => this.click(event));
    holder.addEventListener("mousemove", (event) => this.hover(event));
    holder.addEventListener("mouseleave", (event) => showTip(event, ""));
    this.blocks = [];
    this.widest = 0;
    this.current = -1;
  }
  unpack() {
    return this.unpacked ||= part("stage-" + this.stage.name).then((blocks) => {
      this.blocks = blocks;
      this.places = new Map();  // mark -> [block, line] where it stands first
      blocks.forEach((block, b) => {
        block.open = this.stage.open || blocks.length === 1;
        block.closed = new Set(block.closed || []);
        const note = (marks, line) => { for (const mark of marks) if (!this.places.has(mark)) this.places.set(mark, [b, line]); };
        note(block.marks, blocks.length > 1 ? -1 : 0);
        block.lines.forEach(([text, marks, spans], line) => {
          note(marks, line);
          for (let i = 2; i < spans.length; i += 3) note(spans[i], line);
          this.widest = Math.max(this.widest, text.length);
        });
      });
      this.arrange();
    });
  }
  arrange() {  // which rows are there
    this.rows = [];
    this.blocks.forEach((block, b) => {
      if (this.blocks.length > 1) this.rows.push(b, -1);
      if (!block.open) return;
      const folds = block.folds || [], ends = new Map();
      for (let i = 0; i < folds.length; i += 2) if (block.closed.has(folds[i])) ends.set(folds[i], folds[i + 1]);
      for (let line = 0; line < block.lines.length; line++) {
        this.rows.push(b, line);
        if (ends.has(line)) line = ends.get(line) - 1;
      }
    });
  }
  drawRow(i) {
    const block = this.blocks[this.rows[2 * i]], line = this.rows[2 * i + 1];
    if (line < 0) return make("div", `item head ${LEVELS[strength(block.marks)]}`, (block.open ? "▾ " : "▸ ") + block.title);
    const [text, marks, spans] = block.lines[line], row = make("div", `item ${LEVELS[strength(marks)]}`);
    if (this.found && this.found[0] === block && this.found[1] === line) row.classList.add("found");
    const folds = block.folds || [], at = folds.findIndex((first, i) => i % 2 === 0 && first === line);
    if (at >= 0) row.append(make("span", "fold", block.closed.has(line) ? "▸" : "▾"));
    let done = 0;
    for (let s = 0; s < spans.length; s += 3) {
      if (spans[s] > done) row.append(text.slice(done, spans[s]));
      const span = make("span", `link ${LEVELS[strength(spans[s + 2])]}`, text.slice(spans[s], spans[s] + spans[s + 1]));
      span.dataset.span = s;
      row.append(span);
      done = spans[s] + spans[s + 1];
    }
    const comment = marks.length ? text.lastIndexOf("  # ") : -1;
    if (comment >= done) row.append(text.slice(done, comment), make("span", "comment", text.slice(comment)));
    else row.append(text.slice(done));
    if (at >= 0 && block.closed.has(line)) row.append(make("span", "comment", `   ⋯ ${folds[at + 1] - line - 1} more lines`));
    return row;
  }
  at(event) {  // [block, line, marks of the span under the pointer or null]
    const row = event.target.closest(".item");
    if (!row) return null;
    const i = +row.dataset.row, block = this.blocks[this.rows[2 * i]], line = this.rows[2 * i + 1];
    const span = event.target.dataset.span;
    return [block, line, span === undefined ? null : block.lines[line][2][+span + 2]];
  }
  click(event) {
    const found = this.at(event);
    if (!found || String(getSelection())) return;
    const [block, line, span] = found;
    if (line < 0) {
      block.open = !block.open;
      this.arrange();
      follow(block.marks, this.pane, block.title);
    } else if (event.target.classList.contains("fold")) {
      block.closed.has(line) ? block.closed.delete(line) : block.closed.add(line);
      this.arrange();
    } else if (span) {
      follow([...new Set([...span, ...this.definition(span, block.lines[line])[1]])], this.pane, event.target.textContent);
    } else follow(block.lines[line][1].length ? block.lines[line][1] : block.marks, this.pane, "");
    this.list.redraw();
  }
  definition(span, line) {  // the line that makes the value of a span; this one where the span is a kernel's name
    const own = span.find((mark) => letter(mark) === "v"), place = own === undefined ? null : this.places.get(own);
    return place ? this.blocks[place[0]].lines[place[1]] : own === undefined ? ["", []] : line;
  }
  hover(event) {
    const found = this.at(event);
    showTip(event, found && found[2] ? this.definition(found[2], ["", []])[0].trim() : "");
  }
  open(block, line) {  // have a line shown, scrolled into sight
    const b = this.blocks.indexOf(block), folds = block.folds || [];
    block.open = true;
    for (let i = 0; i < folds.length; i += 2) if (folds[i] < line && line < folds[i + 1]) block.closed.delete(folds[i]);
    this.arrange();
    for (let i = 0; i < this.rows.length; i += 2)
      if (this.rows[i] === b && (this.rows[i + 1] === line || line < 0)) {
        if (!this.list.has(i / 2)) this.list.scrollTo(i / 2);
        return this.list.redraw();
      }
  }
  reveal(from) {
    this.list.redraw();
    if (from === this.pane || !this.places) return;
    let best = null, level = 0;
    for (const [mark, strong] of followed) if (strong > level && this.places.has(mark)) [best, level] = [mark, strong];
    if (best === null) return;
    const [b, line] = this.places.get(best);
    this.open(this.blocks[b], line);
  }
}
