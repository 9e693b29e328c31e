// ---- page: what is chosen, and drawing it ---------------------------------------------------------

const data = JSON.parse(byId("data").textContent);
byId("data").remove(); // the text would stay in memory beside what was made of it
const model = new Model(data);
const state = { icicle: data.begin.icicle, inverted: data.begin.inverted, path: [], expression: null };

byId("title").textContent = data.title;
byId("subtitle").textContent = data.subtitle;
for (const note of data.notes) byId("notes").append(Object.assign(document.createElement("li"), { textContent: note }));

const flame = new Flame(byId("flame"), byId("details"), (node) => {
  state.path = pathOf(node);
  drawFlame();
});
const table = new FunctionTable((frame) => {
  byId("search").value = "^" + model.names[frame].replace(/[\\^$.*+?()[\]{}|]/g, "\\$&") + "$";
  search();
});
const timeline = new Timeline(model, (from, until) => {
  model.from = from;
  model.until = until;
  recount();
});
new Filters(model, recount);

let root;
let found = model.found(null);

// After a filter: count anew, stay zoomed as far as that is still there.
function recount() {
  model.count();
  root = undefined;
  found = model.found(state.expression);
  timeline.draw();
  drawLegend();
  drawFlame();
  drawTable();
}

function drawFlame() {
  root = root || (state.inverted ? Inverted.root(model) : new TopDown(model));
  const zoomed = at(root, state.path);
  flame.draw(model, root, zoomed, found.hit, state.icicle);
  byId("reset").disabled = zoomed === root;
}

function drawTable() {
  table.draw(model, found.hit, state.expression !== null);
  byId("matched").textContent = state.expression ? percent(found.weight, model.total[0]) + " matched" : "";
}

function drawLegend() {
  const items = [];
  model.byKind().forEach((weight, kind) => {
    if (!weight) return;
    const item = document.createElement("li");
    const square = document.createElement("span");
    square.style.background = data.kind_colours[kind];
    item.append(square, `${model.kinds[kind]} ${percent(weight, model.total[0])}`);
    items.push(item);
  });
  byId("legend").replaceChildren(...items);
}

function search() {
  const text = byId("search").value;
  try {
    state.expression = text ? new RegExp(text, "i") : null;
  } catch {
    byId("matched").textContent = "not a regular expression";
    return;
  }
  found = model.found(state.expression);
  drawFlame();
  drawTable();
}

function resetZoom() {
  state.path = [];
  drawFlame();
}

function toggle(name) {
  state[name] = !state[name];
  byId(name).setAttribute("aria-pressed", state[name]);
  if (name === "inverted") {
    root = undefined;
    state.path = [];
  }
  drawFlame();
}

const THEMES = ["system", "light", "dark"];
function changeTheme() {
  const element = document.documentElement;
  const next = THEMES[(THEMES.indexOf(element.dataset.theme || "system") + 1) % THEMES.length];
  if (next === "system") delete element.dataset.theme;
  else element.dataset.theme = next;
  byId("theme").firstChild.textContent = `Theme: ${next} `;
  timeline.draw();
}

const KEYS = {
  "/": () => byId("search").focus(),
  f: () => toggle("icicle"),
  i: () => toggle("inverted"),
  t: changeTheme,
  "?": () => byId("keys").showModal(),
  Escape: resetZoom,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || byId("keys").open) return;
  if (event.target === byId("search")) {
    if (event.key !== "Escape") return;
    byId("search").value = "";
    search();
    byId("search").blur();
  } else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});
byId("search").addEventListener("input", search);
byId("tools").addEventListener("submit", (event) => event.preventDefault());
byId("reset").addEventListener("click", resetZoom);
byId("icicle").addEventListener("click", () => toggle("icicle"));
byId("inverted").addEventListener("click", () => toggle("inverted"));
byId("theme").addEventListener("click", changeTheme);
byId("help").addEventListener("click", KEYS["?"]);
window.addEventListener("resize", () => {
  timeline.draw();
  drawFlame();
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.draw());

for (const name of ["icicle", "inverted"]) byId(name).setAttribute("aria-pressed", state[name]);
recount();
