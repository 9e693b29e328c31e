// ---- flame: the picture, and moving in it with keys ---------------------------------------------

const LEVEL = 19;
const NARROWEST = 1; // pixels
const DEEPEST = 400; // levels

class Flame {
  constructor(holder, details, onZoom) {
    this.holder = holder;
    this.details = details;
    this.onZoom = onZoom;
    this.current = null;
    holder.addEventListener("click", (event) => {
      const frame = event.target.closest(".frame");
      if (frame) onZoom(frame.shown.node);
    });
    holder.addEventListener("mouseover", (event) => this.#describe(event.target.closest(".frame")));
    holder.addEventListener("focusin", (event) => {
      const frame = event.target.closest(".frame");
      if (frame) this.#select(frame.shown, false);
      this.#describe(frame);
    });
    holder.addEventListener("keydown", (event) => this.#key(event));
  }

  // Draws everything below `zoomed` to scale, and what is above it at full width.
  draw(model, root, zoomed, hit, icicle) {
    this.whole = root.total;
    this.model = model;
    this.icicle = icicle;
    const width = this.holder.clientWidth;
    const above = [];
    for (let node = zoomed.above; node; node = node.above) above.push(node);
    const shown = above.reverse().map((node, depth) => ({ node, x: 0, width, depth, above: true }));
    const scale = zoomed.total ? width / zoomed.total : 0;
    const waiting = [{ node: zoomed, x: 0, width, depth: shown.length, above: false }];
    const deepest = shown.length + DEEPEST;
    while (waiting.length) {
      const next = waiting.pop();
      shown.push(next);
      if (next.depth >= deepest) continue;
      let x = next.x;
      const inner = [];
      for (const node of next.node.callees()) {
        const size = node.total * scale;
        // They come by falling weight: what follows is narrower still.
        if (size < NARROWEST) break;
        inner.push({ node, x, width: size, depth: next.depth + 1, above: false });
        x += size;
      }
      while (inner.length) waiting.push(inner.pop());
    }
    this.shown = shown;
    this.levels = shown.reduce((most, item) => Math.max(most, item.depth), 0) + 1;
    this.holder.style.height = this.levels * LEVEL + "px";
    const fragment = document.createDocumentFragment();
    for (const item of shown) fragment.append(this.#element(item, hit));
    const focused = this.holder.contains(document.activeElement);
    this.holder.replaceChildren(fragment);
    this.#select(shown.find((item) => item.node === zoomed), focused);
  }

  #element(item, hit) {
    const element = document.createElement("div");
    const { frame } = item.node;
    element.className = "frame" + (item.above ? " above" : "") + (hit[frame] ? " found" : "");
    element.setAttribute("role", "treeitem");
    element.setAttribute("aria-level", item.depth + 1);
    element.setAttribute("aria-label", this.#sentence(item.node));
    element.tabIndex = -1;
    const level = this.icicle ? item.depth : this.levels - 1 - item.depth;
    element.style.left = item.x.toFixed(2) + "px";
    element.style.top = level * LEVEL + "px";
    element.style.width = item.width.toFixed(2) + "px";
    element.style.background = this.model.colours[frame];
    if (item.width > 20) element.textContent = this.model.names[frame];
    else element.style.padding = "0";
    element.shown = item;
    item.element = element;
    return element;
  }

  #sentence(node) {
    const module = this.model.modules[node.frame];
    const name = this.model.names[node.frame];
    const where = module && module !== name ? ` (${module})` : "";
    const own = node instanceof TopDown && node.own && node.own !== node.total ? `, ${grouped(node.own)} of them in it` : "";
    return `${name}${where}: ${grouped(node.total)} samples, ${percent(node.total, this.whole)}${own}`;
  }

  #describe(element) {
    this.details.textContent = element ? element.getAttribute("aria-label") : "";
  }

  #select(item, focus) {
    if (this.current) this.current.element.tabIndex = -1;
    this.current = item;
    item.element.tabIndex = 0;
    if (focus) item.element.focus();
  }

  // The caller, the heaviest callee, or a neighbour on the same level.
  #neighbour(key) {
    const { depth, x, node } = this.current;
    const outwards = this.icicle ? "ArrowUp" : "ArrowDown";
    if (key === outwards) return this.shown.find((item) => item.node === node.above);
    if (key === "ArrowUp" || key === "ArrowDown") {
      return this.shown.find((item) => item.depth === depth + 1 && item.node.above === node);
    }
    const level = this.shown.filter((item) => item.depth === depth).sort((a, b) => a.x - b.x);
    const place = level.findIndex((item) => item.x === x);
    return level[place + (key === "ArrowRight" ? 1 : -1)];
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") this.onZoom(this.current.node);
    else if (event.key.startsWith("Arrow")) {
      const item = this.#neighbour(event.key);
      if (item) this.#select(item, true);
    } else return;
    event.preventDefault();
  }
}
