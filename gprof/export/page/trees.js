// ---- trees: what a flame graph draws, opened only where it is wide enough to be seen ------------

const heaviestFirst = (a, b) => b.total - a.total || a.frame - b.frame;

// From the outermost function to what ran.
class TopDown {
  constructor(model, node = 0, above = null) {
    this.model = model;
    this.node = node;
    this.above = above;
    this.frame = model.frame[node];
    this.total = model.total[node];
    this.own = model.own[node];
  }

  callees() {
    if (!this.opened) {
      const { firstChild, child, total } = this.model;
      this.opened = [];
      for (let i = firstChild[this.node]; i < firstChild[this.node + 1]; i++) {
        if (total[child[i]]) this.opened.push(new TopDown(this.model, child[i], this));
      }
      this.opened.sort(heaviestFirst);
    }
    return this.opened;
  }
}

// From what ran to the outermost function. A node is a set of places in the tree of calls, each
// with the weight that ended below it.
class Inverted {
  constructor(model, frame, above) {
    this.model = model;
    this.frame = frame;
    this.above = above;
    this.total = 0;
    this.own = 0;
    this.places = [];
    this.weights = [];
  }

  static root(model) {
    const root = new Inverted(model, 0, null);
    for (let node = 1; node < model.nodes; node++) if (model.own[node]) root.add(node, model.own[node]);
    root.total += model.own[0];
    return root;
  }

  add(place, weight) {
    this.places.push(place);
    this.weights.push(weight);
    this.total += weight;
  }

  callees() {
    if (!this.opened) {
      const { parent, frame } = this.model;
      const byFrame = new Map();
      for (let i = 0; i < this.places.length; i++) {
        // The root's places are where samples ended; any other node's callers stand one above.
        const place = this.above ? parent[this.places[i]] : this.places[i];
        if (place === 0) {
          this.own += this.weights[i];
          continue;
        }
        let next = byFrame.get(frame[place]);
        if (!next) byFrame.set(frame[place], (next = new Inverted(this.model, frame[place], this)));
        next.add(place, this.weights[i]);
      }
      this.opened = Array.from(byFrame.values()).sort(heaviestFirst);
    }
    return this.opened;
  }
}

// The frames from the root to a node, and the node at the end of such a path as far as it goes.
function pathOf(node) {
  const path = [];
  for (; node.above; node = node.above) path.push(node.frame);
  return path.reverse();
}

function at(root, path) {
  let node = root;
  for (const frame of path) {
    const next = node.callees().find((callee) => callee.frame === frame);
    if (!next) break;
    node = next;
  }
  return node;
}
