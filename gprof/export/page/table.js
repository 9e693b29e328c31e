// ---- table: functions as rows -----------------------------------------------------------------

const MOST_ROWS = 300;

class FunctionTable {
  constructor(onChoose) {
    this.key = "self";
    this.rising = false;
    this.body = byId("functions");
    this.heads = Array.from(document.querySelectorAll("th[data-key]"));
    for (const head of this.heads) head.firstElementChild.addEventListener("click", () => this.#sortBy(head.dataset.key));
    const choose = (event) => {
      const row = event.target.closest("tr");
      if (row) onChoose(row.frame);
    };
    this.body.addEventListener("click", choose);
    this.body.addEventListener("keydown", (event) => {
      const row = event.target.closest("tr");
      if (event.key === "Enter") choose(event);
      else if (event.key === "ArrowDown") row.nextElementSibling?.focus();
      else if (event.key === "ArrowUp") row.previousElementSibling?.focus();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  #sortBy(key) {
    const text = key === "name" || key === "module";
    this.rising = this.key === key ? !this.rising : text;
    this.key = key;
    this.draw(...this.drawn);
  }

  // With a search only what it found has rows.
  draw(model, hit, searching) {
    this.drawn = [model, hit, searching];
    const whole = model.total[0];
    const { self, total } = model.functions();
    const rows = [];
    for (let frame = 1; frame < total.length; frame++) {
      if (total[frame] && (!searching || hit[frame])) rows.push(frame);
    }
    const value = { self: (f) => self[f], total: (f) => total[f], name: (f) => model.names[f], module: (f) => model.modules[f] }[this.key];
    const sign = this.rising ? 1 : -1;
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    rows.sort((a, b) => sign * compare(value(a), value(b)) || total[b] - total[a] || a - b);
    for (const head of this.heads) {
      const order = this.rising ? "ascending" : "descending";
      head.setAttribute("aria-sort", head.dataset.key === this.key ? order : "none");
    }
    byId("count").textContent =
      rows.length > MOST_ROWS ? `${grouped(rows.length)} functions, the first ${MOST_ROWS} are shown` : `${grouped(rows.length)} functions`;
    this.body.replaceChildren(
      ...rows.slice(0, MOST_ROWS).map((frame) => {
        const row = document.createElement("tr");
        row.frame = frame;
        row.tabIndex = 0;
        if (hit[frame]) row.className = "found";
        const cells = [percent(self[frame], whole), percent(total[frame], whole), model.names[frame], model.modules[frame]];
        cells.forEach((text, column) => {
          const cell = row.insertCell();
          cell.textContent = text;
          cell.className = ["number", "number", "name", "module"][column];
          if (column > 1) cell.title = text;
        });
        return row;
      }),
    );
  }
}
