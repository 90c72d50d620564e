// The benchmark explorer: every network of a benchmark as accuracy against cost, on one canvas.
// Plain JavaScript; the arithmetic is in bench_table.js.
(function () {
  "use strict";

  const { widths, rowOf, unpack, parseReleased, select, sorted, front, ticks } = window.BenchTable;
  const KEY = { mobilenet: "MobileNet", resnet: "ResNet" };

  const FRONT = "#0072B2", MARK = "#D55E00"; // Okabe and Ito; shapes differ as well
  const COSTS = { macs: "MACs", params: "parameters" };
  let made = 0;

  function element(name, attributes, parent, text) {
    const node = document.createElement(name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  }

  function short(value) { // 122.9 M, 10.4 k
    const [size, unit] = value >= 1e6 ? [1e6, " M"] : value >= 1e3 ? [1e3, " k"] : [1, ""];
    const shown = value / size;
    return (shown >= 100 || size === 1 ? shown.toFixed(size === 1 ? 0 : 1) : shown.toPrecision(3)) + unit;
  }

  function mount(root) {
    if (root.dataset.mounted) return;
    root.dataset.mounted = "yes";
    const channels = JSON.parse(root.dataset.channels); // [L][K]
    const inside = root.querySelector("script");
    root.textContent = "";
    const place = { root, channels, L: channels.length, K: channels[0].length, bench: root.dataset.bench };
    const source = element("div", { class: "bx-source" }, root);
    const body = element("div", {}, root);

    function show(packed, from) {
      source.textContent = "";
      element("p", {}, source, from);
      explore(body, place, unpack(packed, place.L, place.K));
    }
    if (inside) show(JSON.parse(inside.textContent), root.dataset.from);
    else if (root.dataset.src) {
      const script = element("script", { src: root.dataset.src }, document.head);
      script.onload = () => show(window.BENCH_DATA[place.bench], root.dataset.from);
      script.onerror = () => ask(source, place, show);
    } else ask(source, place, show);
  }

  // Where the data is not in the page: the reader fetches the authors' file, or opens it.
  function ask(source, { root, L, K, bench }, show) {
    const { file, url } = root.dataset, name = KEY[bench];
    const full = JSON.parse(root.dataset.full);
    element("p", {}, source, "The accuracies are the authors' own and come without a licence to hand " +
      "them on, so they are not part of this page. Your browser can take them from their place:");
    const line = element("div", { class: "bx-ask" }, source);
    const button = element("button", { type: "button" }, line, `Fetch ${file} from GitHub (2.8 MB)`);
    const label = element("label", {}, line, `or open your own ${file} `);
    const chooser = element("input", { type: "file", accept: ".json,application/json" }, label);
    const says = element("p", { class: "bx-says", role: "status" }, source);

    function take(text, from) {
      try { show(parseReleased(text, name, L, K, full), from); }
      catch (error) { says.textContent = error.message; }
    }
    button.addEventListener("click", () => {
      says.textContent = "Fetching …";
      fetch(url).then((answer) => {
        if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
        return answer.text();
      }).then((text) => take(text, `Data: ${file}, fetched by your browser from ${url}.`))
        .catch((error) => {
          says.textContent = `Fetching failed (${error.message}). Without a network, open the file instead.`;
        });
    });
    chooser.addEventListener("change", () => {
      const chosen = chooser.files[0];
      if (!chosen) return;
      says.textContent = "Reading …";
      chosen.text().then((text) => take(text, `Data: your own file ${chosen.name}.`))
        .catch(() => { says.textContent = `${chosen.name} cannot be read.`; });
    });
  }

  function explore(body, { root, channels, L, K, bench }, data) {
    const id = "bench-explorer-" + ++made;
    const state = { cost: "macs", zoom: false, row: null, on: channels.map((w) => w.map(() => true)) };
    const orders = {};
    const all = data.n.toLocaleString("en");

    const controls = element("div", { class: "bx-controls" }, body);
    const choice = element("label", {}, controls, "cost ");
    const cost = element("select", {}, choice);
    for (const key in COSTS) element("option", { value: key }, cost, COSTS[key]);
    const zoomed = element("label", { class: "bx-check" }, controls);
    const zoom = element("input", { type: "checkbox" }, zoomed);
    zoomed.append(" zoom to what is shown");
    const findLabel = element("label", {}, controls, "find widths ");
    const find = element("input", { type: "text", inputmode: "numeric", maxlength: L, size: L + 1,
      placeholder: "4".repeat(L), "aria-describedby": id + "-detail" }, findLabel);
    const reset = element("button", { type: "button" }, controls, "all widths");

    const grid = element("div", { class: "bx-groups" }, body);
    const buttons = channels.map((counts, g) => {
      const box = element("div", { class: "bx-group", role: "group", "aria-label": `widths of group c${g + 1}` }, grid);
      const head = element("span", { "aria-hidden": "true" }, box);
      element("i", {}, head, "c");
      element("sub", {}, head, g + 1);
      return counts.map((count, k) => {
        const button = element("button", { type: "button", title: `${count} channels`,
          "aria-label": `group c${g + 1}, width ${k + 1}, ${count} channels` }, box, k + 1);
        button.addEventListener("click", () => { state.on[g][k] = !state.on[g][k]; filter(); });
        return button;
      });
    });

    const canvas = element("canvas", { tabindex: 0, role: "img", "aria-labelledby": id + "-sum",
      "aria-describedby": id + "-keys" }, body);
    const legend = element("p", { class: "bx-legend" }, body);
    for (const [mark, text] of [["dot", "a network"], ["front", "Pareto front of what is shown"],
      ["even", "all widths equal"], ["mark", "selected"]]) {
      const item = element("span", {}, legend);
      element("b", { class: "bx-" + mark, "aria-hidden": "true" }, item);
      item.append(" " + text);
    }
    const summary = element("p", { class: "bx-summary", id: id + "-sum", "aria-live": "polite" }, body);
    const detail = element("p", { class: "bx-detail", id: id + "-detail", "aria-live": "polite" }, body);
    element("p", { class: "bx-keys", id: id + "-keys" }, body, "Point at a network or tap it. With the " +
      "picture focused, ← and → walk along the Pareto front, Home and End go to its ends.");
    const more = element("details", {}, body);
    element("summary", {}, more, "The Pareto front as a table");
    const table = element("div", { class: "bx-table", tabindex: 0 }, more);

    const even = Array.from({ length: K }, (_, k) => rowOf(new Array(L).fill(k + 1), K));
    let shown, rows, view;

    function filter() {
      shown = select(state.on, L, K);
      const x = data[state.cost];
      orders[state.cost] = orders[state.cost] || sorted(x, data.mean);
      rows = front(x, data.mean, shown, orders[state.cost]);
      buttons.forEach((line, g) => line.forEach((b, k) => b.setAttribute("aria-pressed", state.on[g][k])));
      const count = shown.reduce((a, b) => a + b, 0);
      const closed = state.on.findIndex((line) => !line.includes(true));
      summary.textContent = count
        ? `${count.toLocaleString("en")} of ${all} networks shown, ${rows.length} on the Pareto front.`
        : `No network: every width of group c${closed + 1} is switched off.`;
      if (more.open) fill();
      draw();
      tell();
    }

    function limits(values, every) {
      let low = Infinity, high = -Infinity;
      for (let i = 0; i < data.n; i++) if (every || shown[i]) {
        low = Math.min(low, values[i]); high = Math.max(high, values[i]);
      }
      const pad = 0.03 * (high - low) || 1;
      return [low - pad, high + pad];
    }

    function draw() {
      const W = Math.max(240, Math.floor(root.clientWidth - 24)), H = Math.round(Math.min(460, Math.max(280, 0.62 * W)));
      const ratio = window.devicePixelRatio || 1;
      canvas.width = W * ratio; canvas.height = H * ratio;
      canvas.style.width = W + "px"; canvas.style.height = H + "px";
      const pen = canvas.getContext("2d");
      const css = getComputedStyle(root);
      const ink = css.getPropertyValue("--bx-ink").trim() || "#1f2328";
      const line = css.getPropertyValue("--bx-line").trim() || "#c4c9ce";
      const page = css.getPropertyValue("--bx-page").trim() || "#fff";
      pen.scale(ratio, ratio);
      pen.font = "12px system-ui, sans-serif";
      const x = data[state.cost], y = data.mean;
      const whole = !state.zoom || !rows.length;
      const [x0, x1] = limits(x, whole), [y0, y1] = limits(y, whole);
      const left = 46, right = W - 8, top = 22, floor = H - 40;
      const px = (v) => left + (v - x0) / (x1 - x0) * (right - left);
      const py = (v) => floor - (v - y0) / (y1 - y0) * (floor - top);
      view = { px, py };

      const unit = x1 >= 1e6 ? 1e6 : x1 >= 1e3 ? 1e3 : 1;
      const across = ticks(x0 / unit, x1 / unit, (right - left) / 70), up = ticks(y0, y1, (floor - top) / 45);
      pen.strokeStyle = line; pen.fillStyle = ink; pen.lineWidth = 1;
      pen.textAlign = "center";
      for (const v of across.found) {
        rule(pen, px(v * unit), top, px(v * unit), floor);
        pen.fillText(String(Number(v.toPrecision(6))), px(v * unit), floor + 16);
      }
      pen.textAlign = "right";
      for (const v of up.found) {
        rule(pen, left, py(v), right, py(v));
        pen.fillText(v.toFixed(up.step < 0.1 ? 2 : up.step < 1 || up.step % 1 ? 1 : 0), left - 6, py(v) + 4);
      }
      pen.textAlign = "left";
      pen.fillText("accuracy, mean of the runs (%)", 2, 12);
      pen.textAlign = "right";
      pen.fillText(COSTS[state.cost] + (unit === 1e6 ? " (millions)" : unit === 1e3 ? " (thousands)" : ""), right, H - 6);

      pen.save();
      pen.beginPath(); pen.rect(left, top, right - left, floor - top); pen.clip();
      const size = data.n > 4000 ? 2 : 4;
      for (const pass of [0, 1]) { // switched off first, below
        pen.fillStyle = pass ? ink : line;
        pen.globalAlpha = !pass ? 0.5 : data.n > 4000 ? Math.min(0.45, W / 1600) : 0.55;
        for (let i = 0; i < data.n; i++)
          if (shown[i] === pass) pen.fillRect(px(x[i]) - size / 2, py(y[i]) - size / 2, size, size);
      }
      pen.globalAlpha = 1;
      pen.strokeStyle = pen.fillStyle = FRONT; pen.lineWidth = 1.5;
      pen.beginPath();
      rows.forEach((i, k) => { // a budget buys the last front network below it
        if (k) pen.lineTo(px(x[i]), py(y[rows[k - 1]]));
        pen[k ? "lineTo" : "moveTo"](px(x[i]), py(y[i]));
      });
      pen.stroke();
      for (const i of rows) disc(pen, px(x[i]), py(y[i]), 3.5, true);
      pen.lineWidth = 2; pen.strokeStyle = ink; pen.fillStyle = page;
      for (const i of even) if (shown[i]) {
        pen.fillRect(px(x[i]) - 7.5, py(y[i]) - 7.5, 15, 15); // stands out of the cloud
        pen.strokeRect(px(x[i]) - 4.5, py(y[i]) - 4.5, 9, 9);
      }
      if (state.row !== null) {
        pen.strokeStyle = MARK; pen.lineWidth = 3;
        disc(pen, px(x[state.row]), py(y[state.row]), 8, false);
      }
      pen.restore();
    }

    function rule(pen, x0, y0, x1, y1) {
      pen.globalAlpha = 0.6;
      pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke();
      pen.globalAlpha = 1;
    }

    function disc(pen, x, y, r, full) {
      pen.beginPath(); pen.arc(x, y, r, 0, 2 * Math.PI);
      if (full) pen.fill(); else pen.stroke();
    }

    function facts(i) {
      const c = widths(i, L, K);
      const runs = Array.from(data.acc.subarray(i * data.runs, (i + 1) * data.runs), (a) => a.toFixed(2));
      return { c, runs, mean: data.mean[i].toFixed(2), macs: short(data.macs[i]), params: short(data.params[i]),
        counts: c.map((width, g) => channels[g][width - 1]) };
    }

    function tell() {
      if (state.row === null) { detail.textContent = "No network is selected."; return; }
      const i = state.row, f = facts(i), x = data[state.cost], y = data.mean;
      let better = 0;
      for (let j = 0; j < data.n; j++)
        if (shown[j] && x[j] <= x[i] && y[j] >= y[i] && (x[j] < x[i] || y[j] > y[i])) better++;
      detail.textContent = `Widths (${f.c.join(", ")}), that is ${f.counts.join(", ")} channels: accuracy ` +
        `${f.mean} %, the mean of runs with ${f.runs.join(", ")}; ${f.macs} MACs, ${f.params} parameters. ` +
        (!shown[i] ? "It is switched off." : rows.includes(i) ? "It is on the Pareto front."
          : better === 0 ? "None of those shown is better; one on the Pareto front is its equal."
          : `${better.toLocaleString("en")} of those shown cost no more and are no less accurate.`);
    }

    function fill() {
      table.textContent = "";
      const grid = element("table", {}, table);
      const head = element("tr", {}, element("thead", {}, grid));
      for (const name of ["widths", "accuracy, %", "MACs", "parameters"]) element("th", { scope: "col" }, head, name);
      const lines = element("tbody", {}, grid);
      for (const i of rows) {
        const f = facts(i), line = element("tr", {}, lines);
        for (const cell of [f.c.join(" "), f.mean, f.macs, f.params]) element("td", {}, line, cell);
      }
    }

    function pick(row) {
      if (row === state.row) return;
      state.row = row;
      draw();
      tell();
    }

    function point(event) {
      const box = canvas.getBoundingClientRect();
      const X = event.clientX - box.left, Y = event.clientY - box.top, x = data[state.cost];
      let best = null, least = 24 * 24;
      for (let i = 0; i < data.n; i++) if (shown[i]) {
        const dx = view.px(x[i]) - X, dy = view.py(data.mean[i]) - Y, d = dx * dx + dy * dy;
        if (d < least) { least = d; best = i; }
      }
      if (best !== null) pick(best);
    }

    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("keydown", (event) => {
      if (!rows.length || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
      event.preventDefault();
      const x = data[state.cost], here = rows.indexOf(state.row), last = rows.length - 1;
      let to;
      if (event.key === "Home") to = 0;
      else if (event.key === "End") to = last;
      else if (here >= 0) to = here + (event.key === "ArrowRight" ? 1 : -1);
      else { // beside the front: go to the nearest in cost
        to = rows.findIndex((i) => state.row === null || x[i] >= x[state.row]);
        if (to < 0) to = last;
      }
      pick(rows[Math.min(last, Math.max(0, to))]);
    });
    cost.addEventListener("change", () => { state.cost = cost.value; filter(); });
    zoom.addEventListener("change", () => { state.zoom = zoom.checked; draw(); });
    find.addEventListener("input", () => {
      const c = Array.from(find.value.replace(/[^0-9]/g, ""), Number);
      if (c.length === L && c.every((k) => k >= 1 && k <= K)) pick(rowOf(c, K));
      else if (find.value) detail.textContent = `Type ${L} widths from 1 to ${K}, such as ${"1".repeat(L)}.`;
    });
    reset.addEventListener("click", () => { state.on.forEach((line) => line.fill(true)); filter(); });
    more.addEventListener("toggle", () => { if (more.open) fill(); });

    filter();
    let width = root.clientWidth;
    if (typeof ResizeObserver !== "undefined")
      new ResizeObserver(() => {
        if (root.clientWidth !== width) { width = root.clientWidth; draw(); }
      }).observe(root);
    if (typeof MutationObserver !== "undefined") // light or dark
      new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  function mountAll() {
    document.querySelectorAll(".bench-explorer").forEach(mount);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", mountAll);
  else mountAll();
})();
