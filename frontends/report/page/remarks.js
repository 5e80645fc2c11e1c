// What did the compiler decide, and why?  Its remarks, those that were refused and those that were done.

class RemarksView {
  constructor() {
    this.pane = makePane("lower", "remarks", "decisions");
    const done = report.remarks.filter((remark) => remark[2]).length;
    this.pane.note.textContent = `${done.toLocaleString("en")} done, ${(report.remarks.length - done).toLocaleString("en")} refused`;
    this.choice = make("select");
    for (const [value, text] of [["", "all"], ["done", "done"], ["refused", "refused"], ["followed", "about what is followed"]]) {
      const option = make("option", "", text);
      option.value = value;
      this.choice.append(option);
    }
    this.choice.onchange = () => this.filter();
    const tools = make("span", "tools");
    tools.append(this.choice);
    this.pane.head.append(tools);
    const holder = make("div", "code");
    this.pane.section.append(holder);
    this.list = new VirtualList(holder, 18, () => this.rows.length, (i) => this.drawRow(i), () => this.widest);
    holder.addEventListener("click", (event) => {
      const row = event.target.closest(".item");
      if (row && !String(getSelection())) follow(this.rows[+row.dataset.row][4], this.pane, "");
    });
    this.pane.show = () => this.list.redraw();
    this.pane.reveal = (from) => this.reveal(from);
    this.filter();
  }
  filter() {
    const wanted = this.choice.value;
    this.rows = report.remarks.filter(([, , done, , marks]) => !wanted || (wanted === "followed" ? strength(marks) > 0 : (wanted === "done") === done));
    this.widest = this.rows.reduce((most, row) => Math.max(most, this.text(row).join("").length + 4), 0);
    this.list.redraw();
  }
  text([stage, subject, , reason]) { return [`${subject}: `, reason, stage === "fuse" ? "" : `  [${stage}]`]; }
  drawRow(i) {
    const row = this.rows[i], [subject, reason, stage] = this.text(row);
    return make("div", `item ${LEVELS[strength(row[4])]}`, make("span", row[2] ? "done" : "refused", row[2] ? "✓ " : "✗ "), subject,
      make("b", "", reason), make("span", "faint", stage));
  }
  reveal(from) {
    if (this.choice.value === "followed" && from !== this.pane) this.filter();
    this.list.redraw();
    if (from === this.pane || !followed.size) return;
    const found = this.rows.findIndex((row) => strength(row[4]) > 1);
    if (found >= 0 && !this.list.has(found)) this.list.scrollTo(found);
  }
}
