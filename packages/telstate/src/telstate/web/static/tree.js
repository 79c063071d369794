// The keys on the left: a tree as `telstate ls --tree` folds it, or a list of those that are searched for.
import { get, debounce, Latest } from "./api.js";
import { byId, count, el, kindSign, KINDS, printable, shorten, shownName } from "./dom.js";
import { Rows } from "./rows.js";

// At most so many previews are kept, and requested at once.
const MAX_PREVIEWS = 4000;
const MAX_REQUESTED = 100;

/** Return whether a name matches a glob as in Redis (*, ?, [a-z], \), in time linear in the name. */
export function matchesGlob(tokens, name) {
  let at = 0;
  let token = 0;
  let star = -1;
  let mark = 0;
  while (at < name.length) {
    if (token < tokens.length && tokens[token] !== "*" && tokens[token](name[at])) {
      at += 1;
      token += 1;
    } else if (token < tokens.length && tokens[token] === "*") {
      star = token++;
      mark = at;
    } else if (star >= 0) {
      token = star + 1;
      at = ++mark;
    } else return false;
  }
  while (tokens[token] === "*") token += 1;
  return token === tokens.length;
}

/** Compile a glob for `matchesGlob`. */
export function parseGlob(glob) {
  const tokens = [];
  for (let i = 0; i < glob.length; i++) {
    const one = glob[i];
    if (one === "*") {
      if (tokens.at(-1) !== "*") tokens.push("*");
    } else if (one === "?") tokens.push(() => true);
    else if (one === "[" && glob.indexOf("]", i + 1) > 0) {
      const end = glob.indexOf("]", i + 1);
      let set = glob.slice(i + 1, end);
      const negated = set.startsWith("^");
      if (negated) set = set.slice(1);
      const ranges = Array.from(set.matchAll(/(.)-(.)|(.)/gs), (m) => (m[3] ? [m[3], m[3]] : [m[1], m[2]]));
      tokens.push((c) => ranges.some(([a, b]) => a <= c && c <= b) !== negated);
      i = end;
    } else {
      const literal = one === "\\" && i + 1 < glob.length ? glob[++i] : one;
      tokens.push((c) => c === literal);
    }
  }
  return tokens;
}

