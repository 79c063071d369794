// Brings the parts of the page together: what the address says is shown, on the left and on the right.
import { format, parse } from "./address.js";
import { debounce, get, login, paced } from "./api.js";
import { age, byId, el, message, printable } from "./dom.js";
import { Live } from "./live.js";
import { Overview } from "./overview.js";
import { Tree } from "./tree.js";

const main = byId("main");
const status = byId("status");
let store = null;
let view = parse("");
let shown = null;
let shownName = "";
let tree = null;
let live = null;
// The clock of the server, as far as it differs from that of this machine, in seconds.
let ahead = 0;

// What is shown

function go(changes, { replace = false } = {}) {
  const fragment = format({ ...view, ...changes });
  if (fragment === format(view)) return;
  if (replace) history.replaceState(null, "", fragment);
  else history.pushState(null, "", fragment);
  follow();
}

const nameOf = ({ keys }) => keys.join("\0");

/** Show what the address says; that may be called twice for one change. */
async function follow() {
  const before = view;
  view = parse(location.hash);
  const wanted = nameOf(view);
  // Otherwise the text that has just been typed stays.
  if (view.search !== before.search) tree.searchFor(view.search);
  document.title = [...view.keys.map(printable).slice(0, 2), printable(store.title)].join(" · ").slice(0, 200);
  if (shown && shownName === wanted) return shown.change?.(view);
  tree.select(view.keys);
  const { Detail } = view.keys.length ? await import("./detail.js") : {};
  if (nameOf(view) === wanted && !(shown && shownName === wanted))
    show(Detail ? new Detail(context, view) : new Overview(context), wanted);
}

function show(panel, name) {
  shown?.close();
  shown = panel;
  shownName = name;
  main.replaceChildren(panel.element);
  main.scrollTop = 0;
  watch();
}

const watch = debounce(50, () => live?.watch([...(shown?.keys ?? []), ...(tree?.inSight ?? [])]));

const context = {
  go,
  watch: () => watch(),
  get view() {
    return view;
  },
  get store() {
    return store;
  },
  /** Seconds since 1970 by the server's clock. */
  now: () => Date.now() / 1000 + ahead,
};

// Loading

async function start() {
  await useToken();
  try {
    store = await get("store");
  } catch (error) {
    return error.status === 401 ? askForToken() : failed(error);
  }
  if (store.now) ahead = store.now - Date.now() / 1000;
  // Of a path, the name of the file says most.
  store.title = store.name.replace(/^\/.*\/(?=[^/]+$)/, "");
  byId("store").textContent = printable(store.title);
  byId("store").title = printable(store.name);
  tree ??= new Tree({
    open: (keys) => {
      closeDrawer();
      go({ keys, ...(keys.length ? {} : { tab: "", start: null, end: null, last: null, part: "" }) });
    },
    search: (search) => go({ search }, { replace: true }),
    sight: () => watch(),
  });
  main.replaceChildren(el("p.dim", {}, "Loading the keys …"));
  let keys;
  try {
    keys = await get("keys");
  } catch (error) {
    return failed(error);
  }
  tree.load(keys);
  setStatus();
  shown?.close();
  shown = null;
  await follow();
  if (store.live) startLive();
}

function failed(error) {
  status.dataset.state = "lost";
  status.textContent = "Not loaded";
  main.replaceChildren(
    message(error.message, { title: "The store could not be read.", retry: () => start() }),
  );
}

function setStatus(state = store.live ? "wait" : "archive", why = "") {
  status.dataset.state = state;
  const texts = {
    wait: "Connecting",
    live: "Live",
    lost: "Connection lost. Trying again …",
    "store-lost": "The store does not answer. Trying again …",
    archive: store.sound === false ? "Archive, damaged" : "Archive",
  };
  status.title = printable(why);
  if (status.textContent !== texts[state]) status.textContent = texts[state];
}

// Live

const reloadKeys = paced(async () => {
  try {
    tree.load(await get("keys"));
  } catch (error) {
    if (error.status === 401) askForToken();
    // Otherwise the status line shows that the server is gone, and all is read again when it is back.
  }
});

function startLive() {
  live ??= new Live({
    update(update) {
      tree.update(update);
      shown?.update?.(update);
    },
    keys(change) {
      reloadKeys();
      shown?.changed?.(change);
    },
    state: setStatus,
    back() {
      tree.forget();
      reloadKeys();
      shown?.refresh?.();
    },
    failed: askForToken,
  });
  live.start();
  watch();
}

// One timer for all ages of samples; a hidden page has none.
let clock = 0;
function tick() {
  const now = context.now();
  for (const one of main.querySelectorAll("[data-age]")) {
    const text = age(Number(one.dataset.age), now);
    if (one.textContent !== text) one.textContent = text;
  }
}
function runClock() {
  clearInterval(clock);
  if (!document.hidden) {
    tick();
    clock = setInterval(tick, 1000);
  }
}
document.addEventListener("visibilitychange", runClock);
runClock();

// Token

/** Send the token that the address holds, and remove it from the address. */
async function useToken() {
  const found = /[#&]token=([^&]*)/.exec(location.hash);
  if (!found) return;
  const rest = location.hash.replace(/([#&])token=[^&]*&?/, "$1").replace(/[#&]$/, "");
  history.replaceState(null, "", rest || location.pathname);
  try {
    await login(decodeURIComponent(found[1]));
  } catch {
    // A wrong token leads to the form.
  }
}

function askForToken() {
  shown?.close();
  shown = null;
  status.dataset.state = "lost";
  status.textContent = "Token needed";
  const input = el("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const problem = el("p", { role: "alert" });
  const send = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await login(input.value);
    } catch (error) {
      problem.textContent = error.message;
      input.select();
      return;
    }
    start();
  };
  main.replaceChildren(
    el(
      "form.message",
      { onsubmit: send, "data-kind": "login" },
      el("h1", {}, "This page needs a token"),
      el("p", {}, "It was given to telstate serve, or printed by it."),
      el("label", { for: "token" }, "Token"),
      el("div.line", {}, input, el("button.primary", { type: "submit" }, "Log in")),
      problem,
    ),
  );
  input.focus();
}

// Header, drawer and keyboard

const drawer = byId("drawer");
function closeDrawer() {
  document.body.classList.remove("open");
  drawer.setAttribute("aria-expanded", "false");
}
drawer.addEventListener("click", () => {
  const open = document.body.classList.toggle("open");
  drawer.setAttribute("aria-expanded", String(open));
  if (open) byId("search").focus();
});
byId("main").addEventListener("click", closeDrawer);

const theme = byId("theme");
theme.value = document.documentElement.dataset.theme ?? "auto";
theme.addEventListener("change", () => {
  if (theme.value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem("telstate-theme", theme.value);
  } catch {
    // Storage may be forbidden; the choice then holds for this page.
  }
  shown?.recolour?.();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown?.recolour?.());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing && tree) {
    event.preventDefault();
    if (getComputedStyle(drawer).display !== "none" && !document.body.classList.contains("open")) drawer.click();
    tree.focusSearch();
  } else if (event.key === "Escape" && document.body.classList.contains("open") && !typing) {
    closeDrawer();
    drawer.focus();
  }
});

addEventListener("hashchange", () => {
  if (/[#&]token=/.test(location.hash)) start();
  else if (tree && store) follow();
});
addEventListener("popstate", () => {
  if (tree && store && !/[#&]token=/.test(location.hash)) follow();
});

start();
