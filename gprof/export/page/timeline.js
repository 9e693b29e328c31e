// ---- timeline: samples over time, and within each second ----------------------------------------

class Timeline {
  constructor(model, onRange) {
    this.model = model;
    this.onRange = onRange;
    this.histogram = byId("histogram");
    this.heatmap = byId("heatmap");
    this.from = byId("from");
    this.until = byId("until");
    const { slices } = model.time;
    this.from.max = slices - 1;
    this.until.max = slices;
    this.until.value = slices;
    this.from.addEventListener("input", () => this.choose(+this.from.value, Math.max(+this.until.value, +this.from.value + 1)));
    this.until.addEventListener("input", () => this.choose(Math.min(+this.from.value, +this.until.value - 1), +this.until.value));
    byId("all").addEventListener("click", () => this.choose(0, slices));
    this.histogram.addEventListener("dblclick", () => this.choose(0, slices));
    this.histogram.addEventListener("pointerdown", (event) => {
      this.start = this.#slice(event);
      this.histogram.setPointerCapture(event.pointerId);
    });
    this.histogram.addEventListener("pointermove", (event) => this.#drag(event));
    this.histogram.addEventListener("pointerup", (event) => {
      this.#drag(event);
      this.start = undefined;
    });
    this.heatmap.addEventListener("pointermove", (event) => {
      const { second, slot } = this.#cell(event);
      byId("slot").textContent = `second ${second}, ${slot * (1000 / model.heat.slots)} ms`;
    });
    this.heatmap.addEventListener("click", (event) => this.#chooseSecond(this.#cell(event).second));
  }

  // A click alone is no range; a drag is one from slice to slice.
  #drag(event) {
    if (this.start === undefined) return;
    const end = this.#slice(event);
    if (end !== this.start) this.choose(Math.min(this.start, end), Math.max(this.start, end) + 1);
  }

  choose(from, until) {
    if (from === this.model.from && until === this.model.until) return;
    this.from.value = from;
    this.until.value = until;
    this.onRange(from, until);
  }

  #chooseSecond(second) {
    const { slice_s: size, slices } = this.model.time;
    const { phase_s: phase, column_s: length } = this.model.heat;
    const from = Math.max(0, Math.floor((second - phase) / size));
    const until = Math.min(slices, Math.ceil((second + length - phase) / size));
    if (from < until) this.choose(from, until);
  }

  #slice(event) {
    const box = this.histogram.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    return Math.max(0, Math.min(this.model.time.slices - 1, Math.floor(share * this.model.time.slices)));
  }

  #cell(event) {
    const box = this.heatmap.getBoundingClientRect();
    const { columns, column_s: length, slots } = this.model.heat;
    const within = (share, count) => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
    return {
      second: within((event.clientX - box.left) / box.width, columns) * length,
      slot: slots - 1 - within((event.clientY - box.top) / box.height, slots),
    };
  }

  draw() {
    const { from, until, time } = this.model;
    const seconds = (slice) => (slice * time.slice_s).toFixed(2) + " s";
    byId("range").textContent = from > 0 || until < time.slices ? `${seconds(from)} to ${seconds(until)}` : `all ${seconds(time.slices)}`;
    for (const [input, slice] of [[this.from, from], [this.until, until]]) input.setAttribute("aria-valuetext", seconds(slice));
    this.#drawHistogram();
    this.#drawHeatmap();
  }

  #drawHistogram() {
    const sums = this.model.overTime();
    const { pen, width, height, colour } = surface(this.histogram);
    const most = sums.reduce((a, b) => Math.max(a, b), 1);
    sums.forEach((sum, slice) => {
      const inside = slice >= this.model.from && slice < this.model.until;
      pen.fillStyle = colour(inside ? "--bar" : "--outside");
      const left = Math.floor((slice * width) / sums.length);
      const size = (sum / most) * (height - 2);
      pen.fillRect(left, height - size, Math.max(1, Math.floor(((slice + 1) * width) / sums.length) - left), size);
    });
  }

  #drawHeatmap() {
    const sums = this.model.overSeconds();
    const { columns, slots } = this.model.heat;
    const { pen, width, height, colour } = surface(this.heatmap);
    const most = sums.reduce((a, b) => Math.max(a, b), 1);
    pen.fillStyle = colour("--bar");
    for (let cell = 0; cell < sums.length; cell++) {
      if (!sums[cell]) continue;
      // Square root: a slot with a quarter of the most is still seen well.
      pen.globalAlpha = 0.1 + 0.9 * Math.sqrt(sums[cell] / most);
      const column = Math.floor(cell / slots);
      const slot = cell % slots;
      const left = Math.floor((column * width) / columns);
      const top = Math.floor(((slots - 1 - slot) * height) / slots);
      const right = Math.max(left + 1, Math.floor(((column + 1) * width) / columns));
      pen.fillRect(left, top, right - left, Math.max(1, Math.floor(((slots - slot) * height) / slots) - top));
    }
    pen.globalAlpha = 1;
  }
}

// A canvas that has as many points as it takes pixels, empty.
function surface(canvas) {
  const height = Number(canvas.dataset.height || (canvas.dataset.height = canvas.getAttribute("height")));
  const width = Math.max(1, Math.round(canvas.clientWidth));
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = height + "px";
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  return { pen, width, height, colour: (name) => style.getPropertyValue(name).trim() };
}