/** Return a function that tells whether a name in lower case is searched for. */
export function matcher(text) {
  const lower = text.trim().toLowerCase();
  if (!lower) return () => true;
  if (/[*?[]/.test(lower)) {
    const tokens = parseGlob(lower);
    return (name) => matchesGlob(tokens, name);
  }
  return (name) => name.includes(lower);
}

export class Tree {
  #box = byId("tree");
  #search = byId("search");
  #found = byId("found");
  #rows;
  #keys = [];
  #nodes = [];
  #parents = new Map();
  #open = new Set();
  #lines = [];
  #active = -1;
  #selected = [];
  #kinds = new Set();
  #previews = new Map();
  #request = new Latest();

  /**
   * `on.open(keys)` is called when keys are chosen, `on.search(text)` when another text is searched for, and
   * `on.sight()` when other keys are in sight.
   */
  constructor(on) {
    this.on = on;
    const coarse = matchMedia("(pointer: coarse)");
    this.#rows = new Rows(this.#box, (index) => this.#draw(index), {
      height: coarse.matches ? 40 : 28,
      onsight: debounce(80, () => this.#inSight()),
    });
    coarse.addEventListener("change", () => (this.#rows.height = coarse.matches ? 40 : 28));
    this.#box.addEventListener("click", (event) => this.#click(event));
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#box.addEventListener("focus", () => this.#activate(Math.max(this.#active, 0), false));
    this.#search.addEventListener("input", () => {
      this.#arrange(true);
      this.#tellSearch();
    });
    this.#search.addEventListener("keydown", (event) => this.#searchKey(event));
  }

  #tellSearch = debounce(300, () => this.on.search(this.#search.value));

  get size() {
    return this.#keys.length;
  }

  /** Show the keys of an answer to /api/keys. */
  load({ keys, tree }) {
    this.#keys = keys.map(([name, kind]) => ({ name, kind, lower: name.toLowerCase() }));
    this.#nodes = tree;
    this.#parents = new Map();
    const todo = tree.map((node) => [node, null, ""]);
    while (todo.length) {
      const [node, parent, path] = todo.pop();
      node.id = `${path}\n${node.fold ? "*" : ""}${node.label}`;
      node.parent = parent;
      if (node.fold) node.key = null;
      if (node.key !== null) this.#parents.set(node.key, node);
      for (const child of node.children ?? []) todo.push([child, node, node.id]);
    }
    const counts = {};
    for (const { kind } of this.#keys) counts[kind] = (counts[kind] ?? 0) + 1;
    byId("kinds").replaceChildren(
      ...Object.entries(KINDS).map(([kind, { plural }]) =>
        el(
          "button.chip",
          {
            type: "button",
            "aria-pressed": String(this.#kinds.has(kind)),
            "data-kind": kind,
            onclick: (event) => this.#toggleKind(kind, event.currentTarget),
          },
          kindSign(kind),
          `${plural} `,
          el("span.dim", {}, count(counts[kind] ?? 0)),
        ),
      ),
    );
    this.#arrange(false);
  }

  #toggleKind(kind, button) {
    if (!this.#kinds.delete(kind)) this.#kinds.add(kind);
    button.setAttribute("aria-pressed", String(this.#kinds.has(kind)));
    this.#arrange(true);
  }

  /** Set the text that is searched for. */
  searchFor(text) {
    if (text === this.#search.value) return;
    this.#search.value = text;
    this.#arrange(true);
  }

  focusSearch() {
    this.#search.focus();
    this.#search.select();
  }

  /** Mark the keys that are shown, and open the branches above the first. */
  select(keys) {
    this.#selected = keys;
    let node = keys.length ? this.#parents.get(keys[0])?.parent : null;
    let opened = false;
    for (; node; node = node.parent)
      if (!this.#open.has(node.id)) {
        this.#open.add(node.id);
        opened = true;
      }
    if (opened && !this.#isList) this.#arrange(false);
    else this.#rows.refresh(this.#lines.length);
    const index = this.#lines.findIndex((line) => line.key === keys[0]);
    if (index >= 0 && document.activeElement !== this.#box) this.#activate(index, true);
  }

  get #isList() {
    return this.#search.value.trim() !== "" || this.#kinds.size > 0;
  }

  #arrange(fromStart) {
    const before = this.#lines[this.#active];
    this.#lines = this.#isList ? this.#list() : this.#unfold();
    this.#active = before ? this.#lines.findIndex((line) => line.id === before.id) : -1;
    if (fromStart) this.#box.scrollTop = 0;
    this.#box.toggleAttribute("data-empty", this.#lines.length === 0);
    const words = this.#isList
      ? this.#lines.length
        ? `${count(this.#lines.length)} of ${count(this.#keys.length, "key")}`
        : `No key matches ${this.#search.value.trim() || "these kinds"}. Part of a name or a glob like *_target finds keys.`
      : count(this.#keys.length, "key");
    this.#found.textContent = words;
    this.#rows.refresh(this.#lines.length);
    this.#setActive();
    this.#inSight();
  }

  #list() {
    const matches = matcher(this.#search.value);
    const kinds = this.#kinds;
    const found = this.#keys.filter((key) => (!kinds.size || kinds.has(key.kind)) && matches(key.lower));
    return found.map(({ name, kind }, index) => ({
      id: `\n${name}`, key: name, kind, label: name, level: 1, position: index + 1, of: found.length, leaf: true,
    }));
  }

  #unfold() {
    const lines = [];
    const add = (nodes, level) =>
      nodes.forEach((node, index) => {
        const leaf = !node.children?.length;
        const open = !leaf && this.#open.has(node.id);
        lines.push({
          id: node.id, key: node.key, kind: node.kind, label: node.label, level, node, leaf, open,
          position: index + 1, of: nodes.length,
        });
        if (open) add(node.children, level + 1);
      });
    add(this.#nodes, 1);
    return lines;
  }

  #draw(index) {
    const line = this.#lines[index];
    const selected = line.key !== null && this.#selected.includes(line.key);
    const preview = line.key === null ? null : this.#previews.get(line.key);
    const row = el(
      "div.row",
      {
        role: "treeitem",
        id: `row-${index}`,
        "aria-level": line.level,
        "aria-posinset": line.position,
        "aria-setsize": line.of,
        "aria-selected": line.key === null ? null : String(selected),
        "aria-expanded": line.leaf ? null : String(line.open),
        "data-index": index,
        "data-active": index === this.#active,
        style: `--level: ${line.level - 1}`,
      },
      el("span.caret", { "aria-hidden": "true" }, line.leaf ? "" : line.open ? "▾" : "▸"),
      line.key === null ? null : kindSign(line.kind),
      el("bdi.name", { title: shownName(line.key ?? line.label, 500) }, ...this.#label(line)),
      line.key === null
        ? el("span.dim.count", {}, count(line.node.count))
        : el("span.preview", {}, preview ? shorten(printable(preview.text), 80) : ""),
      line.key !== null && line.kind === "m"
        ? el(
            "button.stack",
            {
              type: "button", tabindex: -1, "data-stack": true,
              "aria-label": `${selected ? "Remove" : "Stack"} ${shownName(line.key)}`,
              title: selected ? "Remove from the plots (Space)" : "Stack with what is shown (Space)",
            },
            selected ? "−" : "+",
          )
        : null,
    );
    if (preview?.changed) {
      row.classList.add("changed");
      preview.changed = false;
    }
    return row;
  }

  /** The name of a line, with what was searched for marked. */
  #label(line) {
    const shown = shownName(line.label, 400);
    const text = this.#search.value.trim().toLowerCase();
    const at = this.#isList && text && !/[*?[]/.test(text) ? shown.toLowerCase().indexOf(text) : -1;
    if (at < 0) return [shown];
    const end = at + text.length;
    return [shown.slice(0, at), el("mark", {}, shown.slice(at, end)), shown.slice(end)];
  }

  #click(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    const index = Number(row.dataset.index);
    this.#activate(index, false);
    const stacks = event.target.closest("[data-stack]") || event.ctrlKey || event.metaKey;
    if (event.target.closest(".caret") && !this.#lines[index].leaf) this.#toggle(index);
    else if (stacks) this.#stack(index);
    else this.#choose(index);
  }

  #choose(index) {
    const line = this.#lines[index];
    if (!line) return;
    if (line.key === null) this.#toggle(index);
    else {
      if (!line.leaf && !line.open) this.#toggle(index);
      this.on.open([line.key]);
    }
  }

  #stack(index) {
    const { key } = this.#lines[index];
    if (key === null) return this.#toggle(index);
    const others = this.#selected.filter((one) => one !== key);
    this.on.open(others.length === this.#selected.length ? [...others, key] : others);
  }

  #toggle(index) {
    const line = this.#lines[index];
    if (line.leaf) return;
    if (!this.#open.delete(line.id)) this.#open.add(line.id);
    this.#arrange(false);
    this.#activate(index, true);
  }

  #activate(index, scroll) {
    if (!this.#lines.length) return;
    const before = this.#active;
    this.#active = Math.min(Math.max(index, 0), this.#lines.length - 1);
    if (scroll) this.#rows.reveal(this.#active);
    this.#rows.element(before)?.removeAttribute("data-active");
    this.#setActive();
  }

  #setActive() {
    const row = this.#rows.element(this.#active);
    row?.setAttribute("data-active", "");
    if (row) this.#box.setAttribute("aria-activedescendant", row.id);
    else this.#box.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const index = this.#active;
    const line = this.#lines[index];
    const page = Math.max(1, Math.floor(this.#box.clientHeight / this.#rows.height) - 1);
    const moves = {
      ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page,
      Home: 0, End: this.#lines.length - 1,
    };
    if (event.key in moves) this.#activate(moves[event.key], true);
    else if (!line) return;
    else if (event.key === "ArrowRight") {
      if (!line.leaf && !line.open) this.#toggle(index);
      else if (!line.leaf) this.#activate(index + 1, true);
    } else if (event.key === "ArrowLeft") {
      if (line.open) this.#toggle(index);
      else if (line.node?.parent)
        this.#activate(this.#lines.findIndex((one) => one.node === line.node.parent), true);
    } else if (event.key === "Enter") this.#choose(index);
    else if (event.key === " ") this.#stack(index);
    else return;
    event.preventDefault();
  }

  #searchKey(event) {
    if (event.key === "ArrowDown") {
      this.#activate(0, true);
      this.#box.focus();
    } else if (event.key === "Enter") {
      if (this.#lines.length) this.#choose(0);
    } else if (event.key === "Escape") {
      if (this.#search.value) {
        this.searchFor("");
        this.#tellSearch();
      } else this.#box.focus();
    } else return;
    event.preventDefault();
  }

  /** The keys in sight, and a few more. */
  get inSight() {
    const [first, end] = this.#rows.sight;
    return this.#lines.slice(first, end).filter((line) => line.key !== null).map((line) => line.key);
  }

  async #inSight() {
    const keys = this.inSight;
    this.on.sight(keys);
    const unknown = keys.filter((key) => !this.#previews.has(key)).slice(0, MAX_REQUESTED);
    if (!unknown.length) return;
    if (this.#previews.size > MAX_PREVIEWS) this.#previews.clear();
    let answer;
    try {
      answer = await this.#request.run((signal) => get("summary", { key: unknown }, signal));
    } catch {
      return; // Names are enough; the status line shows that the server is gone.
    }
    for (const one of answer?.keys ?? [])
      this.#previews.set(one.key, { text: one.value || one.type, time: one.last });
    this.#redraw(new Set(unknown));
  }

  #redraw(keys) {
    const [first, end] = this.#rows.sight;
    for (let index = first; index < end; index++)
      if (keys.has(this.#lines[index]?.key)) this.#rows.update(index);
  }

  /** Show a value that has just arrived. */
  update({ key, text, time, any }) {
    const before = this.#previews.get(key);
    // Another sub-key of an indexed key is no news.
    if (before && (any || (before.time === time && before.text === text))) return;
    this.#previews.set(key, { text, time, changed: before !== undefined });
    this.#redraw(new Set([key]));
  }

  /** Forget previews, after a connection was lost. */
  forget() {
    this.#previews.clear();
    this.#inSight();
  }
}
