// Plots of sensors against UTC, stacked on one time axis, and pictures of arrays. Plotly is loaded for the first.
import { debounce, get, Latest, paced } from "./api.js";
import { colour, count, duration, el, fileName, message, printable, shorten, shownName, time } from "./dom.js";

// Labels up to this number have a lane each; more are told apart by colour.
const MAX_LANES = 12;
// The shortest window, in seconds.
const SHORTEST = 1e-3;
// A store whose last sample is older shows the time up to that sample, not up to now.
const RECENT = 3600;
const SPANS = [["All", null], ["1 d", 86400], ["1 h", 3600], ["10 min", 600], ["1 min", 60]];
const PHASES = [[0, "#2b3a67"], [0.25, "#4aa3a2"], [0.5, "#f0e6c8"], [0.75, "#c9616a"], [1, "#2b3a67"]];
const BANDS = ["#4a86d8", "#d08a3c", "#4fa37a", "#b0699f", "#8a8f3c", "#5aa2b5", "#c4635c", "#7d78c9"];

let loading = null;

/** Load Plotly, once, of the version that the server has. */
function loadPlotly(version) {
  loading ??= new Promise((resolve, reject) => {
    const script = el("script", {
      src: `static/plotly.min.js?v=${version}`,
      onload: () => resolve(window.Plotly),
      onerror: () => {
        loading = null;
        script.remove();
        reject(new Error("Plotly could not be loaded from the server. Is it still running?"));
      },
    });
    document.head.append(script);
  });
  return loading;
}

/** Return limits of a scale for numbers that differ by rounding only, for which Plotly has no ticks, or else null. */
function flatScale(numbers) {
  const known = numbers.filter((one) => one !== null && one !== undefined);
  if (!known.length) return null;
  const low = known.reduce((a, b) => Math.min(a, b));
  const high = known.reduce((a, b) => Math.max(a, b));
  const size = Math.max(Math.abs(low), Math.abs(high));
  return high - low > 1e-12 * size ? null : [low - (0.15 * size || 1), high + (0.15 * size || 1)];
}

/** The limits of the colours of an image. */
function colourScale(low, high) {
  const [zmin, zmax] = flatScale([low, high]) ?? [low ?? undefined, high ?? undefined];
  return { zmin, zmax };
}

/** Text for Plotly, which takes some HTML. */
const escape = (text, length = 200) =>
  shownName(text, length).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** A label for Plotly, shortened at its end, where targets have their coordinates. */
const label = (text, length) => escape(text.length > length ? text.slice(0, length - 1) + "…" : text, 1000);

const milliseconds = (seconds) => (seconds === null ? null : seconds * 1000);

/** Return the seconds of a date as Plotly writes it, in UTC. */
function secondsOf(date) {
  if (typeof date === "number") return date / 1000;
  const [day, clock = "00:00"] = String(date).split(" ");
  const [base, fraction = ""] = (clock.length === 2 ? `${clock}:00` : clock).split(".");
  return Date.parse(`${day}T${base}Z`) / 1000 + Number(`0.${fraction || 0}`);
}

function theme() {
  const font = { family: "system-ui, sans-serif", size: 12, color: colour("text") };
  return {
    font,
    text: colour("text"),
    dim: colour("dim"),
    grid: colour("grid"),
    line: colour("plot"),
    surface: colour("surface"),
    border: colour("border"),
    mono: "ui-monospace, monospace",
  };
}

const CONFIG = { displayModeBar: false, displaylogo: false, scrollZoom: true, doubleClick: false, showTips: false };

