// ---- model: the profile, and what of it counts -------------------------------------------------

const NOTHING = 0xffffffff;

class Model {
  constructor(data) {
    const { frames, nodes, rows, heat } = data;
    this.names = frames.name;
    this.modules = Array.from(decoded(frames.module), (number) => frames.modules[number]);
    this.colours = Array.from(decoded(frames.colour), (number) => frames.colours[number]);
    this.kind = decoded(frames.kind);
    this.kinds = frames.kinds;
    this.parent = decoded(nodes.parent);
    this.frame = decoded(nodes.frame);
    this.lanes = data.lanes;
    this.rows = { node: decoded(rows.node), lane: decoded(rows.lane), slice: decoded(rows.slice), weight: decoded(rows.weight) };
    this.time = data.time;
    this.heat = { ...heat, cell: decoded(heat.cell), lane: decoded(heat.lane), weight: decoded(heat.weight) };
    this.own = new Float64Array(this.parent.length);
    this.total = new Float64Array(this.parent.length);
    this.laneOn = new Uint8Array(data.lanes.guest.length).fill(1);
    this.from = 0;
    this.until = data.time.slices; // exclusive
    this.#link();
    this.count();
  }

  get nodes() {
    return this.parent.length;
  }

  // The callees of each node, one after the other; and whether its function is above it already.
  #link() {
    const count = this.nodes;
    this.firstChild = new Uint32Array(count + 1);
    for (let node = 1; node < count; node++) this.firstChild[this.parent[node] + 1]++;
    for (let node = 0; node < count; node++) this.firstChild[node + 1] += this.firstChild[node];
    const at = this.firstChild.slice();
    this.child = new Uint32Array(Math.max(count - 1, 0));
    for (let node = 1; node < count; node++) this.child[at[this.parent[node]]++] = node;
    this.recursive = new Uint8Array(count);
    const above = new Uint8Array(this.names.length);
    // Depth first, with a note to leave each node again: what is above is what was not left.
    const waiting = [0];
    while (waiting.length) {
      const next = waiting.pop();
      if (next < 0) {
        above[this.frame[-next - 1]]--;
        continue;
      }
      const frame = this.frame[next];
      this.recursive[next] = above[frame] ? 1 : 0;
      if (!above[frame]) {
        above[frame]++;
        waiting.push(-next - 1);
      }
      for (let i = this.firstChild[next]; i < this.firstChild[next + 1]; i++) waiting.push(this.child[i]);
    }
  }

  // Sums up what the filters let through. A node's caller has a lower number.
  count() {
    const { node, lane, slice, weight } = this.rows;
    const { own, total, parent, laneOn, from, until } = this;
    own.fill(0);
    for (let i = 0; i < node.length; i++) {
      if (laneOn[lane[i]] && slice[i] >= from && slice[i] < until) own[node[i]] += weight[i];
    }
    total.set(own);
    for (let i = this.nodes - 1; i > 0; i--) total[parent[i]] += total[i];
  }

  // Weight of each slice, whatever range is chosen.
  overTime() {
    const sums = new Float64Array(this.time.slices);
    const { lane, slice, weight } = this.rows;
    for (let i = 0; i < lane.length; i++) if (this.laneOn[lane[i]]) sums[slice[i]] += weight[i];
    return sums;
  }

  // Weight of each cell of the heatmap, column after column.
  overSeconds() {
    const { columns, slots, cell, lane, weight } = this.heat;
    const sums = new Float64Array(columns * slots);
    for (let i = 0; i < cell.length; i++) if (this.laneOn[lane[i]]) sums[cell[i]] += weight[i];
    return sums;
  }

  // Self and total of each function; one that is twice on a stack counts once.
  functions() {
    const self = new Float64Array(this.names.length);
    const total = new Float64Array(this.names.length);
    for (let node = 1; node < this.nodes; node++) {
      self[this.frame[node]] += this.own[node];
      if (!this.recursive[node]) total[this.frame[node]] += this.total[node];
    }
    return { self, total };
  }

  // Weight of the samples that ended in each kind of code.
  byKind() {
    const sums = new Float64Array(this.kinds.length);
    for (let node = 1; node < this.nodes; node++) sums[this.kind[this.frame[node]]] += this.own[node];
    return sums;
  }

  // Which functions an expression finds, and the weight of the stacks that have one of them.
  found(expression) {
    const hit = new Uint8Array(this.names.length);
    if (!expression) return { hit, weight: 0 };
    for (let frame = 1; frame < hit.length; frame++) {
      hit[frame] = expression.test(this.names[frame]) || expression.test(this.modules[frame]) ? 1 : 0;
    }
    let weight = 0;
    const covered = new Uint8Array(this.nodes);
    for (let node = 1; node < this.nodes; node++) {
      covered[node] = covered[this.parent[node]] || hit[this.frame[node]];
      if (covered[node]) weight += this.own[node];
    }
    return { hit, weight };
  }
}
