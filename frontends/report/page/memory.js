// What takes memory, and when?  The slots of the arena as rectangles over the launches, and what is live at each.

class MemoryView {
  constructor() {
    this.pane = makePane("lower", "memory", "memory over time");
    const { arena, bound, slots, peak } = this.memory = report.steps.memory;
    const count = this.count = Math.max(1, report.steps.launches.length);
    this.pane.note.textContent = `arena ${quantity(arena, "B")}, lower bound ${quantity(bound, "B")}, ${slots.length.toLocaleString("en")} slots, peak at launch ${peak + 1}`;
    this.live = new Float64Array(count + 1);
    for (const [, , bytes, first, last] of slots) { this.live[first] += bytes; this.live[last + 1] -= bytes; }
    for (let i = 1; i <= count; i++) this.live[i] += this.live[i - 1];
    const holder = make("div", "plot");
    this.pane.section.append(holder);
    this.plot = makePlot(holder, "memory plan: launches to the right, bytes upwards", (context, width, height) => this.draw(context, width, height));
    this.pane.show = this.pane.reveal = () => this.plot.redraw();
    this.plot.canvas.addEventListener("click", (event) => {
      const slot = this.at(event);
      follow(slot ? slot[5] : [], this.pane, slot ? slot[0] : "");
    });
    this.plot.canvas.addEventListener("mousemove", (event) => {
      const slot = this.at(event), launch = report.steps.launches[Math.floor(this.step(event))];
      showTip(event, slot ? `${slot[0]}: ${quantity(slot[2], "B")} at ${slot[1].toLocaleString("en")}\nlaunches ${slot[3] + 1} to ${slot[4] + 1}`
        : launch ? `launch ${Math.floor(this.step(event)) + 1}: ${report.steps.kernels[launch.kernel]}\n${quantity(this.live[Math.floor(this.step(event))], "B")} live` : "");
    });
    this.plot.canvas.addEventListener("mouseleave", (event) => showTip(event, ""));
  }
  frame() {
    const left = 64, top = 14, width = this.plot.width - left - 14, height = this.plot.height - top - 24, most = Math.max(this.memory.arena, 1);
    return { left, top, width, height, x: (i) => left + i / this.count * width, y: (bytes) => top + height * (1 - bytes / most) };
  }
  step(event) {
    const { left, width } = this.frame();
    return (event.clientX - this.plot.canvas.getBoundingClientRect().left - left) / width * this.count;
  }
  at(event) {
    const { top, height } = this.frame(), step = this.step(event);
    const byte = (1 - (event.clientY - this.plot.canvas.getBoundingClientRect().top - top) / height) * this.memory.arena;
    return this.memory.slots.find(([, offset, bytes, first, last]) => first <= step && step < last + 1 && offset <= byte && byte <= offset + bytes);
  }
  draw(context, width, height) {
    const { left, x, y, top, height: tall } = this.frame(), { arena, bound, slots, peak } = this.memory;
    context.fillStyle = color("back");
    context.fillRect(0, 0, width, height);
    context.fillStyle = color("panel");
    context.fillRect(x(peak), top, Math.max(2, x(1) - x(0)), tall);
    context.lineWidth = 1;
    for (const [, offset, bytes, first, last, marks] of slots) {
      const level = strength(marks), box = [x(first), y(offset + bytes), Math.max(1.5, x(last + 1) - x(first) - 1), Math.max(1, y(offset) - y(offset + bytes) - 1)];
      context.globalAlpha = level || !followed.size ? 1 : .45;
      context.fillStyle = level ? color(LEVELS[level]) : color("loops");
      context.globalAlpha *= level ? 1 : .32;
      context.fillRect(...box);
      context.globalAlpha = 1;
      context.strokeStyle = level ? color("text") : color("loops");
      if (box[2] > 3 && box[3] > 3) context.strokeRect(box[0] + .5, box[1] + .5, box[2] - 1, box[3] - 1);
    }
    context.beginPath();  // what is live, laid one upon the other
    for (let i = 0; i < this.count; i++) { context.lineTo(x(i), y(this.live[i])); context.lineTo(x(i + 1), y(this.live[i])); }
    context.strokeStyle = color("text");
    context.lineWidth = 1.5;
    context.stroke();
    context.font = "11px system-ui, sans-serif";
    const rule = (bytes, text, name, dash, ink = name) => {
      context.setLineDash(dash);
      context.strokeStyle = color(name);
      context.beginPath();
      context.moveTo(left, y(bytes)); context.lineTo(width - 14, y(bytes));
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = color(ink);
      context.textAlign = "right";
      context.fillText(text, left - 6, Math.max(y(bytes) + 4, 11));
    };
    context.lineWidth = 1;
    rule(0, "0", "faint", []);
    if (arena > bound) rule(arena, quantity(arena, "B"), "faint", []);
    rule(bound, quantity(bound, "B"), "alarm", [5, 4]);
    if (bound > 0) rule(bound / 2, quantity(bound / 2, "B"), "line", [2, 4], "faint");
    context.fillStyle = color("faint");
    context.textAlign = "left";
    context.fillText("launches →" + (width > 480 ? "   line: live bytes   dashed: lower bound   shaded: the peak" : ""), left, height - 7);
    context.textAlign = "right";
    context.fillText(this.count.toLocaleString("en"), width - 14, height - 7);
  }
}
