// The value of a key: foldable, arrays with statistics and a picture. The JSON form is that of `get --json`.
import { get, Latest, paced } from "./api.js";
import { count, el, fileName, message, printable, save, short } from "./dom.js";
import { arrayFigure } from "./plots.js";

// So many items of a container are shown at first, and added each time.
const CHUNK = 100;
const MAX_INLINE = 72;
const MAX_TEXT = 2000;

const text = (kind, content) => el(`span.v-${kind}`, {}, content);

const quote = (value) => {
  const shown = printable(value).replaceAll("\\\\", "\\").replaceAll("'", "\\'");
  return `'${shown.length > MAX_TEXT ? shown.slice(0, MAX_TEXT) + "…" : shown}'`;
};

function bytesText(base64) {
  const bytes = atob(base64);
  const shown = Array.from(bytes.slice(0, MAX_TEXT), (one) => {
    const code = one.charCodeAt(0);
    return code < 32 || code > 126 ? "\\x" + code.toString(16).padStart(2, "0") : one;
  });
  return `b'${shown.join("")}'` + (bytes.length > MAX_TEXT ? "…" : "");
}

const complexText = ([real, imaginary]) => {
  const one = (part) => (typeof part === "object" ? (part.$float ?? "?") : String(part));
  const second = one(imaginary);
  return `${one(real)}${second.startsWith("-") ? "" : "+"}${second}j`;
};

const shapeText = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
const dtypeText = (dtype) => (typeof dtype === "string" ? dtype : JSON.stringify(dtype));

// The objects with one key that stand for what JSON does not have.
const MARKS = {
  $bytes: (content) => ({ kind: "text", text: bytesText(content) }),
  $complex: (content) => ({ kind: "number", text: complexText(content) }),
  $float: (content) => ({ kind: "number", text: String(content) }),
  $timestamp: ([seconds, nanoseconds]) => ({ kind: "number", text: `Timestamp(${seconds}, ${nanoseconds})` }),
  $tuple: (content) => ({ ends: ["(", content.length === 1 ? ",)" : ")"], items: content.map((one) => [null, one]) }),
  $map: (content) => ({ ends: ["{", "}"], items: content.map(([key, one]) => [inline(key) ?? "…", one]) }),
  $array: ({ dtype, shape }) => ({ kind: "array", text: `array of ${dtypeText(dtype)}, shape ${shapeText(shape)}` }),
  $scalar: ({ dtype, value, data }) => ({ kind: "number", text: `${value === undefined ? data : (inline(value) ?? "…")} (${dtypeText(dtype)})` }),
};

/** Return what a value is: a text, or ends and items. */
function parse(value) {
  if (value === null) return { kind: "word", text: "None" };
  if (value === true) return { kind: "word", text: "True" };
  if (value === false) return { kind: "word", text: "False" };
  if (typeof value === "number") return { kind: "number", text: String(value) };
  if (typeof value === "string") return { kind: "text", text: quote(value) };
  if (Array.isArray(value)) return { ends: ["[", "]"], items: value.map((one) => [null, one]) };
  const entries = Object.entries(value);
  if (entries.length === 1 && Object.hasOwn(MARKS, entries[0][0])) return MARKS[entries[0][0]](entries[0][1]);
  return { ends: ["{", "}"], items: entries.map(([key, one]) => [quote(key), one]) };
}

/** Return a value on one line, or null if that is too long. */
function inline(value, room = MAX_INLINE) {
  const parsed = parse(value);
  if (parsed.text !== undefined) return parsed.text.length <= room ? parsed.text : null;
  const [open, close] = parsed.ends;
  let line = open;
  for (const [index, [key, one]] of parsed.items.entries()) {
    const shown = inline(one, room - line.length);
    if (shown === null) return null;
    line += (index ? ", " : "") + (key === null ? "" : `${key}: `) + shown;
    if (line.length > room) return null;
  }
  return line + close;
}

