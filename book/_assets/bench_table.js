// The arithmetic of the benchmark explorer: tables of networks, filters, Pareto fronts.
// tests/test_bench_explorer.py compares it with NumPy.
//
// Data comes packed, in the order of the library's table (widths counted up, the last fastest):
//   {runs, scale, acc: [n * runs integers], macs: [n], params: [n]}, accuracy = acc / scale percent.
(function () {
  "use strict";

  function widths(row, L, K) {
    const c = new Array(L);
    for (let g = L - 1; g >= 0; g--) { c[g] = 1 + (row % K); row = Math.floor(row / K); }
    return c;
  }

  function rowOf(c, K) {
    return c.reduce((row, width) => row * K + width - 1, 0);
  }

  // Packed data -> {n, runs, acc (per cent), mean, macs, params}.
  function unpack(packed, L, K) {
    const n = Math.pow(K, L), { runs, scale } = packed;
    if (packed.macs.length !== n || packed.params.length !== n || packed.acc.length !== n * runs)
      throw new Error(`the data holds ${packed.macs.length} networks instead of ${n}`);
    const acc = Float64Array.from(packed.acc, (a) => a / scale);
    const mean = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let r = 0; r < runs; r++) sum += acc[i * runs + r];
      mean[i] = sum / runs;
    }
    return { n, runs, acc, mean, macs: packed.macs, params: packed.params };
  }

  // The authors' file -> packed data. `full` are MACs and parameters of the widest network, which
  // tell the two spaces apart. Errors say what is wrong with the file.
  function parseReleased(text, name, L, K, full) {
    const n = Math.pow(K, L);
    const wrong = (why) => new Error(`This is no result file of the ${name} space: ${why}.`);
    let found;
    try { found = JSON.parse(text); } catch (error) { throw wrong("it is not whole JSON"); }
    const keys = found && typeof found === "object" && !Array.isArray(found) ? Object.keys(found) : [];
    if (keys.length !== n) throw wrong(`it has ${keys.length} entries instead of ${n}`);
    const packed = { runs: 3, scale: 100, acc: new Array(3 * n), macs: new Array(n), params: new Array(n) };
    const pattern = new RegExp(`^[1-${K}]{${L}}$`);
    for (const key of keys) {
      const { acc, flops, params } = found[key] || {};
      if (!pattern.test(key)) throw wrong(`"${key}" is not ${L} widths from 1 to ${K}`);
      const good = Array.isArray(acc) && acc.length === 3 && acc.every((a) => a >= 0 && a <= 100)
        && Number.isInteger(flops) && Number.isInteger(params);
      if (!good) throw wrong(`entry ${key} lacks three accuracies, flops or params`);
      const row = rowOf(Array.from(key, Number), K);
      acc.forEach((a, r) => { packed.acc[3 * row + r] = Math.round(100 * a); });
      packed.macs[row] = flops;
      packed.params[row] = params;
    }
    if (packed.macs[n - 1] !== full[0] || packed.params[n - 1] !== full[1])
      throw wrong(`its widest network has ${packed.macs[n - 1]} MACs instead of ${full[0]}; ` +
        "perhaps it is the file of the other space");
    return packed;
  }

  // Which rows have only widths that are switched on; on[g][k] for width k + 1 of group g.
  function select(on, L, K) {
    let shown = Uint8Array.of(1);
    for (let g = 0; g < L; g++) {
      const next = new Uint8Array(shown.length * K);
      for (let i = 0; i < shown.length; i++)
        for (let k = 0; k < K; k++) next[i * K + k] = shown[i] && on[g][k] ? 1 : 0;
      shown = next;
    }
    return shown;
  }

  // Rows that no other shown row beats: cheaper ones are all less accurate. From cheap to dear.
  function front(x, y, shown, order) {
    const rows = [];
    let best = -Infinity;
    for (const i of order || sorted(x, y)) {
      if (shown[i] && y[i] > best) { rows.push(i); best = y[i]; }
    }
    return rows;
  }

  function sorted(x, y) {
    return Array.from(x, (_, i) => i).sort((a, b) => x[a] - x[b] || y[b] - y[a] || a - b);
  }

  function ticks(low, high, room) {
    const rough = (high - low) / Math.max(2, room);
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = [1, 2, 2.5, 5, 10].map((s) => s * power).find((s) => s >= rough);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return { step, found };
  }

  const BenchTable = { widths, rowOf, unpack, parseReleased, select, sorted, front, ticks };
  if (typeof module !== "undefined" && module.exports) module.exports = BenchTable;
  else window.BenchTable = BenchTable;
})();
