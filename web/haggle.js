// @ts-check
/**
 * The event stream of Haggle in a browser. It comes back by itself after any failure and resumes where it was, renews
 * what lets it in, gives up on a silent connection, and is shared by all tabs of one user.
 *
 *     const stream = openStream({
 *       user, token: async () => (await fetch("/my/token")).text(),
 *       onResync: async () => { const list = await load("/v1/rooms"); show(list); return list.position; },
 *       onEvent: (event) => { if (event.type === "new_message") add(event.room_id, event.message); },
 *     });
 *
 * Everything else is plain `fetch` of the API. This file needs no other.
 */

/** @typedef {import("./api.d.ts").StreamEvent} StreamEvent */
/** @typedef {import("./api.d.ts").Problem} Problem */
/** @typedef {"connecting" | "open" | "waiting" | "closed"} StreamState */
/** @typedef {{ event: StreamEvent, id?: string, before?: string }} Item  an event, its cursor, the cursor before it */

/**
 * @typedef {object} StreamOptions
 * @property {string} user  Whose stream this is: the `sub` of the tokens.
 * @property {(need: { fresh: boolean }) => string | Promise<string>} token  A token that is good for a while; asked for
 *   at every connection. `fresh`: the server answered 401 to the last one, do not return it from a cache again.
 * @property {(event: StreamEvent, cursor?: string) => unknown} onEvent  Each event, in order, once.
 * @property {(reason: string) => string | void | Promise<string | void>} onResync  Fetch everything: at first, and when
 *   what was missed cannot be replayed. Events wait for it; those at or before the `position` it returns are left out.
 *   If it throws it is called again.
 * @property {(state: StreamState) => unknown} [onState]  For a banner.
 * @property {(problem: Problem) => unknown} [onRefused]  The server does not let this user in: the stream is closed.
 * @property {string} [url]  Where Haggle is; "" for the page's own origin.
 * @property {"cookie" | "bearer"} [mode]  `cookie`: an EventSource, for pages of the same site. `bearer`: fetch, for
 *   other sites. By default cookie, unless there is a `url`.
 * @property {boolean} [share]  Whether tabs of this origin share one stream; true by default.
 */

/** How long a stream that says nothing is believed in, in heartbeats. */
const SILENT_HEARTBEATS = 2.5;
/** How long before its token's end a stream is opened anew, in ms; sooner if the token is short-lived. */
const RENEW_BEFORE = 30_000;
/** The longest wait between attempts, in ms. */
const LONGEST_WAIT = 30_000;
/** How often a tab tells the one that holds the stream whether it is in view, and how long that holds, in ms. */
const VIEWING_EVERY = 20_000, VIEWING_FOR = 50_000;
/** A stream that ends sooner is no success, in ms. */
const SETTLED = 5_000;
const NAMES = ["hello", "room_created_with_you", "new_message", "new_last_view", "presence", "activity_change",
  "typing_change", "heartbeat", "resync", "goodbye"];

/**
 * Opens the event stream of one user, for as long as the page lives or until `close()`.
 * @param {StreamOptions} options
 * @returns {{ close(): void }}
 */
export function openStream(options) {
  const inbox = new Inbox(options);
  // Web Locks need a secure context: https, or this very machine.
  const shared = options.share !== false && globalThis.navigator?.locks && globalThis.BroadcastChannel;
  return shared ? new Tab(options, inbox) : new Alone(options, inbox);
}

/** A new UUID of version 7 (RFC 9562 §5.7): the key a message is sent, and sent again, with. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  new DataView(bytes.buffer).setBigUint64(0, (BigInt(Date.now()) << 16n) | BigInt(bytes[6] << 8 | bytes[7]));
  bytes[6] = bytes[6] & 0x0f | 0x70;
  bytes[8] = bytes[8] & 0x3f | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** When a token (RFC 7519) expires, in ms since 1970; `Infinity` if it does not say. @param {string} token */
export function expiryOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return typeof claims.exp === "number" ? claims.exp * 1000 : Infinity;
  } catch {
    return Infinity;
  }
}