/** Return elements for a value; containers are drawn when they are opened. */
function fold(key, value, depth) {
  const parsed = parse(value);
  const label = key === null ? [] : [el("bdi.v-key", {}, key), ": "];
  if (parsed.text !== undefined) return el("div.leaf", {}, ...label, text(parsed.kind, parsed.text));
  const line = inline(value);
  if (line !== null && (depth > 0 || !parsed.items.length)) return el("div.leaf", {}, ...label, text("line", line));
  const [open, close] = parsed.ends;
  const body = el("div.body", {});
  const details = el(
    "details.fold",
    { open: depth === 0 },
    el("summary", {}, ...label, text("ends", `${open} … ${close}`), el("span.dim", {}, ` ${count(parsed.items.length, "item")}`)),
    body,
  );
  let drawn = 0;
  const more = () => {
    body.querySelector(":scope > button")?.remove();
    const next = parsed.items.slice(drawn, drawn + CHUNK);
    body.append(...next.map(([name, one], index) => fold(name ?? String(drawn + index), one, depth + 1)));
    drawn += next.length;
    const left = parsed.items.length - drawn;
    if (left) body.append(el("button.quiet", { type: "button", onclick: more }, `Show ${count(Math.min(left, CHUNK))} more of ${count(left)}`));
  };
  const drawOnce = () => {
    if (details.open && !drawn) more();
  };
  details.addEventListener("toggle", drawOnce);
  drawOnce();
  return details;
}

// Line breaks and tabs of text that is shown whole are kept.
const lines = (value) => value.split(/(\r?\n|\t)/).map((part) => (/^[\r\n\t]+$/.test(part) ? part : printable(part))).join("");

/** What a key holds. */
export class Value {
  element = el("section.card.value", { "aria-busy": "true" });
  #context;
  #key;
  #latest = new Latest();
  #figure = null;
  #answer = null;

  /** `ondraw` is called when it has been drawn. */
  constructor(context, key, ondraw) {
    this.#context = context;
    this.#key = key;
    this.ondraw = ondraw;
    this.load();
  }

  async load() {
    const query = { key: this.#key, part: this.#context.view.part };
    let answer;
    try {
      answer = await this.#latest.run((signal) => get("value", query, signal));
    } catch (error) {
      this.element.replaceChildren(message(error.message, { title: "The value could not be read.", retry: () => this.load() }));
    }
    this.element.removeAttribute("aria-busy");
    if (!answer) return;
    this.#draw(answer);
    this.ondraw();
  }

  /** Read the value again soon. */
  update = paced(() => this.load());

  refresh() {
    return this.load();
  }

  #draw(answer) {
    const opened = [...this.element.querySelectorAll("details")].map((one) => one.open);
    this.#answer = answer;
    this.#figure?.close();
    this.#figure = null;
    const { array } = answer;
    const parts = array ? [this.#facts(array)] : [];
    const picture = array?.image ?? array?.line;
    if (picture) {
      this.#figure = arrayFigure(this.#context, array, this.#key);
      parts.push(this.#figure.element);
    }
    if (answer.error) parts.push(message(answer.error, { title: "The value could not be read.", kind: "warn" }));
    else if (answer.value_cut || (answer.value === null && answer.text !== "None"))
      parts.push(el("pre", {}, lines(answer.text)), el("p.dim", {}, answer.cut || answer.value_cut ? "The value is too large to be shown whole." : ""));
    else if (typeof answer.value === "string") parts.push(el("pre", {}, lines(answer.value)));
    else if (array) parts.push(el("details.fold", { open: !picture }, el("summary", {}, "Elements"), el("pre", {}, lines(answer.text ?? ""))));
    else parts.push(el("div.tree-value", {}, fold(null, answer.value, 0)));
    this.element.replaceChildren(el("h2.unseen", {}, "Value"), ...parts);
    [...this.element.querySelectorAll("details")].slice(0, opened.length).forEach((one, index) => (one.open = opened[index]));
  }

  #facts(array) {
    const facts = [
      ["Type", dtypeText(array.dtype)], ["Shape", shapeText(array.shape)],
      ["Minimum", array.min], ["Maximum", array.max], ["Mean", array.mean], ["Deviation", array.std], ["NaN", array.nan || null],
    ];
    return el(
      "dl.stats",
      {},
      facts.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, typeof value === "string" ? printable(value) : short(value)))),
    );
  }

  /** Offer the exact JSON form for download. */
  download() {
    const { value, text: shown, value_cut: cut } = this.#answer;
    const name = fileName([this.#key], cut ? ".txt" : ".json");
    save(name, cut ? shown : JSON.stringify(value, null, 2) + "\n", cut ? "text/plain" : "application/json");
  }

  get canDownload() {
    return this.#answer !== null && !this.#answer.error;
  }

  get figure() {
    return this.#figure;
  }

  recolour() {
    this.#figure?.recolour();
  }

  close() {
    this.update.cancel();
    this.#latest.cancel();
    this.#figure?.close();
  }
}
