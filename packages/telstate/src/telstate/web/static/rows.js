// A list of any length of which only the rows in sight are elements. All rows have the same height.

// Browsers limit the height of elements; longer lists scroll proportionally.
const MAX_HEIGHT = 8_000_000;
// Rows that are kept above and below those in sight.
const MARGIN = 6;

export class Rows {
  #box;
  #space = document.createElement("div");
  #draw;
  #total = 0;
  #height;
  #shown = new Map();
  #frame = 0;
  #sight = [0, 0];

  /**
   * `draw(index)` returns the element of a row; `onsight(first, end)` is called when other rows are in sight.
   */
  constructor(box, draw, { height = 28, onsight = null } = {}) {
    this.#box = box;
    this.#draw = draw;
    this.#height = height;
    this.onsight = onsight;
    this.#space.className = "space";
    this.#space.setAttribute("role", "presentation");
    box.append(this.#space);
    box.addEventListener("scroll", () => this.#later(), { passive: true });
    this.observer = new ResizeObserver(() => this.#later());
    this.observer.observe(box);
  }

  get height() {
    return this.#height;
  }

  set height(height) {
    this.#height = height;
    this.refresh(this.#total);
  }

  /** The indices of the rows in sight: the first, and the one after the last. */
  get sight() {
    return this.#sight;
  }

  #later() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  get #scale() {
    const visible = this.#box.clientHeight;
    const all = this.#total * this.#height;
    const space = Math.min(all, MAX_HEIGHT);
    return all > space && space > visible ? (all - visible) / (space - visible) : 1;
  }

  /** Draw all rows in sight anew; there are `total` rows now. */
  refresh(total) {
    this.#total = total;
    this.#space.style.height = `${Math.min(total * this.#height, MAX_HEIGHT)}px`;
    for (const row of this.#shown.values()) row.remove();
    this.#shown.clear();
    this.#render();
  }

  /** Draw one row anew if it is an element now. */
  update(index) {
    const old = this.#shown.get(index);
    if (!old) return;
    const row = this.#place(index);
    old.replaceWith(row);
    this.#shown.set(index, row);
  }

  element(index) {
    return this.#shown.get(index);
  }

  #offset = 0;

  #place(index) {
    const row = this.#draw(index);
    row.style.transform = `translateY(${index * this.#height - this.#offset}px)`;
    row.style.height = `${this.#height}px`;
    return row;
  }

  #render() {
    const top = this.#box.scrollTop;
    const visible = this.#box.clientHeight;
    const real = top * this.#scale;
    // A whole number of rows, so that rows that stay keep their place while nothing is scaled.
    const offset = this.#scale === 1 ? 0 : real - top;
    if (offset !== this.#offset) {
      this.#offset = offset;
      for (const [index, row] of this.#shown)
        row.style.transform = `translateY(${index * this.#height - offset}px)`;
    }
    const first = Math.max(0, Math.floor(real / this.#height));
    const end = Math.min(this.#total, Math.ceil((real + visible) / this.#height));
    const from = Math.max(0, first - MARGIN);
    const to = Math.min(this.#total, end + MARGIN);
    for (const [index, row] of this.#shown)
      if (index < from || index >= to) {
        row.remove();
        this.#shown.delete(index);
      }
    for (let index = from; index < to; index++)
      if (!this.#shown.has(index)) {
        const row = this.#place(index);
        this.#shown.set(index, row);
        this.#space.append(row);
      }
    if (this.#sight[0] !== first || this.#sight[1] !== end) {
      this.#sight = [first, end];
      this.onsight?.(first, end);
    }
  }

  /** Scroll as little as needed to have a row in sight. */
  reveal(index) {
    const scale = this.#scale;
    const visible = this.#box.clientHeight;
    const top = index * this.#height;
    const real = this.#box.scrollTop * scale;
    if (top < real) this.#box.scrollTop = top / scale;
    else if (top + this.#height > real + visible)
      this.#box.scrollTop = (top + this.#height - visible) / scale;
    this.#render();
  }

  /** Whether the last row is in sight. */
  get atEnd() {
    return this.#box.scrollTop + this.#box.clientHeight >= this.#box.scrollHeight - 2;
  }

  toStart() {
    this.#box.scrollTop = 0;
    this.#render();
  }

  toEnd() {
    this.#box.scrollTop = this.#box.scrollHeight;
    this.#render();
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.#frame);
  }
}