/** Points of a sensor that holds each value until the next, or of its envelope. */
function stepsTraces(answer, axis, look) {
  const { time: times, low, high, exact, end } = answer;
  const x = [];
  const y = [];
  if (exact) {
    times.forEach((at, index) => {
      x.push(milliseconds(at));
      y.push(low[index]);
    });
    if (x.length) {
      x.push(milliseconds(end));
      y.push(y.at(-1));
    }
  } else {
    // A stroke per pixel from its minimum to its maximum; every second one is drawn downwards.
    times.forEach((at, index) => {
      const down = index % 2;
      x.push(milliseconds(at), milliseconds(at));
      y.push(down ? high[index] : low[index], down ? low[index] : high[index]);
    });
  }
  const markers = exact && times.length <= 80;
  return [
    {
      type: "scatter", mode: markers ? "lines+markers" : "lines", x, y, yaxis: axis, connectgaps: false,
      line: { shape: exact ? "hv" : "linear", width: 1.4, color: look.line },
      marker: { size: x.map((_, index) => (index === x.length - 1 ? 0 : 5)), color: look.line },
      hovertemplate: "%{x|%Y-%m-%d %H:%M:%S.%L}<br>%{y}<extra></extra>",
    },
  ];
}

function bandsTraces(answer, axis, look) {
  const { bands, labels } = answer;
  const lanes = labels.length <= MAX_LANES;
  return [
    {
      type: "bar", orientation: "h", yaxis: axis, width: lanes ? 0.72 : 0.9,
      base: bands.map(([start]) => milliseconds(start)),
      x: bands.map(([start, end]) => milliseconds(end - start)),
      y: bands.map(([, , index]) => (lanes ? index : 0)),
      marker: { color: bands.map(([, , index]) => BANDS[index % BANDS.length]), line: { width: 0 } },
      text: lanes ? undefined : bands.map(([, , index]) => label(labels[index], 40)),
      textposition: lanes ? "none" : "inside", insidetextanchor: "start", textangle: 0, constraintext: "none",
      insidetextfont: { color: "#10161d" },
      hovertext: bands.map(([start, end, index]) => `${label(labels[index], 80)}<br>${time(start)}<br>for ${duration(end - start)}`),
      hoverinfo: "text",
    },
  ];
}

function waterfallTraces(answer, axis, look, domain) {
  const { time: times, index, z, end, shape, group, part, low, high } = answer;
  const rows = (shape ?? []).reduce((product, size) => product * size, 1);
  return [
    {
      type: "heatmap", yaxis: axis, z,
      x: [...times, end].map(milliseconds),
      y: [...index, Math.max(rows, index.at(-1) + (group ?? 1))],
      ...colourScale(low, high),
      colorscale: part === "phase" ? PHASES : "Viridis",
      colorbar: {
        len: domain[1] - domain[0], y: domain[0], yanchor: "bottom", lenmode: "fraction", thickness: 10, outlinewidth: 0,
        tickfont: { color: look.dim }, x: 1.005, xpad: 4, ypad: 0, nticks: 5,
      },
      hovertemplate: "%{x|%Y-%m-%d %H:%M:%S}<br>element %{y}<br>%{z}<extra></extra>",
    },
  ];
}

const TRACES = { steps: stepsTraces, bands: bandsTraces, waterfall: waterfallTraces };

/** Sensors against time. */
export class Plots {
  element;
  #context;
  #keys;
  #ranges;
  #latest = new Latest();
  #figure = el("div.figure", { tabindex: 0, role: "group" });
  #notes = el("ul.notes", {});
  #problem = el("div", {});
  #spans;
  #parts = el("span.parts", {});
  #answers = null;
  #drawn = "";
  #window = null;
  #plotly = null;