/** Reads server-sent events from bytes, however they are cut (WHATWG HTML §9.2.6). */
export class EventParser {
  #decoder = new TextDecoder();
  #rest = "";
  #afterReturn = false;
  #name = "";
  /** @type {string[]} */
  #data = [];
  /** The id that the next event has, or had. */
  lastEventId = "";
  /** What the server last said about coming back, in ms. @type {number | undefined} */
  retry = undefined;

  /** @param {(name: string, data: string, lastEventId: string) => unknown} hear */
  constructor(hear) {
    this.hear = hear;
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return;
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    this.#afterReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.lastEventId = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  #dispatch() {
    const [name, data] = [this.#name || "message", this.#data];
    this.#name = "";
    this.#data = [];
    if (data.length > 0) this.hear(name, data.join("\n"), this.lastEventId);
  }
}

/** The place in a cursor `<epoch>-<position>`; -1 without one. @param {string | undefined} cursor */
const place = (cursor) => cursor ? Number(cursor.slice(cursor.lastIndexOf("-") + 1)) : -1;
/** @param {string | undefined} cursor */
const epoch = (cursor) => cursor ? cursor.slice(0, cursor.lastIndexOf("-")) : "";
/** Whether a cursor is at or before another. @param {string | undefined} a @param {string | undefined} b */
const reached = (a, b) => epoch(a) === epoch(b) && place(a) <= place(b);
/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Hands events to the page in order, each once, and none while it fetches everything. */
class Inbox {
  /** The cursor to resume from. @type {string | undefined} */
  cursor = undefined;
  /** What has been fetched holds all up to here. @type {string | undefined} */
  #fetched = undefined;
  #work = Promise.resolve();
  closed = false;

  /** @param {StreamOptions} options */
  constructor(options) {
    this.options = options;
  }

  /** @param {Item} item */
  take({ event, id, before }) {
    const fresh = this.cursor === undefined;
    if (fresh && event.type !== "hello" && event.type !== "resync") return;
    if (id && !fresh && event.type !== "resync") {
      // Another tab's stream may be behind this tab, or may have heard what this tab did not.
      if (reached(id, this.cursor)) id = event.type === "hello" ? undefined : id;
      else if (before !== this.cursor) this.#fetch("missed");
      if (id && reached(id, this.cursor)) return;
    }
    if (id) this.cursor = id;
    this.#then(() => {
      if (!id || event.type === "hello" || !reached(id, this.#fetched)) return this.options.onEvent(event, id);
    });
    if (event.type === "resync") this.#fetch(event.reason);
    else if (fresh) this.#fetch("fresh");
  }

  /** @param {string} reason */
  #fetch(reason) {
    this.#then(async () => {
      for (let wait = 500; !this.closed; wait = Math.min(2 * wait, LONGEST_WAIT)) {
        try {
          this.#fetched = (await this.options.onResync(reason)) || undefined;
          return;
        } catch (error) {
          console.warn("haggle: fetching failed, trying again", error);
          await pause(wait);
        }
      }
    });
  }

  /** @param {() => unknown} job */
  #then(job) {
    this.#work = this.#work.then(() => this.closed ? undefined : job()).then(() => {}, (error) => {
      console.error("haggle: a handler failed", error);
    });
  }
}

/** Why the server does not answer with a stream. */
class Refused extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }
}

/** Throws what the server says in place of success. @param {Response} response */
async function demand(response) {
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ code: "not_haggle" }));
  throw new Refused({ ...problem, status: response.status });
}

/** The connection to the server, one after the other. */
class Upstream {
  #stop = new AbortController();
  /** Ends the connection of the moment. */
  #hangUp = () => {};
  /** Ends the wait of the moment. */
  #hurry = () => {};
  #told = true;
  /** Whether the last token was refused. */
  #stale = false;
  #connection = "";
  #heartbeat = 15;
  #retry = 2_000;
  /** @type {string | undefined} */
  #goodbye = undefined;
  viewing = true;

