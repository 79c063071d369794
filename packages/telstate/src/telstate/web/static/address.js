// What is shown, in the fragment of the address:
// #keys=a,b&tab=samples&start=..&end=..&last=600&part=phase&search=m0*
// A byte of a key that is not UTF-8 is a lone surrogate in JavaScript, and %80 to %FF here.

const escapeOne = (one) => {
  const code = one.charCodeAt(0);
  if (one.length > 1 || code < 0xd800 || code > 0xdfff) return encodeURIComponent(one);
  return code >= 0xdc80 && code <= 0xdcff
    ? "%" + (code - 0xdc00).toString(16).toUpperCase()
    : "%EF%BF%BD";
};

/** Percent-encode a key for a URL. */
export const encodeKey = (key) => Array.from(key, escapeOne).join("");

/** Return the key that `encodeKey` encoded; never throws. */
export function decodeKey(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    const bytes = [];
    const encoder = new TextEncoder();
    for (const [part, hex] of text.matchAll(/%([0-9a-f]{2})|./gis))
      bytes.push(...(hex ? [parseInt(hex, 16)] : encoder.encode(part)));
    return decodeBytes(bytes);
  }
}

function decodeBytes(bytes) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let key = "";
  for (let i = 0; i < bytes.length; ) {
    const lead = bytes[i];
    const length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    try {
      key += decoder.decode(new Uint8Array(bytes.slice(i, i + length)));
      i += length;
    } catch {
      key += String.fromCharCode(0xdc00 + lead);
      i += 1;
    }
  }
  return key;
}

const number = (text) => (text && Number.isFinite(Number(text)) ? Number(text) : null);

/** Parse a fragment. */
export function parse(fragment) {
  const fields = {};
  for (const field of fragment.replace(/^#/, "").split("&")) {
    const at = field.indexOf("=");
    if (at > 0) fields[field.slice(0, at)] = field.slice(at + 1);
  }
  return {
    keys: [...new Set((fields.keys ?? "").split(",").filter(Boolean).map(decodeKey))],
    tab: fields.tab ?? "",
    start: number(fields.start),
    end: number(fields.end),
    last: number(fields.last),
    part: fields.part ?? "",
    search: decodeKey(fields.search ?? ""),
  };
}

/** Return the fragment that `parse` parses. */
export function format(view) {
  const fields = [];
  if (view.keys.length) fields.push("keys=" + view.keys.map(encodeKey).join(","));
  for (const name of ["tab", "start", "end", "last", "part"])
    if (view[name] !== null && view[name] !== "") fields.push(`${name}=${view[name]}`);
  if (view.search) fields.push("search=" + encodeKey(view.search));
  return "#" + fields.join("&");
}

/** Return a link to keys. */
export const linkTo = (...keys) => "#keys=" + keys.map(encodeKey).join(",");

/** Return a link to a search. */
export const linkToSearch = (glob) => "#search=" + encodeKey(glob);
