// Requests to the server. All answers are JSON, errors too.
import { encodeKey } from "./address.js";

/** An answer other than the one asked for; `status` is 0 if there was no answer. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Return the path of a route; arguments that are null are left out, and lists are repeated. */
export function path(route, query = {}) {
  const fields = [];
  for (const [name, value] of Object.entries(query))
    for (const one of [value].flat())
      if (one !== null && one !== undefined && one !== "")
        fields.push(`${name}=${encodeKey(String(one))}`);
  return `api/${route}` + (fields.length ? "?" + fields.join("&") : "");
}

/** Fetch an answer. */
export async function get(route, query, signal) {
  return request(path(route, query), { signal });
}

/** Send the token, for which the server sets a cookie. */
export async function login(token) {
  const body = JSON.stringify({ token });
  const headers = { "Content-Type": "application/json" };
  await request("api/login", { method: "POST", body, headers });
}

async function request(address, options) {
  let response;
  try {
    response = await fetch(address, { ...options, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server of this page does not answer. Is telstate serve running?", 0);
  }
  if (response.status === 204) return null;
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(`The server answered with status ${response.status}, not JSON.`, response.status);
  }
  if (!response.ok) throw new ApiError(answer.error ?? `Status ${response.status}.`, response.status);
  return answer;
}

/** Runs one request at a time: a new one aborts the one before, whose answer is dropped. */
export class Latest {
  #controller = null;

  /** Return the answer, or undefined if another request has been made since. */
  async run(work) {
    this.cancel();
    const controller = (this.#controller = new AbortController());
    try {
      const answer = await work(controller.signal);
      return controller.signal.aborted ? undefined : answer;
    } catch (error) {
      if (controller.signal.aborted) return undefined;
      throw error;
    }
  }

  cancel() {
    this.#controller?.abort();
    this.#controller = null;
  }
}

/** Return a function that calls another one once, some time after the last call. */
export function debounce(delay, work) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(work, delay, ...args);
  };
}

/**
 * Return a function that has work done soon, however often it is called: at most every `least` milliseconds, and
 * with pauses of several times what the work takes. Its `cancel` forgets what is to be done.
 */
export function paced(work, least = 1000, most = 15_000) {
  let timer = 0;
  let took = 0;
  const run = async () => {
    timer = 0;
    const began = performance.now();
    await work();
    took = performance.now() - began;
  };
  const call = () => {
    timer ||= setTimeout(run, Math.min(Math.max(least, 8 * took), most));
  };
  call.cancel = () => {
    clearTimeout(timer);
    timer = 0;
  };
  return call;
}
