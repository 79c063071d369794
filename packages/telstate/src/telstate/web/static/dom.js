// Elements and texts. Names and values only ever become text nodes and attributes.

/** Create an element: el("a.link", {href: "#"}, "text", child, null). */
export function el(selector, properties = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

// Control and format characters (also those that change the direction of text), separators of lines, and
// lone surrogates, which are bytes that are not UTF-8.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const NAMED = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Return text on one line, with what cannot be printed spelled out as Python does. */
export function printable(text) {
  return text.replace(UNPRINTABLE, (one) => {
    const code = one.codePointAt(0);
    if (NAMED[one]) return NAMED[one];
    if (code >= 0xdc80 && code <= 0xdcff) return "\\x" + (code - 0xdc00).toString(16);
    if (code < 0x100) return "\\x" + code.toString(16).padStart(2, "0");
    return code < 0x10000
      ? "\\u" + code.toString(16).padStart(4, "0")
      : "\\U" + code.toString(16).padStart(8, "0");
  });
}

/** Return text of at most `length` characters, shortened in its middle, where names differ least. */
export function shorten(text, length) {
  if (text.length <= length) return text;
  const tail = Math.ceil((length - 1) * 0.6);
  return text.slice(0, length - 1 - tail) + "…" + text.slice(text.length - tail);
}

/** Return a name for one line. */
export const shownName = (name, length = 200) => shorten(printable(name), length);

const LATEST = 8.64e12;

/** Return a time in UTC, with as many decimals of a second as `digits`, or as it has. */
export function time(seconds, digits = null) {
  if (seconds === null || seconds === undefined) return "";
  if (!Number.isFinite(seconds) || Math.abs(seconds) > LATEST) return `${seconds} s`;
  const text = new Date(Math.round(seconds * 1000)).toISOString().replace("T", " ").replace("Z", "");
  if (digits !== null) return digits ? text.slice(0, text.length - 3 + digits) : text.slice(0, -4);
  return text.endsWith(".000") ? text.slice(0, -4) : text;
}

/** Return the number of seconds in words, with one or two units. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 0) return "-" + duration(-seconds);
  if (seconds < 60) return `${seconds < 10 && seconds % 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const [unit, size] = units[first];
  const whole = Math.floor(seconds / size);
  const [nextUnit, nextSize] = units[first + 1];
  const next = Math.floor((seconds - whole * size) / nextSize);
  return `${whole} ${unit}` + (next ? ` ${next} ${nextUnit}` : "");
}

/** Return how long ago a time was. */
export const age = (seconds, now) =>
  seconds > now ? `in ${duration(seconds - now)}` : `${duration(Math.floor(now - seconds))} ago`;

const grouped = new Intl.NumberFormat("en");

export const count = (number, noun) =>
  grouped.format(number) + (noun ? ` ${noun}${number === 1 ? "" : "s"}` : "");

export function bytes(number) {
  if (number === null || number === undefined) return "";
  if (number < 1000) return `${number} B`;
  let unit = -1;
  do {
    number /= 1000;
    unit += 1;
  } while (number >= 1000 && unit < 4);
  return `${number < 10 ? number.toFixed(1) : Math.round(number)} ${["kB", "MB", "GB", "TB", "PB"][unit]}`;
}

/** Return a number with about six significant digits. */
export function short(number) {
  if (number === null || number === undefined) return "–";
  if (typeof number !== "number") return String(number);
  const size = Math.abs(number);
  if (Number.isInteger(number) && size < 1e9) return grouped.format(number);
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) return number.toExponential(4);
  return String(Number(number.toPrecision(6)));
}

/** Return a number with three significant digits. */
export const rate = (number) => (number >= 100 ? grouped.format(Math.round(number)) : String(Number(number.toPrecision(3))));

export const KINDS = {
  a: { name: "attribute", plural: "Attributes" },
  m: { name: "sensor", plural: "Sensors" },
  i: { name: "indexed", plural: "Indexed" },
};

/** A small sign for the kind of a key. */
export function kindSign(kind) {
  const name = KINDS[kind]?.name ?? "key";
  return el("span.kind", { "data-kind": kind, title: name, role: "img", "aria-label": name });
}

/** Return a colour of the style sheet as the browser resolves it, for plots. */
export function colour(name) {
  const probe = el("span", { style: `color: var(--${name}); display: none` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** An element that says what went wrong, and what to do. */
export function message(text, { title = "", retry = null, kind = "error" } = {}) {
  return el(
    "div.message",
    { role: kind === "error" ? "alert" : null, "data-kind": kind },
    title ? el("strong", {}, title) : null,
    el("p", {}, printable(text)),
    retry ? el("button", { type: "button", onclick: retry }, "Try again") : null,
  );
}

/** Offer a file for download. */
export function save(name, content, type) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Return a name for a file that holds what is shown. */
export const fileName = (keys, suffix) =>
  (keys[0] ?? "telstate").replace(/[^\w.-]+/g, "_").slice(0, 80) +
  (keys.length > 1 ? `_and_${keys.length - 1}_more` : "") + suffix;
