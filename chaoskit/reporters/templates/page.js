// Looks closer at what the page already shows: zoom, cursor and evidence. It draws nothing that is not in the page.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  // Theme: what the system asks for, until the reader says otherwise.
  const theme = document.getElementById("theme");
  if (theme) theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  for (const button of all("[data-copy]")) button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  });
  addEventListener("beforeprint", () => { for (const one of all("details")) one.open = true; });

  const plots = document.getElementById("plots");
  if (!plots) return;
  const whole = { from: +plots.dataset.start, to: +plots.dataset.end };
  const view = { ...whole };
  const strip = plots.querySelector(".strip");
  const range = document.getElementById("range");
  let at = null, of = "", evidence = [];

  const clock = (s) => {
    if (whole.to <= 120) return `${+s.toFixed(s % 1 ? (view.to - view.from < 5 ? 2 : 1) : 0)} s`;
    const r = Math.round(s), h = Math.floor(r / 3600), m = Math.floor(r / 60) % 60, two = (n) => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(r % 60)}` : `${m}:${two(r % 60)}`;
  };
  const valueText = (v, unit) => {
    if (unit === "ms") return v >= 1000 ? `${+(v / 1000).toPrecision(3)} s` : v >= 1 ? `${+v.toPrecision(3)} ms` : v ? `${+(v * 1000).toPrecision(3)} µs` : "0";
    if (!v) return "0";
    return `${Math.abs(v) >= 100 ? Math.round(v) : +v.toPrecision(3)}${unit === "n" ? "" : unit}`;
  };
  const ticks = (from, to, wanted) => {
    const rough = (to - from) / wanted, size = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((f) => f * size).find((s) => s >= rough * (1 - 1e-9)), out = [];
    for (let i = Math.ceil(from / step - 1e-9); i <= Math.floor(to / step + 1e-9); i++) out.push(+(i * step).toPrecision(10));
    return out;
  };
  const timeTicks = (from, to, wanted) => {
    if (to - from <= 120) return ticks(from, to, wanted);
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400], out = [];
    const step = steps.find((s) => s >= (to - from) / wanted) || 86400;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) out.push(t);
    return out;
  };
  const niceTop = (v) => {
    if (!(v > 0)) return 1;
    const wanted = v * 1.08, size = 10 ** Math.floor(Math.log10(wanted));
    return [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((f) => f * size).find((s) => s >= wanted * (1 - 1e-9));
  };

  // Paths back into points; y is the negated value. A NaN ends a piece.
  const points = (d) => {
    const xs = [], ys = [];
    let x = 0, y = 0;
    for (const [, c, a, b] of d.matchAll(/([MLHVZh])(-?[\d.]+)?(?: (-?[\d.]+))?/g)) {
      if (c === "M" && xs.length) { xs.push(x); ys.push(NaN); }
      if (c === "M" || c === "L") { x = +a; y = -b; } else if (c === "H") { x = +a; continue; } else if (c === "V") y = -a; else continue;
      xs.push(x); ys.push(y);
    }
    xs.push(x); ys.push(NaN);
    return { xs, ys };
  };
  const charts = all(".chart", plots).map((box) => ({
    box, unit: box.dataset.unit, shape: box.dataset.shape, top: +box.dataset.top, plot: box.querySelector(".plot"),
    svg: box.querySelector("svg.data"), grid: box.querySelector("path.grid"), y: box.querySelector(".y"), x: box.querySelector(".x i"),
    lines: all("path.series", box).map((path) => ({ path, of: path.dataset.of, label: path.dataset.label, data: null })),
    outs: new Map(all(".legend [data-label]", box).map((one) => [one.dataset.label, one.querySelector("output")])),
  }));
  const shown = (chart) => {
    const mine = chart.lines.filter((line) => line.of === of);
    return mine.length ? mine : chart.lines.filter((line) => line.of === "");
  };
  const data = (line) => (line.data ||= points(line.path.getAttribute("d") || ""));
  const valueAt = (line, shape, t) => {
    const { xs, ys } = data(line);
    let low = 0, high = xs.length - 1;
    while (low < high) { const mid = (low + high + 1) >> 1; if (xs[mid] <= t) low = mid; else high = mid - 1; }
    if (xs[low] > t && shape !== "line") return NaN;
    if (shape !== "line") { while (low > 0 && xs[low - 1] === xs[low] && Number.isNaN(ys[low])) low--; return ys[low]; }
    let best = NaN, near = (view.to - view.from) / 25;
    for (let i = Math.max(0, low - 2); i <= Math.min(xs.length - 1, low + 2); i++)
      if (!Number.isNaN(ys[i]) && Math.abs(xs[i] - t) < near) { near = Math.abs(xs[i] - t); best = ys[i]; }
    return best;
  };

  const percent = (t) => ((t - view.from) / (view.to - view.from)) * 100;
  const draw = () => {
    const width = view.to - view.from, narrow = innerWidth < 760;
    const marks = timeTicks(view.from, view.to, narrow ? 4 : 8);
    for (const svg of all("svg[data-time]", plots)) {
      const [, y, , h] = svg.getAttribute("viewBox").split(" ");
      svg.setAttribute("viewBox", `${view.from} ${y} ${width} ${h}`);
    }
    for (const chart of charts) {
      let top = 0;
      for (const line of shown(chart)) {
        const { xs, ys } = data(line);
        for (let i = 0; i < xs.length; i++) {
          const end = chart.shape === "line" ? xs[i] : xs[i + 1] ?? xs[i];
          if (ys[i] > top && end >= view.from && xs[i] <= view.to) top = ys[i];
        }
      }
      top = niceTop(top);
      chart.svg.setAttribute("viewBox", `${view.from} ${-top} ${width} ${top}`);
      const levels = ticks(0, top, chart.plot.clientHeight > 130 ? 4 : 2);
      chart.grid.setAttribute("d", levels.map((v) => `M${whole.from} ${-v}H${whole.to}`).join(""));
      chart.y.replaceChildren(...levels.map((v) => label(valueText(v, chart.unit), { bottom: `${(v / top) * 100}%` })));
      chart.x.replaceChildren(...marks.map((t) => label(clock(t), { left: `${percent(t)}%` })));
    }
    for (const one of all("[data-a]", plots)) {
      const a = +one.dataset.a, b = +one.dataset.b;
      const from = Math.max(a, view.from), to = Math.min(b, view.to);
      one.style.left = `${percent(from)}%`;
      if (b > a) one.style.width = `${Math.max(0, percent(to) - percent(from))}%`;
      one.classList.toggle("off", to < view.from || from > view.to || (b > a && to <= from));
    }
    for (const back of all("svg.back", plots)) {
      for (const old of all(".evidence", back)) old.remove();
      for (const [a, b] of evidence) {
        const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        for (const [k, v] of Object.entries({ class: "evidence", x: a, y: 0, width: Math.max(b - a, width / 300), height: 1 })) rect.setAttribute(k, v);
        back.append(rect);
      }
    }
    const zoomed = view.from > whole.from || view.to < whole.to;
    range.textContent = zoomed ? `${clock(view.from)} to ${clock(view.to)} of ${clock(whole.to)}` : "whole run";
    for (const button of all("[data-zoom]", plots)) {
      const [a, b] = button.dataset.zoom.split(" ").map(Number);
      button.setAttribute("aria-pressed", String(Math.abs(a - view.from) < 0.01 && Math.abs(b - view.to) < 0.01));
    }
    cursor(at);
  };
  const label = (text, style) => { const span = document.createElement("span"); span.textContent = text; Object.assign(span.style, style); return span; };

  const cursor = (t) => {
    at = t === null ? null : Math.min(Math.max(t, view.from), view.to);
    for (const one of all(".cursor", plots)) { one.style.display = at === null ? "none" : "block"; if (at !== null) one.style.left = `${percent(at)}%`; }
    for (const chart of charts) {
      let below = 0;
      for (const line of shown(chart)) {
        const out = chart.outs.get(line.label);
        if (!out) continue;
        let value = at === null ? NaN : valueAt(line, chart.shape, at);
        if (chart.shape === "stack" && !Number.isNaN(value)) { const above = value; value = Math.max(0, value - below); below = above; }
        const over = at !== null && line.path.dataset.over && overAt(line, at);
        out.textContent = at === null ? "" : over ? "no success" : Number.isNaN(value) ? "–" : valueText(value, chart.unit);
      }
    }
    if (at !== null) {
      const phase = all(".phase", strip).find((one) => +one.dataset.a <= at && at < +one.dataset.b);
      strip.setAttribute("aria-valuenow", at.toFixed(1));
      const said = charts.length ? Array.from(charts[0].outs, ([name, out]) => `${name} ${out.textContent}`).join(", ") : "";
      strip.setAttribute("aria-valuetext", `${clock(at)}${phase ? `, ${phase.textContent.trim()}` : ""}; ${said}`);
      range.textContent = `at ${clock(at)}`;
    }
  };
  const overAt = (line, t) => {
    line.over ||= Array.from(line.path.dataset.over.matchAll(/M(-?[\d.]+) 0H(-?[\d.]+)/g), ([, a, b]) => [+a, +b]);
    return line.over.some(([a, b]) => a <= t && t < b);
  };

  const zoom = (from, to) => {
    const least = Math.min(0.5, whole.to - whole.from);
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    view.from = Math.max(whole.from, from);
    view.to = Math.min(whole.to, Math.max(to, view.from + least));
    draw();
  };
  const reset = () => { evidence = []; for (const lane of all(".lit", plots)) lane.classList.remove("lit"); zoom(whole.from, whole.to); };

  // Pointer: hover or a tap moves the cursor, a drag chooses what to look at, a double click shows all again. A finger
  // that moves up or down scrolls the page: the browser takes it over and cancels the drag (touch-action in the sheet).
  for (const area of all(".plot, .track, .strip", plots)) {
    const time = (event) => { const box = area.getBoundingClientRect(); return view.from + ((event.clientX - box.left) / box.width) * (view.to - view.from); };
    let start = null;
    const drag = document.createElement("div");
    drag.className = "drag";
    area.append(drag);
    area.addEventListener("pointermove", (event) => {
      cursor(time(event));
      if (start === null) return;
      const [a, b] = [start, time(event)].sort((p, q) => p - q);
      Object.assign(drag.style, { display: "block", left: `${percent(Math.max(a, view.from))}%`, width: `${percent(Math.min(b, view.to)) - percent(Math.max(a, view.from))}%` });
    });
    area.addEventListener("pointerdown", (event) => { if (event.button === 0) { start = time(event); area.setPointerCapture(event.pointerId); } cursor(time(event)); });
    area.addEventListener("pointerup", (event) => {
      if (start !== null && Math.abs(time(event) - start) > (view.to - view.from) / 80) zoom(...[start, time(event)].sort((p, q) => p - q));
      start = null; drag.style.display = "none";
    });
    area.addEventListener("pointercancel", () => { start = null; drag.style.display = "none"; });
    area.addEventListener("pointerleave", (event) => { if (start === null && event.pointerType === "mouse" && document.activeElement !== strip) { cursor(null); range.textContent = ""; draw(); } });
    area.addEventListener("dblclick", reset);
  }
  // Keys, on the strip: arrows move the cursor, + and − look closer or wider, Home, End, Escape.
  strip.addEventListener("keydown", (event) => {
    const width = view.to - view.from, here = at ?? (view.from + view.to) / 2, step = event.shiftKey ? width / 10 : width / 100;
    const act = {
      ArrowLeft: () => cursor(here - step), ArrowRight: () => cursor(here + step), ArrowDown: () => cursor(here - step), ArrowUp: () => cursor(here + step),
      PageDown: () => cursor(here - width / 10), PageUp: () => cursor(here + width / 10), Home: () => cursor(view.from), End: () => cursor(view.to),
      "+": () => zoom(here - width / 4, here + width / 4), "=": () => zoom(here - width / 4, here + width / 4), "-": () => zoom(here - width, here + width), Escape: reset,
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  for (const button of all("[data-zoom]", plots)) button.addEventListener("click", () => { evidence = []; zoom(...button.dataset.zoom.split(" ").map(Number)); });

  const choose = document.getElementById("request");
  const limit = (name) => {
    of = name;
    if (choose) choose.value = name;
    for (const chart of charts) { const mine = new Set(shown(chart).map((line) => line.path)); for (const line of chart.lines) { line.path.classList.toggle("off", !mine.has(line.path)); } }
    for (const mark of all(".over[data-of]", plots)) mark.classList.toggle("off", mark.dataset.of !== name);
    for (const one of all(".dist[data-of]")) one.classList.toggle("off", one.dataset.of !== name);
    for (const other of all("select.request")) other.value = name;
    draw();
  };
  for (const select of all("select.request")) select.addEventListener("change", () => limit(select.value));

  // Evidence: the charts show the seconds in question, with some air around them.
  for (const button of all("[data-evidence]")) button.addEventListener("click", () => {
    evidence = button.dataset.evidence.split(";").map((span) => span.split(" ").map(Number));
    const from = Math.min(...evidence.map(([a]) => a)), to = Math.max(...evidence.map(([, b]) => b)), air = Math.max((to - from) * 0.35, 1);
    const names = choose ? Array.from(choose.options, (option) => option.value) : [];
    if (names.includes(button.dataset.lane)) limit(button.dataset.lane); else if (of) limit("");
    for (const lane of all(".lane", plots)) lane.classList.toggle("lit", !!button.dataset.lane && lane.dataset.name.includes(button.dataset.lane));
    zoom(from - air, to + air);
    document.getElementById("timeline").scrollIntoView();
    strip.focus({ preventScroll: true });
  });
  addEventListener("resize", draw);
  draw();
})();