  /**
   * @param {StreamOptions} options
   * @param {() => string | undefined} cursor
   * @param {{ item(item: Item): void, state(state: StreamState): void, refused(problem: Problem): void }} to
   */
  constructor(options, cursor, to) {
    this.options = options;
    this.cursor = cursor;
    this.to = to;
    this.url = options.url ?? "";
    this.mode = options.mode ?? (this.url === "" && "EventSource" in globalThis ? "cookie" : "bearer");
    const { signal } = this.#stop;
    // What is open may never hear of it: coming back by the cursor is cheaper than waiting for the silence to be noticed.
    globalThis.addEventListener?.("offline", () => this.#hangUp(), { signal });
    globalThis.addEventListener?.("online", () => { this.#hurry(); this.#hangUp(); }, { signal });
    globalThis.document?.addEventListener("visibilitychange", () => this.#hurry(), { signal });
    this.#run();
  }

  close() {
    this.#stop.abort();
    this.#hangUp();
    this.#hurry();
  }

  /** @param {boolean} viewing */
  view(viewing) {
    this.viewing = viewing;
    this.#tellViewing();
  }

  async #run() {
    for (let failures = 0; !this.#stop.signal.aborted;) {
      this.to.state("connecting");
      this.#goodbye = undefined;
      const began = Date.now();
      try {
        await this.#connect(await this.#token());
      } catch (error) {
        const problem = error instanceof Refused ? error.problem : undefined;
        if (problem?.status === 401) this.#stale = true;
        if (problem && ["unknown_user", "deactivated", "user_only"].includes(problem.code)) {
          return this.to.refused(problem);
        }
      }
      this.#connection = "";
      if (this.#stop.signal.aborted) break;
      failures = Date.now() - began > SETTLED ? 0 : failures + 1;
      this.to.state("waiting");
      await this.#wait(failures);
    }
  }

  async #token() {
    const fresh = this.#stale;
    const token = await this.options.token({ fresh });
    this.#stale = false;
    return token;
  }

  /** Clean ends are followed at once, others after what the server asked for, longer each time, never in step. */
  #wait(/** @type {number} */ failures) {
    const clean = ["token_expired", "access_changed", "rotated", "too_slow", "renew"].includes(this.#goodbye ?? "");
    let ms = clean && failures < 2 ? 300 : Math.min(this.#retry * 2 ** Math.max(0, failures - 1), LONGEST_WAIT);
    if (this.#goodbye === "too_many_streams") ms = Math.max(ms, 60_000);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms * (0.5 + Math.random() / 2));
      this.#hurry = () => { clearTimeout(timer); resolve(undefined); };
    });
  }

  /** Opens a connection and returns when it has ended. @param {string} token */
  async #connect(token) {
    const hangUp = new AbortController();
    let silence = setTimeout(() => hangUp.abort(), SILENT_HEARTBEATS * this.#heartbeat * 1000);
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => hangUp.abort(), SILENT_HEARTBEATS * this.#heartbeat * 1000);
    };
    const left = Math.min(expiryOf(token) - Date.now(), 2 ** 31 - 1);
    const renewal = setTimeout(() => { this.#goodbye = "renew"; hangUp.abort(); }, left - Math.min(RENEW_BEFORE, left / 2));
    this.#hangUp = () => hangUp.abort();
    this.#told = this.viewing;
    try {
      await (this.mode === "cookie" ? this.#byCookie(token, hangUp.signal, heard)
        : this.#byBearer(token, hangUp.signal, heard));
    } finally {
      clearTimeout(silence);
      clearTimeout(renewal);
      this.#hangUp = () => {};
    }
  }

  /** @param {string} token @param {AbortSignal} signal @param {() => void} heard */
  async #byBearer(token, signal, heard) {
    const cursor = this.cursor();
    const headers = { Authorization: `Bearer ${token}`, ...(cursor && { "Last-Event-ID": cursor }) };
    const path = `${this.url}/v1/events?viewing=${this.#told}`;
    const { body } = await demand(await fetch(path, { headers, signal, cache: "no-store" }));
    if (!body) return;
    const reader = body.getReader();
    let id = "";
    const parser = new EventParser((_, data, lastEventId) => {
      this.#hear(data, lastEventId === id ? "" : lastEventId);
      id = lastEventId;
    });
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.push(value);
      heard();
      this.#retry = parser.retry ?? this.#retry;
    }
  }

  /** @param {string} token @param {AbortSignal} signal @param {() => void} heard */
  async #byCookie(token, signal, heard) {
    const session = { method: "POST", headers: { Authorization: `Bearer ${token}` }, signal };
    await demand(await fetch(`${this.url}/v1/events/session`, { ...session, credentials: "include" }));
    const cursor = this.cursor();
    const query = { user_id: this.options.user, viewing: String(this.#told), ...(cursor && { after: cursor }) };
    const path = `${this.url}/v1/events?${new URLSearchParams(query)}`;
    const source = new EventSource(path, { withCredentials: true });
    let id = "";
    const hear = (/** @type {MessageEvent<string>} */ { data, lastEventId }) => {
      this.#hear(data, lastEventId === id ? "" : lastEventId);
      id = lastEventId;
      heard();
    };
    for (const name of NAMES) source.addEventListener(name, hear);
    // It would come back by itself, but not after another status than 200, and not with a new cookie.
    await new Promise((resolve) => {
      source.onerror = resolve;
      signal.addEventListener("abort", resolve);
      if (signal.aborted) resolve(undefined);
    });
    source.close();
  }

  /** @param {string} data @param {string} id  "" if this event has none of its own */
  #hear(data, id) {
    if (this.#stop.signal.aborted) return;
    /** @type {StreamEvent} */
    const event = JSON.parse(data);
    if (event.type === "hello") {
      this.#connection = event.connection_id;
      this.#heartbeat = event.heartbeat_seconds;
      this.to.state("open");
      this.#tellViewing();
    } else if (event.type === "goodbye") {
      this.#goodbye = event.reason;
    }
    this.to.item({ event, id: id || undefined, before: this.cursor() });
  }

  async #tellViewing() {
    if (this.#connection === "" || this.viewing === this.#told) return;
    const viewing = this.#told = this.viewing;
    const headers = { Authorization: `Bearer ${await this.#token()}`, "Content-Type": "application/json" };
    const body = JSON.stringify({ viewing });
    const path = `${this.url}/v1/events/${this.#connection}/viewing`;
    // A hint: if it is lost, the next change or connection tells it.
    const answer = await fetch(path, { method: "PUT", headers, body, keepalive: true }).catch(() => undefined);
    if (answer?.status === 401) this.#stale = true;
  }
}

const inView = () => globalThis.document?.visibilityState !== "hidden";

/** A page with a stream of its own. */
class Alone {
  #stop = new AbortController();

  /** @param {StreamOptions} options @param {Inbox} inbox */
  constructor(options, inbox) {
    this.inbox = inbox;
    this.upstream = new Upstream(options, () => inbox.cursor, {
      item: (item) => inbox.take(item),
      state: (state) => options.onState?.(state),
      refused: (problem) => { options.onState?.("closed"); options.onRefused?.(problem); },
    });
    this.upstream.viewing = inView();
    const { signal } = this.#stop;
    globalThis.document?.addEventListener("visibilitychange", () => this.upstream.view(inView()), { signal });
  }

  close() {
    this.inbox.closed = true;
    this.#stop.abort();
    this.upstream.close();
  }
}

/** Who is there, to tell tabs that come later. */
class Presence {
  /** @type {Map<string, "online" | "away" | "offline">} */
  #people = new Map();
  /** @type {Map<string, { room_id: string, user_id: string }>} */
  #typing = new Map();

  /** @param {StreamEvent} event */
  apply(event) {
    if (event.type === "presence") {
      this.#people = new Map();
      for (const id of event.online) this.#people.set(id, "online");
      for (const id of event.away) this.#people.set(id, "away");
      this.#typing = new Map(event.typing.map((it) => [it.room_id + it.user_id, it]));
    } else if (event.type === "activity_change") {
      this.#people.set(event.user_id, event.activity_state);
    } else if (event.type === "typing_change") {
      const { room_id, user_id } = event;
      if (event.currently_typing) this.#typing.set(room_id + user_id, { room_id, user_id });
      else this.#typing.delete(room_id + user_id);
    }
  }

  /** @returns {StreamEvent} */
  event() {
    const having = (/** @type {string} */ state) => [...this.#people].filter((it) => it[1] === state).map((it) => it[0]);
    return { type: "presence", online: having("online"), away: having("away"), typing: [...this.#typing.values()] };
  }
}

/**
 * One of several tabs. The one that holds the lock has the stream and tells the others; when it goes, the next gets
 * the lock and resumes from its own cursor.
 */
class Tab {
  #stop = new AbortController();
  #id = newKey();
  /** @type {StreamState} */
  #state = "connecting";
  /** @type {Upstream | undefined} */
  #upstream = undefined;
  /** Which tabs are in view, and since when that is known. @type {Map<string, number>} */
  #viewing = new Map();
  #presence = new Presence();
  /** @type {StreamEvent | undefined} */
  #hello = undefined;

  /** @param {StreamOptions} options @param {Inbox} inbox */
  constructor(options, inbox) {
    this.options = options;
    this.inbox = inbox;
    const name = `haggle ${options.url ?? ""} ${options.user}`;
    const { signal } = this.#stop;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = ({ data }) => this.#heard(data);
    navigator.locks.request(name, { signal }, () => this.#lead()).catch(() => {});
    const tell = () => this.#tellViewing();
    document.addEventListener("visibilitychange", tell, { signal });
    const often = setInterval(tell, VIEWING_EVERY);
    signal.addEventListener("abort", () => clearInterval(often));
    this.#post({ kind: "join" });
    tell();
  }

  close() {
    this.inbox.closed = true;
    this.#post({ kind: "viewing", tab: this.#id, viewing: false });
    this.#stop.abort();
    this.#upstream?.close();
    this.channel.close();
  }

  /** @param {object} message */
  #post(message) {
    if (!this.#stop.signal.aborted) this.channel.postMessage(message);
  }

  /** Holds the lock, and the stream, until this tab is closed. */
  #lead() {
    this.#upstream = new Upstream(this.options, () => this.inbox.cursor, {
      item: (item) => {
        this.#presence.apply(item.event);
        if (item.event.type === "hello") this.#hello = item.event;
        this.#post({ kind: "item", item });
        this.inbox.take(item);
      },
      state: (state) => { this.#become(state); this.#post({ kind: "state", state }); },
      refused: (problem) => { this.#refused(problem); this.#post({ kind: "refused", problem }); },
    });
    this.#tellViewing();
    return new Promise((resolve) => this.#stop.signal.addEventListener("abort", resolve));
  }

  /** @param {any} message */
  #heard(message) {
    if (message.kind === "viewing" && this.#upstream) {
      if (message.viewing) this.#viewing.set(message.tab, Date.now());
      else this.#viewing.delete(message.tab);
      this.#combineViewing();
    } else if (message.kind === "join" && this.#upstream) {
      const [hello, presence] = [this.#hello, this.#presence.event()];
      this.#post({ kind: "welcome", state: this.#state, hello, presence, cursor: this.inbox.cursor });
    } else if (this.#upstream) {
      return;
    } else if (message.kind === "item") {
      this.inbox.take(message.item);
    } else if (message.kind === "welcome") {
      this.#become(message.state);
      if (this.inbox.cursor !== undefined || !message.hello) return;
      this.inbox.take({ event: { ...message.hello, resumed: false }, id: message.cursor });
      this.inbox.take({ event: message.presence });
    } else if (message.kind === "state") {
      this.#become(message.state);
    } else if (message.kind === "refused") {
      this.#refused(message.problem);
    }
  }

  /** @param {StreamState} state */
  #become(state) {
    this.#state = state;
    this.options.onState?.(state);
  }

  /** @param {Problem} problem */
  #refused(problem) {
    this.#become("closed");
    this.options.onRefused?.(problem);
  }

  #tellViewing() {
    if (this.#upstream) this.#combineViewing();
    else this.#post({ kind: "viewing", tab: this.#id, viewing: inView() });
  }

  #combineViewing() {
    for (const [tab, since] of this.#viewing) if (Date.now() - since > VIEWING_FOR) this.#viewing.delete(tab);
    this.#upstream?.view(inView() || this.#viewing.size > 0);
  }
}
