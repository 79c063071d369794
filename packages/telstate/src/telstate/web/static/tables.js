// Tables of any length, of which only the pages in sight are fetched.
import { debounce, get, Latest, paced } from "./api.js";
import { count, el, message, printable, shorten, time } from "./dom.js";
import { Rows } from "./rows.js";

const PAGE = 200;
// So many rows above those in sight are fetched too.
const BEYOND = 10;
// So many pages are kept.
const MAX_PAGES = 30;

class Table {
  element = el("section.card.table", {});
  #latest = new Latest();
  #pages = new Map();
  #total = 0;
  #stale = false;
  #caption = el("p.dim", { role: "status" }, "Reading …");
  #problem = el("div", {});
  #body;
  #rows;

  /**
   * `columns` are the headings; `read(offset, limit, signal)` returns {total, rows}, each row the texts of its
   * cells; `words(total)` says how many there are.
   */
  constructor(label, columns, read, words) {
    this.read = read;
    this.words = words;
    this.#body = el("div.rows.cells", { role: "rowgroup", tabindex: 0, "aria-label": `${label}, scrolls` });
    this.#rows = new Rows(this.#body, (index) => this.#draw(index), {
      height: 28,
      onsight: debounce(40, () => this.#load()),
    });
    const button = (name, work) => el("button.quiet", { type: "button", onclick: work }, name);
    this.element.append(
      el("div.line", {}, this.#caption, el("span.grow", {}), button("First", () => this.#rows.toStart()), button("Last", () => this.#rows.toEnd())),
      this.#problem,
      (this.grid = el(
        "div.grid",
        { role: "table", "aria-label": label, style: `--columns: ${columns.length}` },
        el("div.heads", { role: "rowgroup" }, el("div.row", { role: "row" }, columns.map((name) => el("span", { role: "columnheader" }, name)))),
        this.#body,
      )),
    );
    this.#load();
  }

  #draw(index) {
    const page = this.#pages.get(Math.floor(index / PAGE));
    const cells = page?.[index % PAGE];
    return el(
      "div.row",
      { role: "row", "aria-rowindex": index + 2 },
      (cells ?? ["…"]).map((cell) => el("bdi.cell", { role: "cell", title: cell.length > 60 ? shorten(cell, 2000) : null }, shorten(cell, 1000))),
    );
  }

  async #load() {
    const [first, end] = this.#rows.sight;
    const wanted = [];
    const from = Math.max(0, first - BEYOND);
    for (let page = Math.floor(from / PAGE); page * PAGE < Math.max(end, 1); page++)
      if (this.#stale || !this.#pages.has(page)) wanted.push(page);
    if (!wanted.length) return;
    const isFirst = !this.#pages.size;
    try {
      await this.#latest.run(async (signal) => {
        for (const page of wanted) {
          const { total, rows } = await this.read(page * PAGE, PAGE, signal);
          if (signal.aborted) return;
          if (this.#stale) this.#pages.clear();
          this.#stale = false;
          this.#pages.delete(page);
          this.#pages.set(page, rows);
          if (this.#pages.size > MAX_PAGES) this.#pages.delete(this.#pages.keys().next().value);
          const atEnd = this.#rows.atEnd && !isFirst && total > this.#total;
          this.#total = total;
          this.#problem.replaceChildren();
          this.#caption.textContent = this.words(total);
          this.grid.setAttribute("aria-rowcount", total + 1);
          this.#rows.refresh(total);
          if (atEnd) this.#rows.toEnd();
        }
      });
    } catch (error) {
      this.#problem.replaceChildren(message(error.message, { title: "The table could not be read.", retry: () => this.#load() }));
    }
  }

  /** Read again what is in sight, because there may be more. */
  refresh() {
    this.#stale = true;
    return this.#load();
  }

  update = paced(() => this.refresh());

  close() {
    this.update.cancel();
    this.#latest.cancel();
    this.#rows.close();
  }
}

/** The samples of a sensor, all or those of a range. */
export function samplesTable(key, start, end) {
  const read = async (offset, limit, signal) => {
    const answer = await get("samples", { key, start, end, offset, limit }, signal);
    return { total: answer.total, rows: answer.samples.map(([at, value]) => [time(at, 3), printable(value)]) };
  };
  const range = start === null ? "" : ` from ${time(start, 0)} to ${time(end, 0)} UTC`;
  return new Table(`Samples of ${printable(key)}`, ["Time (UTC)", "Value"], read, (total) => count(total, "sample") + range);
}

/** The values of an indexed key. */
export function indexedTable(key) {
  const read = async (offset, limit, signal) => {
    const answer = await get("indexed", { key, offset, limit }, signal);
    return { total: answer.total, rows: answer.rows.map((row) => row.map(printable)) };
  };
  return new Table(`Values of ${printable(key)}`, ["Sub-key", "Value"], read, (total) => count(total, "sub-key"));
}