  /** `ranges` is a map of the keys to the times of their first and last samples. */
  constructor(context, keys, ranges) {
    this.#context = context;
    this.#keys = keys;
    this.#ranges = ranges;
    this.#figure.setAttribute("aria-label", `Plot of ${keys.map((key) => printable(key)).join(", ")}. Arrow keys move, + and - zoom, 0 shows all.`);
    const button = (name, label, work) => el("button.quiet", { type: "button", "aria-label": label, title: label, onclick: work }, name);
    this.#spans = el(
      "div.spans",
      { role: "group", "aria-label": "Time span" },
      SPANS.map(([name, seconds]) => el("button.chip", { type: "button", "data-span": seconds ?? "", onclick: () => this.#go(seconds ? { last: seconds } : {}) }, name)),
    );
    this.element = el(
      "section.card.plots",
      {},
      el("h2.unseen", {}, "Plot"),
      el(
        "div.line",
        {},
        this.#spans,
        el("span.grow", {}),
        this.#parts,
        el(
          "span.moves",
          {},
          button("←", "Earlier", () => this.#move(-0.5)),
          button("→", "Later", () => this.#move(0.5)),
          button("+", "Zoom in", () => this.#zoom(0.5)),
          button("−", "Zoom out", () => this.#zoom(2)),
        ),
      ),
      this.#problem,
      this.#figure,
      this.#notes,
    );
    this.#figure.addEventListener("keydown", (event) => this.#key(event));
    let width = 0;
    this.observer = new ResizeObserver(() => {
      if (this.#figure.clientWidth === width) return;
      width = this.#figure.clientWidth;
      this.#resized();
    });
    this.observer.observe(this.#figure);
  }

  #resized = debounce(100, () => this.fetch());

  // The window

  #go({ start = null, end = null, last = null }) {
    const round = (seconds) => (seconds === null ? null : Number(seconds.toFixed(3)));
    this.#context.go({ start: round(start), end: round(end), last }, { replace: true });
  }

  /** The start and end of all samples, up to now on a live store. */
  get #all() {
    const times = [...this.#ranges.values()].flat().filter((one) => one !== null && Number.isFinite(one));
    if (!times.length) return [0, 1];
    const [first, last] = [Math.min(...times), Math.max(...times)];
    const now = this.#context.now();
    const end = this.#context.store.live && now > last && now - last < RECENT ? now : last;
    return end > first ? [first, end] : [first - 30, first + 30];
  }

  get #chosen() {
    const { start, end, last } = this.#context.view;
    const all = this.#all;
    if (last) return [all[1] - last, all[1]];
    return [start ?? all[0], end ?? all[1]];
  }

  #move(by) {
    const [start, end] = this.#chosen;
    this.#go({ start: start + by * (end - start), end: end + by * (end - start) });
  }

  #zoom(by) {
    const [start, end] = this.#chosen;
    const half = Math.max(((end - start) * by) / 2, SHORTEST / 2);
    const middle = (start + end) / 2;
    this.#go({ start: middle - half, end: middle + half });
  }

  #key(event) {
    const works = {
      ArrowLeft: () => this.#move(-0.2), ArrowRight: () => this.#move(0.2),
      "+": () => this.#zoom(0.5), "=": () => this.#zoom(0.5), "-": () => this.#zoom(2), 0: () => this.#go({}),
    };
    if (!(event.key in works) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    works[event.key]();
  }

  // Fetching

  get #area() {
    return Math.max(100, this.#figure.clientWidth - this.#margins.l - this.#margins.r);
  }

  /** Fetch what is in the window, and draw it; the answer to an older request is dropped. */
  async fetch() {
    if (!this.#figure.clientWidth) return;
    const [start, end] = this.#chosen;
    const { part } = this.#context.view;
    const query = { start, end, width: Math.min(4000, Math.round(this.#area)), part };
    this.element.setAttribute("aria-busy", "true");
    let done;
    try {
      done = await this.#latest.run((signal) =>
        Promise.all([loadPlotly(this.#context.store.plotly), this.#request(query, signal)]),
      );
    } catch (error) {
      this.#problem.replaceChildren(message(error.message, { title: "The plot could not be drawn.", retry: () => this.fetch() }));
      this.element.removeAttribute("aria-busy");
      return;
    }
    if (!done) return;
    [this.#plotly, this.#answers] = done;
    this.#window = [start, end];
    this.#problem.replaceChildren();
    await this.#draw();
    this.element.removeAttribute("aria-busy");
  }

  /** Return the answers for all keys; one that cannot be plotted does not keep the others from it. */
  async #request(query, signal) {
    return Promise.all(
      this.#keys.map((key) =>
        get("plot", { key, ...query }, signal).catch((error) => {
          // A refusal is about this sensor; other errors leave what is drawn as it is.
          if (signal.aborted || error.status < 400 || error.status >= 500) throw error;
          return { type: "none", why: error.message };
        }),
      ),
    );
  }

  change() {
    const [start, end] = this.#chosen;
    const wanted = `${start} ${end} ${this.#context.view.part}`;
    if (wanted === this.#drawn) return;
    this.fetch();
  }

  /** Samples have come: fetch again soon, if they are in the window. */
  update({ key, time: at }) {
    if (!this.#keys.includes(key)) return;
    if (at !== null) {
      const [first, last] = this.#ranges.get(key) ?? [at, at];
      this.#ranges.set(key, [Math.min(first ?? at, at), Math.max(last ?? at, at)]);
    }
    const { end } = this.#context.view;
    if (end !== null && at !== null && at > end) return;
    this.#soon();
  }

  #soon = paced(() => this.fetch());

  refresh() {
    return this.fetch();
  }

  // Drawing

  get #narrow() {
    return this.#figure.clientWidth < 560;
  }

  get #margins() {
    const lanes = this.#answers?.some(({ type, labels }) => type === "bands" && labels.length <= MAX_LANES);
    const bars = this.#answers?.some(({ type }) => type === "waterfall");
    return { l: this.#narrow ? (lanes ? 84 : 48) : lanes ? 132 : 64, r: bars ? (this.#narrow ? 48 : 64) : 12, t: 26, b: 52 };
  }

  #height({ type, labels }) {
    const alone = this.#answers.length === 1;
    if (type === "bands") return labels.length <= MAX_LANES ? Math.max(44, labels.length * (alone ? 30 : 22)) : alone ? 90 : 54;
    if (type === "none") return 40;
    return alone ? (this.#narrow ? 260 : 380) : type === "waterfall" ? 190 : 150;
  }

  async #draw() {
    const look = theme();
    const margin = this.#margins;
    const gap = 34;
    const heights = this.#answers.map((answer) => this.#height(answer));
    const inner = heights.reduce((sum, height) => sum + height, 0) + gap * (heights.length - 1);
    const axisLook = { gridcolor: look.grid, linecolor: look.border, zeroline: false, tickfont: { color: look.dim } };
    const [start, end] = this.#window;
    const layout = {
      height: inner + margin.t + margin.b,
      width: this.#figure.clientWidth,
      margin: { ...margin, pad: 4 },
      paper_bgcolor: look.surface,
      plot_bgcolor: look.surface,
      font: look.font,
      showlegend: false,
      barmode: "overlay",
      bargap: 0,
      dragmode: "zoom",
      hovermode: "closest",
      hoverlabel: { bgcolor: look.surface, bordercolor: look.border, font: { family: look.mono, size: 12, color: look.text } },
      uniformtext: { minsize: 10, mode: "hide" },
      annotations: [
        { text: "UTC", xref: "paper", yref: "paper", x: 1, y: 0, xanchor: "right", yanchor: "bottom", yshift: -margin.b, showarrow: false, font: { size: 11, color: look.dim } },
      ],
      xaxis: {
        ...axisLook, type: "date", range: [milliseconds(start), milliseconds(end)], anchor: `y${heights.length > 1 ? heights.length : ""}`,
        showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid", spikecolor: look.dim, spikesnap: "cursor", nticks: this.#narrow ? 4 : 9,
      },
    };
    const traces = [];
    let above = 0;
    this.#answers.forEach((answer, index) => {
      const number = index ? index + 1 : "";
      const domain = [Math.max(0, 1 - (above + heights[index]) / inner), 1 - above / inner];
      above += heights[index] + gap;
      const axis = (layout[`yaxis${number}`] = { ...axisLook, domain, fixedrange: true, anchor: "x", nticks: heights[index] > 250 ? 8 : 4 });
      if (answer.type === "bands") {
        const lanes = answer.labels.length <= MAX_LANES;
        const room = this.#narrow ? 10 : 16;
        const shown = lanes ? answer.labels.map((one) => label(one, room)) : [];
        const last = Math.max(shown.length, 1) - 0.5;
        Object.assign(axis, { tickmode: "array", tickvals: shown.map((_, lane) => lane), ticktext: shown, range: [last, -0.5], showgrid: false });
      } else if (answer.type === "none") {
        Object.assign(axis, { visible: false, range: [0, 1] });
        layout.annotations.push({ text: escape(answer.why ?? "Nothing to plot.", this.#narrow ? 50 : 140), xref: "paper", yref: "paper", x: 0, y: (domain[0] + domain[1]) / 2, xanchor: "left", showarrow: false, font: { color: look.dim } });
      } else if (answer.type === "waterfall") Object.assign(axis, { showgrid: false });
      else {
        const range = flatScale([...answer.low, ...answer.high]);
        if (range) axis.range = range;
      }
      layout.annotations.push({
        text: `<b>${escape(this.#keys[index], Math.floor(this.#figure.clientWidth / 8.5))}</b>` + (answer.part && !this.#narrow ? `  ${answer.part}` : ""),
        xref: "paper", yref: "paper", x: 0, xshift: 4 - margin.l, y: domain[1], xanchor: "left", yanchor: "bottom", yshift: 3, showarrow: false, font: { size: 12, color: look.text },
      });
      const make = TRACES[answer.type];
      if (make) traces.push(...make(answer, `y${number}`, look, domain));
    });
    // An axis needs a trace.
    if (!traces.length) traces.push({ type: "scatter", x: [milliseconds(start)], y: [null], hoverinfo: "skip" });
    await this.#plotly.react(this.#figure, traces, layout, CONFIG);
    if (!this.listening) {
      this.listening = true;
      this.#figure.on("plotly_relayout", (event) => this.#relayout(event));
      this.#figure.on("plotly_doubleclick", () => this.#go({}));
    }
    const { part, last } = this.#context.view;
    this.#drawn = `${start} ${end} ${part}`;
    this.#drawTools(start, end, last);
  }

  #drawTools(start, end, last) {
    const view = this.#context.view;
    const isAll = view.start === null && view.end === null && last === null;
    for (const button of this.#spans.children) {
      const chosen = button.dataset.span === "" ? isAll : Number(button.dataset.span) === last;
      button.setAttribute("aria-pressed", String(chosen));
    }
    const parts = this.#answers.find((answer) => answer.parts?.length)?.parts ?? [];
    const shown = this.#answers.find((answer) => answer.parts?.length)?.part;
    this.#parts.replaceChildren(...partChoice(this.#context, parts, shown));
    this.#notes.replaceChildren(
      ...this.#answers.map((answer, index) => {
        const words = [];
        if (answer.n !== undefined) words.push(count(answer.n, "sample") + " in sight");
        if (answer.type === "steps" && !answer.exact) words.push("minimum and maximum per pixel");
        words.push(...(answer.notes ?? []));
        return el("li", {}, this.#keys.length > 1 ? el("bdi", {}, `${shownName(this.#keys[index], 80)}: `) : null, printable([...new Set(words)].join("; ")));
      }),
    );
    this.#figure.dataset.points = this.#answers.map((one) => (one.time ?? one.bands ?? []).length).join(" ");
    this.#figure.dataset.start = start;
    this.#figure.dataset.end = end;
  }

  #relayout = debounce(150, (event) => {
    const range = event["xaxis.range"] ?? [event["xaxis.range[0]"], event["xaxis.range[1]"]];
    if (range[0] === undefined || range[1] === undefined) return;
    const [start, end] = range.map(secondsOf);
    if (Number.isFinite(start) && end - start >= SHORTEST) this.#go({ start, end });
  });

  recolour() {
    if (this.#answers) this.#draw();
  }

  /** Offer the figure as a picture. */
  async png() {
    await png(this.#plotly, this.#figure, this.#keys);
  }

  /** The window as the server takes it: null where all is shown. */
  get range() {
    const { start, end, last } = this.#context.view;
    if (start === null && end === null && last === null) return [null, null];
    return this.#chosen;
  }

  close() {
    this.#soon.cancel();
    this.observer.disconnect();
    this.#latest.cancel();
    this.#plotly?.purge(this.#figure);
  }
}

async function png(plotly, figure, keys) {
  if (!plotly) return;
  const { clientWidth: width, clientHeight: height } = figure;
  await plotly.downloadImage(figure, { format: "png", width, height, scale: 2, filename: fileName(keys, "") });
}

/** A choice of amplitude or phase, if there is one. */
function partChoice(context, parts, shown) {
  return parts.map((part) =>
    el("button.chip", { type: "button", "aria-pressed": String(part === shown), onclick: () => context.go({ part }, { replace: true }) }, part[0].toUpperCase() + part.slice(1)),
  );
}

/** A picture of an array: a heat map, or a line. */
export function arrayFigure(context, array, key) {
  const figure = el("div.figure", { role: "img", "aria-label": `Picture of the array ${printable(key)}` });
  const { image, line } = array;
  const { parts, part } = array;
  const note = image?.reduced ? "Reduced to fewer elements for the picture." : "";
  const element = el("div", {}, el("div.line", {}, partChoice(context, parts, part)), figure, note ? el("p.dim", {}, note) : null);
  let plotly = null;
  const draw = async () => {
    if (!figure.isConnected || !figure.clientWidth) return;
    const look = theme();
    const axisLook = { gridcolor: look.grid, linecolor: look.border, zeroline: false, tickfont: { color: look.dim } };
    const layout = {
      width: figure.clientWidth, height: image ? 340 : 280, margin: { l: 56, r: 12, t: 10, b: 40, pad: 4 }, font: look.font,
      paper_bgcolor: look.surface, plot_bgcolor: look.surface, showlegend: false,
      hoverlabel: { bgcolor: look.surface, bordercolor: look.border, font: { family: look.mono, size: 12, color: look.text } },
      xaxis: { ...axisLook, title: { text: image ? "column" : "element", font: { size: 11, color: look.dim } } },
      yaxis: { ...axisLook, title: image ? { text: "row", font: { size: 11, color: look.dim } } : undefined },
    };
    let traces;
    if (image) {
      const rows = image.z.length;
      const columns = image.z[0]?.length ?? 0;
      const places = ([begin, end], n) => Array.from({ length: n + 1 }, (_, index) => begin + ((end - begin) * index) / n - 0.5 * (end - begin === n));
      layout.yaxis.autorange = "reversed";
      traces = [
        {
          type: "heatmap", z: image.z, x: places(image.column_range, columns), y: places(image.row_range, rows), ...colourScale(image.low, image.high),
          colorscale: part === "phase" ? PHASES : "Viridis", colorbar: { thickness: 10, outlinewidth: 0, tickfont: { color: look.dim } },
          hovertemplate: "row %{y}, column %{x}<br>%{z}<extra></extra>",
        },
      ];
    } else {
      const x = [];
      const y = [];
      line.index.forEach((at, index) => {
        x.push(at);
        y.push(line.low[index]);
        if (line.high[index] !== line.low[index]) {
          x.push(at);
          y.push(line.high[index]);
        }
      });
      const range = flatScale(y);
      if (range) layout.yaxis.range = range;
      traces = [{ type: "scatter", mode: x.length <= 100 ? "lines+markers" : "lines", x, y, line: { width: 1.4, color: look.line }, marker: { size: 5 }, hovertemplate: "element %{x}<br>%{y}<extra></extra>" }];
    }
    plotly = await loadPlotly(context.store.plotly);
    if (figure.isConnected) await plotly.react(figure, traces, layout, { ...CONFIG, scrollZoom: false, doubleClick: "reset" });
  };
  const draws = () => draw().catch((error) => element.append(message(error.message, { title: "The picture could not be drawn." })));
  let width = 0;
  const observer = new ResizeObserver(() => {
    if (figure.clientWidth === width) return;
    width = figure.clientWidth;
    draws();
  });
  observer.observe(figure);
  return {
    element,
    recolour: draws,
    png: () => png(plotly, figure, [key]),
    close() {
      observer.disconnect();
      plotly?.purge(figure);
    },
  };
}
