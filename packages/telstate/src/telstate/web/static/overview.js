// The first thing that one sees: what the store is and holds, with links to keys.
import { linkTo, linkToSearch } from "./address.js";
import { get, Latest } from "./api.js";
import { age, bytes, count, duration, el, kindSign, message, printable, rate, shownName, time } from "./dom.js";

// So many names are shown of each list; the search shows all.
const MAX_NAMES = 80;
// At most so often is the overview read again, in seconds.
const REFRESH = 30;

export class Overview {
  element = el("div.overview", {}, el("p.dim", {}, "Reading what the store holds …"));
  keys = [];
  #context;
  #latest = new Latest();
  #values = new Map();
  #read = 0;
  #last = null;

  constructor(context) {
    this.#context = context;
    this.refresh();
  }

  async refresh() {
    const { element } = this;
    // Drawing anew would take the focus away.
    if (this.#context.now() - this.#read < REFRESH || element.contains(document.activeElement)) return;
    this.#read = this.#context.now();
    let answer;
    try {
      answer = await this.#latest.run((signal) => get("overview", {}, signal));
    } catch (error) {
      this.#read = 0;
      this.element.replaceChildren(
        message(error.message, { title: "The overview could not be read.", retry: () => this.refresh() }),
      );
      return;
    }
    if (answer) this.#draw(answer);
  }

  close() {
    this.#latest.cancel();
  }

  changed() {
    this.refresh();
  }

  /** Show a value that has just arrived. */
  update({ key, text, time: at }) {
    this.refresh();
    if (this.#last && at > Number(this.#last.dataset.age)) this.#last.dataset.age = at;
    const cell = this.#values.get(key);
    if (!cell) return;
    const [value, since] = cell;
    if (since && at !== null) since.dataset.age = at;
    // Of a number, as many digits as there is room for.
    const shown = /^-?\d+\.\d{4,}$/.test(text) ? String(Number(Number(text).toPrecision(6))) : shownName(text, 120);
    if (value.textContent === shown) return;
    const known = value.textContent !== "";
    value.textContent = shown;
    if (known) flash(value);
  }

  #draw(found) {
    const { store } = this.#context;
    this.#values.clear();
    const span = found.first !== null && found.last !== null ? found.last - found.first : null;
    const kinds = found.keys;
    const facts = [
      ["Time span", span === null ? "–" : duration(span), span === null ? "no samples" : [time(found.first, 0), " to ", time(found.last, 0), " UTC"]],
      ["Keys", count(store.keys ?? 0), `${count(kinds.a ?? 0, "attribute")}, ${count(kinds.m ?? 0, "sensor")}, ${count(kinds.i ?? 0)} indexed`],
      ["Samples", count(found.samples ?? 0), span ? `${rate(found.samples / span)} a second on average` : ""],
      ["Size", bytes(found.bytes), found.snapshot?.size ? `${bytes(found.snapshot.size)} as a file` : "of all values"],
      this.#origin(found, store),
    ];
    this.#last = store.live && found.last !== null ? el("span", { "data-age": found.last }, age(found.last, this.#context.now())) : null;
    if (this.#last) facts[0][2] = [...facts[0][2], el("br"), "Last sample ", this.#last];
    this.element.replaceChildren();
    this.element.append(
      ...[
      el(
        "header.head",
        {},
        el("h1", { title: printable(store.name) }, printable(store.title)),
        el("p.dim", {}, store.live ? "A live telescope state." : "An archived telescope state."),
      ),
      this.#problems(found),
      el(
        "dl.facts",
        {},
        facts.filter(Boolean).map(([name, value, note]) => el("div.card", {}, el("dt", {}, name), el("dd", {}, value), el("dd.dim", {}, note))),
      ),
      el(
        "div.sections",
        {},
        this.#targets(found),
        this.#rates(found),
        this.#names("Antennas", found.antennas, (name) => linkToSearch(`${name}_*`)),
        this.#names("Capture blocks", found.capture_blocks, (name) => linkToSearch(`${name}_*`)),
        this.#streams(found),
        this.#biggest(found),
        this.#pickles(found),
      ),
      ].filter(Boolean),
    );
    if (!store.keys)
      this.element.append(
        message(
          store.live
            ? "The store is empty. Keys appear here as soon as they are written."
            : "This file has no keys of a telescope state.",
          { kind: "empty" },
        ),
      );
    this.keys = [...this.#values.keys()];
    this.#context.watch();
  }

  #origin(found, store) {
    const writer = found.snapshot?.server;
    const created = found.snapshot?.created;
    if (store.live) return ["Server", printable(store.server ?? "in memory"), `telstate ${store.version ?? ""}`];
    const state = found.snapshot ? (found.snapshot.sound ? "sound" : "damaged") : "in memory";
    const words = [writer ? `by ${printable(String(writer))}` : "", created ? `${time(created, 0)} UTC` : ""].filter(Boolean);
    return ["Archive", state, words.length ? `written ${words.join(", ")}` : ""];
  }

  #problems(found) {
    const problems = found.snapshot?.problems ?? [];
    if (!problems.length) return null;
    return el(
      "div.message",
      { "data-kind": "warn" },
      el("strong", {}, "The file is damaged; what can be read is shown."),
      el("ul", {}, problems.slice(0, 10).map((one) => el("li", {}, printable(one)))),
    );
  }

  #section(title, note, ...content) {
    return el("section.card", {}, el("h2", {}, title, note ? el("span.dim", {}, ` ${note}`) : null), ...content);
  }

