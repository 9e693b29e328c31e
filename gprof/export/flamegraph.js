"use strict";
// Zoom, search and keyboard for the flame graph that this script is part of.
// Without it the picture is complete: every frame has its place and its <title>.
(function () {
  const svg = document.currentScript.ownerSVGElement;
  const part = (id) => svg.querySelector("#" + id);
  const details = part("details");
  const tools = part("tools");
  const MARGIN = 10;
  const CHARACTER = 7.25; // width of one at 12 px, as the static picture assumes
  const NARROWEST = 0.3;

  // left and right are weights; the drawn places follow from them and from what is zoomed.
  const frames = Array.from(svg.querySelectorAll(".frame"), (group) => ({
    group,
    rect: group.querySelector("rect"),
    text: group.querySelector("text"),
    title: group.querySelector("title").textContent,
    name: group.getAttribute("data-name"),
    left: Number(group.getAttribute("data-left")),
    // An empty profile has a root all the same.
    right: Number(group.getAttribute("data-left")) + (Number(group.getAttribute("data-weight")) || 1),
    depth: Number(group.getAttribute("data-depth")),
  }));
  const root = frames[0];
  const byGroup = new Map(frames.map((frame) => [frame.group, frame]));
  const down = part("frames").getAttribute("data-grows") === "down";
  let zoomed = root;
  let current = root;
  let searched = "";
  let width = svg.viewBox.baseVal.width;

  const share = (weight) => ((100 * weight) / (root.right - root.left)).toFixed(2) + " %";
  const holds = (outer, inner) =>
    outer.depth <= inner.depth && outer.left <= inner.left && inner.right <= outer.right;

  function draw() {
    const scale = (width - 2 * MARGIN) / (zoomed.right - zoomed.left);
    for (const frame of frames) {
      const below = frame !== zoomed && holds(frame, zoomed);
      const shown = below || holds(zoomed, frame);
      const left = below ? zoomed.left : frame.left;
      const size = (below ? zoomed.right - zoomed.left : frame.right - frame.left) * scale;
      const visible = shown && size >= NARROWEST;
      frame.group.classList.toggle("hidden", !visible);
      frame.group.classList.toggle("below", below);
      if (!visible) continue;
      const x = MARGIN + (left - zoomed.left) * scale;
      frame.rect.setAttribute("x", x.toFixed(2));
      frame.rect.setAttribute("width", size.toFixed(2));
      frame.text.setAttribute("x", (x + 4).toFixed(2));
      const room = Math.floor((size - 7) / CHARACTER);
      const letters = Array.from(frame.name);
      frame.text.textContent =
        room < 3 ? "" : letters.length <= room ? frame.name : letters.slice(0, room - 1).join("") + "…";
    }
    part("reset").classList.toggle("hidden", zoomed === root);
  }

  function zoom(frame) {
    zoomed = frame;
    draw();
    select(frame);
    remember();
  }

  // The address of the page leads back here: the frame that is zoomed, and what is searched.
  function remember() {
    if (document.documentElement !== svg) return; // a part of somebody else's page
    const place = zoomed === root ? "" : "zoom=" + frames.indexOf(zoomed);
    const words = searched ? "search=" + encodeURIComponent(searched) : "";
    history.replaceState(null, "", "#" + [place, words].filter(Boolean).join("&"));
  }

  function recall() {
    if (document.documentElement !== svg) return;
    const asked = new URLSearchParams(location.hash.slice(1));
    zoomed = frames[Number(asked.get("zoom"))] || root;
    if (asked.get("search")) field().value = asked.get("search");
    search(asked.get("search") || "");
  }

  function select(frame) {
    current.group.setAttribute("tabindex", "-1");
    current = frame;
    frame.group.setAttribute("tabindex", "0");
    frame.group.focus({ preventScroll: true });
    frame.group.scrollIntoView({ block: "nearest" });
  }

  const describe = (frame) => (details.textContent = frame ? frame.title : "");

  // The neighbour of the current frame: its parent, its widest child, or one beside it.
  function neighbour(key) {
    const seen = frames.filter((frame) => !frame.group.classList.contains("hidden"));
    const on = (step) => seen.filter((frame) => frame.depth === current.depth + step);
    if (key === (down ? "ArrowUp" : "ArrowDown")) return on(-1).find((frame) => holds(frame, current));
    if (key === "ArrowUp" || key === "ArrowDown") {
      const widest = (a, b) => (b.right - b.left > a.right - a.left ? b : a);
      const children = on(1).filter((frame) => holds(current, frame));
      return children.length ? children.reduce(widest) : undefined;
    }
    const row = on(0).sort((a, b) => a.left - b.left);
    return row[row.indexOf(current) + (key === "ArrowRight" ? 1 : -1)];
  }

  // Search: frames whose name the expression finds, and the share of samples that have one.
  function search(text) {
    let expression = null;
    try {
      if (text) expression = new RegExp(text, "i");
    } catch (error) {
      part("matched").textContent = "not a regular expression";
      return;
    }
    let found = 0;
    let covered = -Infinity;
    // Frames come from left to right, outer ones first: what is covered is counted once.
    const order = frames.slice(1).sort((a, b) => a.left - b.left || a.depth - b.depth);
    for (const frame of order) {
      const hit = expression !== null && expression.test(frame.name);
      frame.group.classList.toggle("found", hit);
      if (hit && frame.right > covered) {
        found += frame.right - Math.max(frame.left, covered);
        covered = frame.right;
      }
    }
    part("matched").textContent = expression ? share(found) + " matched" : "";
    searched = text;
    remember();
  }

  // The field is made here: a viewer that runs no script needs none.
  function field() {
    const holder = part("field");
    let input = holder.querySelector("input");
    if (!input) {
      input = document.createElementNS("http://www.w3.org/1999/xhtml", "input");
      input.setAttribute("type", "search");
      input.setAttribute("aria-label", "search frames by regular expression");
      input.setAttribute("placeholder", "regular expression");
      input.setAttribute("style", "box-sizing:border-box;width:100%;height:100%;font:12px monospace");
      input.addEventListener("input", () => search(input.value));
      input.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.key === "Enter") select(current);
        if (event.key === "Escape") {
          input.value = "";
          search("");
          holder.classList.add("hidden");
          select(current);
        }
      });
      holder.appendChild(input);
    }
    holder.classList.remove("hidden");
    return input;
  }

  svg.addEventListener("click", (event) => {
    const group = event.target.closest(".frame");
    if (group) zoom(byGroup.get(group));
  });
  svg.addEventListener("mouseover", (event) => {
    describe(byGroup.get(event.target.closest(".frame")));
  });
  svg.addEventListener("focusin", (event) => {
    const group = event.target.closest(".frame");
    if (group) describe(byGroup.get(group));
  });
  svg.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const button = event.target.closest(".button");
    const enter = event.key === "Enter" || event.key === " ";
    if (event.key.startsWith("Arrow")) {
      const frame = neighbour(event.key);
      if (frame) select(frame);
    } else if (enter && button) button.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    else if (enter) zoom(current);
    else if (event.key === "Escape") zoom(root);
    else if (event.key === "/") field().focus();
    else return;
    event.preventDefault();
  });
  part("reset").addEventListener("click", () => zoom(root));
  part("search").addEventListener("click", () => field().focus());
  if (document.documentElement === svg) {
    // A picture of its own: keys work wherever the focus is.
    document.addEventListener("keydown", (event) => {
      if (!event.defaultPrevented && event.target === document.documentElement) select(current);
    });
  }

  // Text keeps its size: the drawing follows the width of the window instead of being scaled.
  const height = svg.viewBox.baseVal.height;
  function fit() {
    width = Math.max(320, svg.getBoundingClientRect().width);
    svg.setAttribute("viewBox", "0 0 " + width + " " + height);
    svg.setAttribute("height", height);
    tools.setAttribute("transform", "translate(" + (width - MARGIN) + " 0)");
    draw();
  }
  tools.classList.remove("hidden");
  root.group.setAttribute("tabindex", "0");
  window.addEventListener("resize", fit);
  recall();
  fit();
})();
