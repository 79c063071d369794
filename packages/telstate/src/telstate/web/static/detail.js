// The keys that are chosen: their latest values, plots, samples and contents.
import { get, Latest, paced, path } from "./api.js";
import { age, count, el, kindSign, KINDS, message, printable, shownName, time } from "./dom.js";
import { flash } from "./overview.js";
import { Plots } from "./plots.js";
import { indexedTable, samplesTable } from "./tables.js";
import { Value } from "./values.js";

const TABS = { plot: "Plot", samples: "Samples", value: "Latest value" };
// So many sensors are plotted at once.
const MAX_PLOTS = 16;

export class Detail {
  element = el("div.detail", {}, el("p.dim", {}, "Reading …"));
  keys;
  #context;
  #view;
  #latest = new Latest();
  #summaries = new Map();
  #lines = new Map();
  #tab = "";
  #body = el("div.panel", { role: "tabpanel", id: "panel", "aria-labelledby": "" });
  #tabs = el("div.tabs", { role: "tablist", "aria-label": "Views" });
  #actions = el("div.actions", {});
  #panels = [];
  #sampleKey = null;
  #offered = "";

  constructor(context, view) {
    this.#context = context;
    this.#view = view;
    this.keys = view.keys;
    this.refresh();
  }

  /** Read again what the keys are, and draw all. */
  async refresh() {
    let answer;
    try {
      answer = await this.#latest.run((signal) => get("summary", { key: this.keys }, signal));
    } catch (error) {
      const title = "The keys could not be read.";
      this.element.replaceChildren(message(error.message, { title, retry: () => this.refresh() }));
      return;
    }
    if (!answer) return;
    const before = this.#kinds;
    const summaries = new Map(answer.keys.map((one) => [one.key, one]));
    if (this.#panels.length && this.#kindsOf(summaries) === before) {
      for (const one of answer.keys)
        if (one.kind === "m") this.update({ key: one.key, text: one.value || one.type, time: one.last });
      await Promise.all(this.#panels.map((panel) => panel.refresh()));
      return;
    }
    this.#summaries = summaries;
    this.#draw();
  }

  #kindsOf(summaries) {
    return this.keys.map((key) => summaries.get(key)?.kind ?? "-").join("");
  }