  #names(title, names, link) {
    if (!names?.length) return null;
    const shown = names.slice(0, MAX_NAMES);
    return this.#section(
      title,
      count(names.length),
      el("ul.names", {}, shown.map((name) => el("li", {}, el("a", { href: link(name) }, el("bdi", {}, shownName(name, 60)))))),
      names.length > shown.length ? el("p.dim", {}, `${count(names.length - shown.length)} more: search for them.`) : null,
    );
  }

  #streams(found) {
    if (!found.streams?.length) return null;
    const rows = found.streams.map((one) => (typeof one === "string" ? { name: one } : one));
    return this.#section(
      "Streams",
      count(rows.length),
      el(
        "ul.lines",
        {},
        rows.slice(0, MAX_NAMES).map(({ name, type }) =>
          el("li", {}, el("a", { href: linkToSearch(`${name}_*`) }, el("bdi", {}, shownName(name, 80))), type ? el("span.dim", {}, printable(type)) : null),
        ),
      ),
    );
  }

  /** Elements for a value that changes as samples arrive, and perhaps for how old it is. */
  #cell(key, hasAge) {
    const value = el("bdi.now", {});
    const since = hasAge ? el("span.dim", {}) : null;
    this.#values.set(key, [value, since]);
    return [value, since];
  }

  #targets(found) {
    const sensors = found.targets.filter((one) => one.targets.length);
    const total = sensors.reduce((sum, one) => sum + one.targets.length, 0);
    if (!total) return null;
    const live = this.#context.store.live;
    return this.#section(
      "Targets",
      count(total),
      sensors.map(({ key, targets }) => [
        el("p.line.sensor", {}, el("a", { href: linkTo(key) }, el("bdi", {}, shownName(key, 80))), live ? this.#cell(key, true) : null),
        el(
          "ul.lines",
          {},
          targets.slice(0, MAX_NAMES).map((one) =>
            el(
              "li",
              { title: printable(one.text) },
              el("a", { href: linkTo(key) }, el("bdi", {}, shownName(one.name, 80))),
              el("span.dim", {}, `${count(one.samples, "sample")}, first ${time(one.first, 0)}`),
            ),
          ),
        ),
      ]),
    );
  }

  #rates(found) {
    if (!found.rates?.length) return null;
    const live = this.#context.store.live;
    return this.#section(
      live ? "Busiest sensors now" : "Busiest sensors",
      "samples a second",
      el(
        "ul.lines",
        {},
        found.rates.slice(0, 12).map((one) =>
          el(
            "li",
            {},
            el("a", { href: linkTo(one.key) }, el("bdi", {}, shownName(one.key, 80))),
            live ? this.#cell(one.key, false) : null,
            el("span.number", {}, rate(one.rate)),
          ),
        ),
      ),
    );
  }

  #biggest(found) {
    if (!found.biggest?.length) return null;
    return this.#section(
      "Biggest keys",
      "",
      el(
        "ul.lines",
        {},
        found.biggest.slice(0, 10).map((one) =>
          el("li", {}, kindSign(one.kind), el("a", { href: linkTo(one.key) }, el("bdi", {}, shownName(one.key, 80))), el("span.number", {}, bytes(one.bytes))),
        ),
      ),
    );
  }

  #pickles(found) {
    if (!found.pickles?.length) return null;
    const total = found.pickles_total ?? found.pickles.length;
    return this.#section(
      "Pickles",
      count(total),
      el("p.dim", {}, this.#context.store.allow_pickle ? "These values are pickles." : "These values are pickles, which are not read unless telstate serve is told so (--allow-pickle safe)."),
      el("ul.names", {}, found.pickles.slice(0, MAX_NAMES).map((key) => el("li", {}, el("a", { href: linkTo(key) }, el("bdi", {}, shownName(key, 60)))))),
      total > MAX_NAMES ? el("p.dim", {}, `${count(total - MAX_NAMES)} more.`) : null,
    );
  }
}

/** Mark an element for a moment because what it shows has changed. */
export function flash(element) {
  element.classList.remove("flash");
  void element.offsetWidth; // restarts the animation
  element.classList.add("flash");
}
