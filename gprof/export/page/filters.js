// ---- filters: which guests, vcpus, modes and tasks count -----------------------------------------

class Filters {
  constructor(model, onChange) {
    this.model = model;
    this.off = { guest: new Set(), vcpu: new Set(), mode: new Set(), task: new Set() };
    for (const facet of Object.keys(this.off)) this.#build(facet, onChange);
  }

  // What has one value only cannot be chosen from.
  #build(facet, onChange) {
    const order = new Intl.Collator("en", { numeric: true });
    const values = Array.from(new Set(this.model.lanes[facet])).sort(order.compare);
    if (values.length < 2) return;
    const fields = document.createElement("fieldset");
    const legend = document.createElement("legend");
    legend.textContent = facet;
    fields.append(legend);
    for (const value of values) {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.name = facet;
      box.value = value;
      box.addEventListener("change", () => {
        if (box.checked) this.off[facet].delete(value);
        else this.off[facet].add(value);
        this.#apply();
        onChange();
      });
      label.append(box, " " + value);
      fields.append(label);
    }
    byId("filters").append(fields);
  }

  #apply() {
    const { lanes, laneOn } = this.model;
    for (let lane = 0; lane < laneOn.length; lane++) {
      laneOn[lane] = Object.keys(this.off).every((facet) => !this.off[facet].has(lanes[facet][lane])) ? 1 : 0;
    }
  }
}
