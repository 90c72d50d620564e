// The cardinality explorer: which units each width uses, and how often each unit is used.
// Plain JavaScript and SVG. The arithmetic mirrors bcnet_lib/principles.py, and
// tests/test_explorer.py compares the two for every small layer.
(function () {
  "use strict";

  const PRINCIPLES = {
    UA: { label: "UA", color: "#D55E00" },
    BC: { label: "BC", color: "#0072B2" },
    BCv2: { label: "BCNetV2", color: "#009E73" },
    "BCv2-paper": { label: "BCNetV2 by Eq. 20", color: "#009E73" },
    Cyclic: { label: "Cyclic", color: "#CC79A7" },
  };

  function total(p, l, base) {
    if (p === "BCv2") return l + base;
    if (p === "BCv2-paper") return l + base - 1;
    return l;
  }

  // Half-open windows [start, stop), counted from 0; a Cyclic window that wraps has stop > total.
  function paths(p, c, l, base) {
    const t = total(p, l, base);
    if (p === "UA") return [[0, c]];
    if (p === "Cyclic") return Array.from({ length: l }, (_, s) => [s, s + c]);
    return [[0, c], [t - c, t]];
  }

  function uses(windows, t) {
    const count = new Array(t).fill(0);
    for (const [start, stop] of windows) for (let u = start; u < stop; u++) count[u % t]++;
    return count;
  }

  function cardinality(p, l, base) {
    const all = [];
    for (let c = base; c <= l; c++) all.push(...paths(p, c, l, base));
    return uses(all, total(p, l, base));
  }

  function complement(p, c, l, base) {
    const rest = total(p, l, base) - c;
    return rest >= base && rest <= l ? rest : null;
  }

  const core = { PRINCIPLES, total, paths, cardinality, complement };
  if (typeof module !== "undefined" && module.exports) module.exports = core;
  if (typeof document === "undefined") return;

  // ---------------------------------------------------------------- the page's part

  const SVG = "http://www.w3.org/2000/svg";
  const LARGEST = 20;
  let made = 0;

  function element(name, attributes, parent, text) {
    const node = name.startsWith("svg:")
      ? document.createElementNS(SVG, name.slice(4))
      : document.createElement(name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  }

  function mount(root) {
    if (root.dataset.mounted) return;
    root.dataset.mounted = "yes";
    root.textContent = "";
    const id = "explorer-" + ++made;
    const state = {
      p: PRINCIPLES[root.dataset.principle] ? root.dataset.principle : "UA",
      l: Math.min(LARGEST, Math.max(1, Number(root.dataset.l) || 12)),
      base: Math.max(1, Number(root.dataset.base) || 1),
    };
    state.base = Math.min(state.base, state.l);
    state.c = Math.min(state.l, Math.max(state.base, Number(root.dataset.c) || Math.ceil(state.l / 2)));

    const controls = element("div", { class: "cx-controls" }, root);
    const choice = element("label", { class: "cx-control" }, controls, "principle ");
    const select = element("select", { id: id + "-p" }, choice);
    for (const p in PRINCIPLES) element("option", { value: p }, select, PRINCIPLES[p].label);
    function slider(key, name, says) {
      const label = element("label", { class: "cx-control" }, controls);
      const line = element("span", {}, label);
      const symbol = element("i", {}, line, name[0]);
      if (name.length > 1) element("sub", {}, symbol, name.slice(1));
      const shown = element("output", {}, line);
      element("span", { class: "cx-says" }, line, says);
      const input = element("input", { type: "range", step: 1, min: 1, max: LARGEST }, label);
      input.setAttribute("aria-label", says);
      input.addEventListener("input", () => { state[key] = Number(input.value); draw(); });
      return { input, shown };
    }
    const sliders = {
      l: slider("l", "l", "largest width"),
      base: slider("base", "ls", "smallest width"),
      c: slider("c", "c", "width to follow"),
    };
    select.value = state.p;
    select.addEventListener("change", () => { state.p = select.value; draw(); });

    const picture = element("svg:svg", { role: "img", "aria-labelledby": id + "-sum" }, root);
    const summary = element("p", { class: "cx-summary", id: id + "-sum", "aria-live": "polite" }, root);
    const detail = element("p", { class: "cx-detail", "aria-live": "polite" }, root);

    function follow(c) {
      if (c !== state.c) { state.c = c; draw(); }
    }

    function draw() {
      state.base = Math.min(state.base, state.l);
      state.c = Math.min(state.l, Math.max(state.base, state.c));
      for (const key in sliders) {
        const { input, shown } = sliders[key];
        input.min = key === "c" ? state.base : 1;
        input.max = key === "l" ? LARGEST : state.l;
        input.value = state[key];
        shown.textContent = "\u00a0= " + state[key];
      }
      const { p, l, base, c: followed } = state;
      const t = total(p, l, base);
      const count = cardinality(p, l, base);
      const low = Math.min(...count), high = Math.max(...count);
      const own = paths(p, followed, l, base);
      const mine = uses(own, t);

      const W = Math.max(240, Math.floor(root.clientWidth - 24));
      const left = 52, cell = (W - left) / t, row = 18, bars = 110;
      const rows = l - base + 1;
      const H = rows * row + 8 + 18 + bars + 22;
      picture.textContent = "";
      picture.setAttribute("viewBox", `0 0 ${W} ${H}`);
      picture.setAttribute("width", W);
      picture.setAttribute("height", H);
      root.style.setProperty("--cx-color", PRINCIPLES[p].color);

      for (let c = base; c <= l; c++) {
        const y = (c - base) * row;
        const on = c === followed;
        const group = element("svg:g", { class: "cx-row" + (on ? " cx-on" : "") }, picture);
        element("svg:rect", { class: "cx-band", x: 0, y, width: W, height: row }, group);
        element("svg:text", { class: "cx-label", x: left - 6, y: y + 13 }, group, "c = " + c);
        const windows = paths(p, c, l, base);
        const per = windows.map((w) => uses([w], t));
        for (let u = 0; u < t; u++) {
          const x = left + u * cell;
          const box = { x: x + 0.75, width: Math.max(1, cell - 1.5) };
          element("svg:rect", { ...box, class: "cx-empty", y: y + 2, height: row - 4 }, group);
          if (windows.length > 2) { // Cyclic: the share of its windows that use the unit
            element("svg:rect", { ...box, class: "cx-used", y: y + 2, height: row - 4,
              "fill-opacity": (c / l).toFixed(3) }, group);
          } else { // left path above, right path below
            const high_ = (row - 4) / windows.length;
            per.forEach((used, side) => {
              if (used[u]) element("svg:rect", { ...box, class: "cx-used" + (side ? " cx-right" : ""),
                y: y + 2 + side * high_, height: high_ - (windows.length > 1 ? 0.5 : 0) }, group);
            });
          }
        }
        group.addEventListener("pointerenter", () => follow(c));
        group.addEventListener("pointerdown", () => follow(c));
      }

      const top = rows * row + 26, floor = top + bars;
      const scale = bars / high;
      element("svg:text", { class: "cx-label", x: left - 6, y: floor - 2 }, picture, "uses");
      element("svg:line", { class: "cx-axis", x1: left, x2: W, y1: floor, y2: floor }, picture);
      for (let u = 0; u < t; u++) {
        const x = left + u * cell + 0.75, width = Math.max(1, cell - 1.5);
        const h = count[u] * scale, part = mine[u] * scale;
        element("svg:rect", { class: "cx-used", x, y: floor - h, width, height: h }, picture);
        if (part) element("svg:rect", { class: "cx-part", x, y: floor - part, width, height: part }, picture);
        const middle = x + width / 2;
        if (cell >= 8 * String(high).length + 3)
          element("svg:text", { class: "cx-number", x: middle, y: floor - h - 4 }, picture, count[u]);
        if (cell >= 17 || u === 0 || (u + 1) % 5 === 0)
          element("svg:text", { class: "cx-number", x: middle, y: floor + 15 }, picture, u + 1);
      }

      summary.textContent = low === high
        ? `Every one of the ${t} units is used ${low} times.`
        : `${t} units, used ${low} to ${high} times: uneven.`;
      const rest = complement(p, followed, l, base);
      const span = ([start, stop]) => `${start + 1}–${stop}`;
      const where = own.length > 2
        ? `${l} windows, one from each start`
        : own.length === 2 ? `${span(own[0])} on the left (upper half of its row) and ${span(own[1])} on the right (lower half)` : span(own[0]);
      detail.textContent = `Width c = ${followed} uses units ${where}` +
        ", its share of the bars is shaded; " +
        (rest === null ? "it has no complement." : `its complement is ${rest}.`);
    }

    draw();
    let width = root.clientWidth; // redraw when the page gets wider or narrower, not when we grow
    if (typeof ResizeObserver !== "undefined")
      new ResizeObserver(() => {
        if (root.clientWidth !== width) { width = root.clientWidth; draw(); }
      }).observe(root);
  }

  function mountAll() {
    document.querySelectorAll(".cardinality-explorer").forEach(mount);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", mountAll);
  else mountAll();
})();
