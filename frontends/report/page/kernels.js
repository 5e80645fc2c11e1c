// What does each launch cost?  Operations and bytes, against the machine's roofline where the model was measured; a table of them.

class KernelsView {
  constructor() {
    this.pane = makePane("lower", "launches", "launches", true);
    this.pane.view = this;
    this.pane.section.style.flex = "2.6 1 640px";
    this.launches = report.steps.launches.map((launch, number) => ({ ...launch, number, name: report.steps.kernels[launch.kernel],
      intensity: launch.bytes ? launch.flops / launch.bytes : 0, seconds: null, share: null, bound: null, ...(report.profile ? report.profile.launches[number] : {}) }));
    for (const launch of this.launches) launch.rate = launch.seconds ? launch.flops / launch.seconds : null;
    const sum = (key) => this.launches.reduce((total, launch) => total + (launch[key] || 0), 0);
    this.pane.note.textContent = `${quantity(sum("flops"), "FLOP")}, ${quantity(sum("bytes"), "B")} moved`
      + (report.profile ? `; ${quantity(sum("seconds"), "s")} of a call of ${quantity(report.profile.call, "s")}` : "; not measured");
    const work = [["flops", "operations", 88, (l) => quantity(l.flops, "FLOP")], ["bytes", "moved", 80, (l) => quantity(l.bytes, "B")]];
    this.columns = [["number", "#", 44, (l) => (l.number + 1).toLocaleString("en")], ["name", "kernel", 170], ["origin", "from", 0]];
    if (report.profile) this.columns.push(["seconds", "time", 76, (l) => l.seconds === null ? "" : quantity(l.seconds, "s")],
      ["rate", "rate", 98, (l) => l.rate === null ? "" : quantity(l.rate, "FLOP/s")],
      ["share", "of roof", 62, (l) => l.share === null ? "" : Math.round(l.share * 100) + " %"], ...work);
    else this.columns.push(...work, ["intensity", "FLOP/B", 60, (l) => l.intensity < 10 ? l.intensity.toFixed(2) : Math.round(l.intensity).toLocaleString("en")]);
    this.most = Object.fromEntries(["flops", "bytes", "seconds"].map((key) => [key, Math.max(1e-12, ...this.launches.map((l) => l[key] || 0))]));
    this.order = [...this.launches];
    this.sorted = ["number", 1];

    const body = make("div"), left = make("div", "plot"), right = make("div");
    body.style.cssText = "flex:1;display:flex;min-height:0";
    left.style.cssText = "flex:1 1 30%;border-right:1px solid var(--line)";
    right.style.cssText = "flex:2 1 70%;display:flex;flex-direction:column;min-width:0";
    this.titles = make("div", "titles");
    const holder = make("div", "table");
    right.append(this.titles, holder);
    body.append(left, right);
    this.pane.section.append(body);
    this.list = new VirtualList(holder, 22, () => this.order.length, (i) => this.drawRow(i));
    this.plot = makePlot(left, "operations per byte to the right, operations upwards", (context, width, height) => this.draw(context, width, height));
    for (const [key, title, width] of this.columns) {
      const cell = make("span", width ? (key === "name" ? "" : "number") : "grow", title);
      if (width) cell.style.width = width + "px";
      cell.onclick = () => this.sort(key);
      cell.dataset.key = key;
      this.titles.append(cell);
    }
    holder.addEventListener("click", (event) => {
      const row = event.target.closest(".item");
      if (row) this.follow(this.order[+row.dataset.row]);
    });
    this.plot.canvas.addEventListener("click", (event) => { const launch = this.near(event); launch ? this.follow(launch) : follow([], this.pane); });
    this.plot.canvas.addEventListener("mousemove", (event) => {
      const l = this.near(event);
      showTip(event, l ? [`${l.number + 1}: ${l.name}`, l.origin, `${quantity(l.flops, "FLOP")}, ${quantity(l.bytes, "B")}, ${l.intensity.toPrecision(3)} FLOP/B`,
        l.seconds === null ? "" : quantity(l.seconds, "s") + (l.share === null ? "" : `, ${Math.round(l.share * 100)} % of the roofline, bound by ${l.bound}`)].filter(Boolean).join("\n") : "");
    });
    this.plot.canvas.addEventListener("mouseleave", (event) => showTip(event, ""));
    this.pane.show = () => { this.list.redraw(); this.plot.redraw(); };
    this.pane.reveal = (from) => this.reveal(from);
    this.mark();
  }
  follow(launch) { follow(launch.marks, this.pane, `launch ${launch.number + 1}: ${launch.name}`); }
  sort(key) {
    const isUp = key === "number" || key === "name" || key === "origin";
    this.sorted = [key, this.sorted[0] === key ? -this.sorted[1] : isUp ? 1 : -1];
    const sign = this.sorted[1], value = (l) => l[key] ?? -1;
    this.order.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : a.number - b.number) * sign);
    this.mark();
    this.list.redraw();
  }
  mark() {
    for (const cell of this.titles.children) {
      const isChosen = cell.dataset.key === this.sorted[0], title = this.columns.find(([key]) => key === cell.dataset.key)[1];
      cell.className = cell.className.replace(" chosen", "") + (isChosen ? " chosen" : "");
      cell.textContent = title + (isChosen ? (this.sorted[1] > 0 ? " ↑" : " ↓") : "");
    }
  }
  drawRow(i) {
    const launch = this.order[i], row = make("div", `item ${LEVELS[strength(launch.marks)]}`);
    for (const [key, , width, write] of this.columns) {
      const cell = make("span", width ? (key === "name" ? "" : "number") : "grow faint", write ? write(launch) : launch[key]);
      if (width) cell.style.width = width + "px";
      if (key === "name") {
        const dot = make("i", "dot");
        dot.style.background = `var(--${paint(launch.kind)})`;
        cell.prepend(dot);
        cell.title = launch.name;
      }
      if (this.most[key]) {
        const bar = make("i", "bar");
        bar.style.width = `calc(${(launch[key] || 0) / this.most[key]} * (100% - 12px))`;
        bar.style.background = `var(--${paint(launch.kind)})`;
        cell.append(bar);
      }
      row.append(cell);
    }
    return row;
  }
  reveal(from) {
    this.list.redraw();
    this.plot.redraw();
    if (from === this.pane || !followed.size) return;
    let best = -1, level = 0;
    this.order.forEach((launch, i) => { const found = strength(launch.marks); if (found > level) [best, level] = [i, found]; });
    if (best >= 0 && !this.list.has(best)) this.list.scrollTo(best);
  }

  // ---- the plot: both axes logarithmic
  frame() {
    const known = this.launches.filter((l) => l.flops > 0 && l.bytes > 0), roof = report.profile && report.profile.roofline;
    const up = (l) => roof ? l.rate : l.flops, usable = known.filter((l) => up(l) > 0);
    const log = (values) => [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)) + 1e-9)];
    const [x0, x1] = log(usable.length ? [...usable.map((l) => l.intensity), .1, 10] : [.1, 10]);
    const [y0, y1] = log(usable.length ? [...usable.map(up), ...(roof ? [roof.flops, roof.flops / 1000] : [])] : [1, 10]);
    const left = 80, top = 14, width = this.plot.width - left - 22, height = this.plot.height - top - 34;
    return { usable, up, roof, x0, x1, y0, y1, left, top, width, height, x: (v) => left + (Math.log10(v) - x0) / (x1 - x0) * width,
             y: (v) => top + height * (1 - (Math.log10(v) - y0) / Math.max(1, y1 - y0)) };
  }
  near(event) {
    const box = this.plot.canvas.getBoundingClientRect(), { usable, up, x, y } = this.frame();
    let best = null, least = 12 ** 2;
    for (const launch of usable) {
      const far = (x(launch.intensity) - event.clientX + box.left) ** 2 + (y(up(launch)) - event.clientY + box.top) ** 2;
      if (far < least) [best, least] = [launch, far];
    }
    return best;
  }
  draw(context, width, height) {
    const { usable, up, roof, x0, x1, y0, y1, left, top, width: wide, height: tall, x, y } = this.frame();
    context.fillStyle = color("back");
    context.fillRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1;
    context.fillStyle = color("faint");
    context.strokeStyle = color("line");
    context.beginPath();
    for (let d = x0; d <= x1; d++) { context.moveTo(x(10 ** d), top); context.lineTo(x(10 ** d), top + tall); }
    for (let d = y0; d <= y1; d++) { context.moveTo(left, y(10 ** d)); context.lineTo(left + wide, y(10 ** d)); }
    context.stroke();
    context.textAlign = "center";
    for (let d = x0; d <= x1; d++) context.fillText(d < 0 ? 10 ** d + "" : (10 ** d).toLocaleString("en"), x(10 ** d), top + tall + 13);
    context.textAlign = "right";
    const every = Math.ceil((y1 - y0 + 1) / Math.max(2, tall / 18));
    for (let d = y0; d <= y1; d += every) context.fillText(quantity(10 ** d, roof ? "FLOP/s" : "FLOP"), left - 5, y(10 ** d) + 4);
    context.textAlign = "left";
    context.fillText("operations per byte →", left, height - 6);
    if (roof) this.drawRoof(context, roof, x0, x1, x, y);
    for (const pass of [false, true]) for (const launch of usable) {  // what is followed on top
      const level = strength(launch.marks);
      if (!!level !== pass) continue;
      const size = launch.seconds ? Math.max(3, 11 * Math.sqrt(launch.seconds / this.most.seconds)) : level ? 6 : 4.5;
      context.globalAlpha = pass || !followed.size ? .85 : .3;
      context.fillStyle = color(paint(launch.kind));
      context.beginPath();
      context.arc(x(launch.intensity), y(up(launch)), size, 0, 7);
      context.fill();
      if (pass) { context.strokeStyle = color("text"); context.lineWidth = level > 1 ? 2.2 : 1; context.stroke(); }
    }
    context.globalAlpha = 1;
  }
  drawRoof(context, roof, x0, x1, x, y) {  // the peak, and a slope for each working set: from memory (red) up to the first cache
    context.save();
    context.beginPath();
    const { left, top, width, height } = this.frame();
    context.rect(left, top, width, height);
    context.clip();
    const rates = roof.bandwidth.map(([size, rate]) => [rate, size]).sort(([a], [b]) => a - b);
    rates.forEach(([rate, size], i) => {
      context.strokeStyle = color(i ? "wire" : "alarm");
      context.lineWidth = i ? 1 : 1.6;
      context.beginPath();
      context.moveTo(x(10 ** x0), y(rate * 10 ** x0));
      context.lineTo(x(roof.flops / rate), y(roof.flops));
      if (!i) context.lineTo(x(10 ** x1), y(roof.flops));
      context.stroke();
      if (i && i < rates.length - 1) return;
      context.fillStyle = color(i ? "faint" : "alarm");
      context.textAlign = i ? "right" : "left";
      const at = roof.flops / rate / 6;
      context.fillText(quantity(rate, "B/s"), x(at) + (i ? -4 : 8), y(rate * at) + (i ? -4 : 10));
    });
    context.restore();
    context.fillStyle = color("alarm");
    context.textAlign = "right";
    context.fillText(quantity(roof.flops, "FLOP/s"), left + width, y(roof.flops) - 4);
  }
}
