// Server-sent events of the keys in sight, and whether there is a connection. A hidden page has none.
import { debounce, get, path } from "./api.js";

const MAX_KEYS = 200;
const PAUSES = [500, 1000, 2000, 5000];
// After so much time without events, the server is asked whether it is there.
const QUIET = 30_000;

export class Live {
  #source = null;
  #keys = [];
  #timer = 0;
  #attempt = 0;
  #heard = 0;
  #why = "";

  /**
   * `on.update(update)`, `on.keys(change)`, `on.state(state, why)` with "live", "lost" or "store-lost", and
   * `on.back()` after a pause, when all that is shown may be old. `on.failed(error)` when asking to log in.
   */
  constructor(on) {
    this.on = on;
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  start() {
    this.started = true;
    if (!document.hidden) this.#connect();
  }

  /** Ask for the updates of other keys. */
  watch(keys) {
    const wanted = [...new Set(keys)].slice(0, MAX_KEYS).sort();
    if (wanted.join("\0") === this.#keys.join("\0")) return;
    this.#keys = wanted;
    this.#reconnect();
  }

  #reconnect = debounce(250, () => {
    if (this.#source) this.#connect();
  });

  #visibility() {
    if (!this.started) return;
    if (document.hidden) this.#close();
    else this.#retry();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #connect() {
    this.#close();
    const source = (this.#source = new EventSource(path("events", { key: this.#keys })));
    const listen = (name, work) =>
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return;
        this.#heard = Date.now();
        work(event.data ? JSON.parse(event.data) : {});
      });
    listen("open", () => {
      this.#attempt = 0;
      this.#why = "";
      this.on.state("live");
      this.#listenOn();
    });
    listen("update", (update) => this.on.update(update));
    listen("keys", (change) => this.on.keys(change));
    listen("lost", ({ why }) => {
      this.#why = why ?? "";
      this.on.state("store-lost", this.#why);
    });
    listen("regained", () => {
      this.on.state("live");
      this.on.back();
    });
    source.onerror = () => {
      if (source === this.#source) this.#lost();
    };
  }

  #listenOn() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      if (Date.now() - this.#heard < QUIET) return this.#listenOn();
      const source = this.#source;
      try {
        await get("store", {}, AbortSignal.timeout(QUIET));
        this.#heard = Date.now();
        if (source && source === this.#source) this.#listenOn();
      } catch {
        if (source && source === this.#source) this.#lost();
      }
    }, QUIET);
  }

  #lost() {
    this.#close();
    this.on.state("lost");
    const pause = PAUSES[Math.min(this.#attempt++, PAUSES.length - 1)];
    this.#timer = setTimeout(() => this.#retry(), pause);
  }

  async #retry() {
    clearTimeout(this.#timer);
    try {
      await get("store");
    } catch (error) {
      if (error.status === 401) return this.on.failed(error);
      if (!document.hidden) this.#lost();
      return;
    }
    if (document.hidden) return;
    this.#connect();
    this.on.back();
  }
}