  get #kinds() {
    return this.#kindsOf(this.#summaries);
  }

  #soon = paced(() => this.refresh());

  /** Keys were added or deleted. */
  changed({ added = [], deleted = [], reload }) {
    const names = [...added.map(([name]) => name), ...deleted];
    if (reload || names.some((name) => this.keys.includes(name))) this.#soon();
  }

  #of(...kinds) {
    return this.keys.filter((key) => kinds.includes(this.#summaries.get(key)?.kind));
  }

  #draw() {
    const single = this.keys.length === 1;
    const missing = this.keys.filter((key) => !this.#summaries.has(key));
    this.#lines.clear();
    const parts = [this.#head(single)];
    if (missing.length)
      parts.push(
        message(`${missing.map((key) => shownName(key, 100)).join(", ")}: there is no such key.`, {
          kind: "empty",
          title: single ? "No such key" : "Some keys do not exist",
        }),
      );
    if (this.#summaries.size) parts.push(this.#latestValues(single), this.#tabs, this.#body);
    this.element.replaceChildren(...parts);
    this.#show();
  }

  #head(single) {
    const name = single ? shownName(this.keys[0], 2000) : count(this.keys.length, "key");
    return el("header.head", {}, el("h1", {}, el("bdi", {}, name)), this.#actions);
  }

  /** A line per key: its kind, name, value, and how old that is. */
  #latestValues(single) {
    const known = this.keys.filter((key) => this.#summaries.has(key));
    const line = (key) => {
      const one = this.#summaries.get(key);
      const value = el("bdi.now", { "data-long": one.value.length > 48 }, shownName(one.value || one.type, 300));
      const { live } = this.#context.store;
      const since = el("span", one.last === null ? {} : { "data-age": one.last });
      if (one.last !== null) since.textContent = age(one.last, this.#context.now());
      const at = el("span.dim", {}, one.last === null ? "" : `${time(one.last)} UTC`);
      this.#lines.set(key, { value, since, at });
      const facts = [KINDS[one.kind].name];
      if (one.kind === "m") facts.push(count(one.samples, "sample"));
      if (one.kind === "i") facts.push(count(one.samples, "sub-key"));
      if (one.type) facts.push(printable(one.type));
      return el(
        single ? "div.latest.card.single" : "li.latest",
        {},
        el("div.what", {}, kindSign(one.kind), single ? el("span.dim", {}, facts.join(" · ")) : el("bdi.name", {}, shownName(key, 300))),
        single && one.kind !== "m" ? null : value,
        one.kind !== "m" || one.last === null
          ? null
          : single
            ? el("div.when", {}, "Last sample ", live ? [since, " · "] : null, at)
            : el("div.when", {}, live ? since : time(one.last)),
        single
          ? null
          : el("button.quiet", { type: "button", "aria-label": `Remove ${shownName(key)}`, onclick: () => this.#context.go({ keys: this.keys.filter((other) => other !== key) }) }, "×"),
      );
    };
    return single ? line(known[0]) : el("ul.card.latests", { "aria-label": "Latest values" }, known.map(line));
  }

  /** Draw the tab that the address names. */
  #show() {
    const sensors = this.#of("m");
    const others = this.#of("a", "i");
    const tabs = sensors.length ? Object.keys(TABS) : [];
    const tab = tabs.includes(this.#view.tab) ? this.#view.tab : (tabs[0] ?? "value");
    this.#tab = tab;
    this.#tabs.hidden = !tabs.length;
    this.#tabs.replaceChildren(
      ...tabs.map((name) =>
        el(
          "button",
          {
            type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(name === tab), "aria-controls": "panel",
            tabindex: name === tab ? 0 : -1, onclick: () => this.#choose(name), onkeydown: (event) => this.#tabKey(event, tabs),
          },
          TABS[name],
        ),
      ),
    );
    if (tabs.length) this.#body.setAttribute("aria-labelledby", `tab-${tab}`);
    this.#closePanels();
    const add = (panel, title = null) => {
      this.#panels.push(panel);
      this.#body.append(title ? el("h2.key", {}, el("bdi", {}, title)) : "", panel.element);
      return panel;
    };
    if (sensors.length && tab === "plot") {
      const ranges = new Map(sensors.map((key) => [key, [this.#summaries.get(key).first, this.#summaries.get(key).last]]));
      if (sensors.length > MAX_PLOTS)
        this.#body.append(message(`The first ${MAX_PLOTS} of ${sensors.length} sensors are plotted.`, { kind: "warn" }));
      add(new Plots(this.#context, sensors.slice(0, MAX_PLOTS), ranges));
    } else if (sensors.length && tab === "samples") this.#addSamples(sensors, add);
    else if (sensors.length) for (const key of sensors) add(this.#value(key), sensors.length > 1 ? shownName(key) : null);
    const named = this.keys.length > 1;
    for (const key of others) {
      const isIndexed = this.#summaries.get(key).kind === "i";
      add(isIndexed ? indexedTable(key) : this.#value(key), named ? shownName(key) : null);
    }
    this.#drawActions();
  }

  /** A value; what can be downloaded depends on what it is. */
  #value(key) {
    return new Value(this.#context, key, () => {
      if (this.#offers !== this.#offered) this.#drawActions();
    });
  }

  #addSamples(sensors, add) {
    if (!sensors.includes(this.#sampleKey)) this.#sampleKey = sensors[0];
    if (sensors.length > 1)
      this.#body.append(
        el(
          "label.line",
          {},
          "Samples of ",
          el(
            "select",
            {
              onchange: (event) => {
                this.#sampleKey = sensors[Number(event.target.value)];
                this.#show();
              },
            },
            sensors.map((key, index) => el("option", { value: index, selected: key === this.#sampleKey }, shownName(key, 100))),
          ),
        ),
      );
    const [start, end] = this.#range;
    add(samplesTable(this.#sampleKey, start, end));
  }

  /** The window that the address names, for tables and downloads. */
  get #range() {
    const { start, end, last } = this.#view;
    if (last === null) return [start, end];
    const lasts = this.#of("m").map((key) => this.#summaries.get(key).last);
    const until = Math.max(...lasts.filter((one) => one !== null));
    return [until - last, until];
  }

  #choose(tab) {
    this.#context.go({ tab: tab === "plot" ? "" : tab });
  }

  #tabKey(event, tabs) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = tabs[(tabs.indexOf(this.#tab) + step + tabs.length) % tabs.length];
    this.#choose(next);
    this.#tabs.querySelector(`#tab-${next}`)?.focus();
  }

  /** What the panels have for download. */
  get #offers() {
    return this.#panels.map((panel) => `${Boolean(panel.figure)} ${Boolean(panel.canDownload)}`).join();
  }

  #drawActions() {
    this.#offered = this.#offers;
    // The rows of an indexed key are a file of their own.
    const sensors = this.#of("m");
    const inFile = this.keys.length === 1 ? this.#of("m", "i") : sensors;
    const button = (name, label, work) => el("button", { type: "button", "aria-label": label, onclick: work }, name);
    const actions = [];
    if (inFile.length) {
      const [start, end] = sensors.length ? this.#range : [null, null];
      const content = sensors.length ? "samples" : "table";
      actions.push(el("a.button", { href: path("csv", { key: inFile, start, end }), download: "", "aria-label": `Download the ${content} as CSV` }, "CSV"));
    }
    if (this.#picture())
      actions.push(button("PNG", "Download the picture as PNG", () => this.#picture()?.png()));
    if (this.#panels.some((panel) => panel.canDownload))
      actions.push(button("JSON", "Download the value as JSON", () => this.#panels.find((panel) => panel.canDownload)?.download()));
    this.#actions.replaceChildren(...actions);
  }

  #picture() {
    for (const panel of this.#panels) {
      if (panel instanceof Plots) return panel;
      if (panel.figure) return panel.figure;
    }
    return null;
  }

  /** Show another tab or window of the same keys. */
  change(view) {
    const before = this.#view;
    this.#view = view;
    if (!this.#summaries.size) return;
    const plots = this.#panels.find((panel) => panel instanceof Plots);
    if (before.tab !== view.tab || (before.part !== view.part && !plots)) this.#show();
    else if (plots) {
      plots.change();
      this.#drawActions();
    } else if (before.start !== view.start || before.end !== view.end || before.last !== view.last) this.#show();
  }

  /** Show what has just arrived. */
  update(update) {
    const line = this.#lines.get(update.key);
    if (!line) {
      if (this.keys.includes(update.key)) this.#soon();
      return;
    }
    const summary = this.#summaries.get(update.key);
    const shown = shownName(update.text, 300);
    const isNew = update.time !== summary.last || line.value.textContent !== shown;
    if (!isNew) return;
    summary.last = update.time;
    if (update.time !== null) {
      line.since.dataset.age = update.time;
      line.at.textContent = `${time(update.time)} UTC`;
    }
    if (!update.any && line.value.textContent !== shown) {
      line.value.textContent = shown;
      flash(line.value);
    }
    for (const panel of this.#panels) panel.update(update);
  }

  recolour() {
    for (const panel of this.#panels) panel.recolour?.();
  }

  #closePanels() {
    for (const panel of this.#panels) panel.close();
    this.#panels = [];
    this.#body.replaceChildren();
  }

  close() {
    this.#latest.cancel();
    this.#soon.cancel();
    this.#closePanels();
  }
}
