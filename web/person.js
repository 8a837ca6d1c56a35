// @ts-check
/** One person at the server: their state, what they can do, and the stream that keeps it true. */

import { expiryOf, newKey, openStream } from "./haggle.js";
import { begin, changing, doneAlready, reduce, unread } from "./state.js";
import { fileName, fullName, lostRace, money, refusal } from "./words.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Action} Action */
/** @typedef {import("./state.js").Pending} Pending */
/** @typedef {import("./api.d.ts").Problem} Problem */
/** @typedef {{ content: string, change?: Pending["change"], campaign?: string, file?: File }} Draft */

/** Messages in a page. */
const PAGE = 40;
/** `typing` is repeated after so long, in ms; it holds for 7 s. */
const TYPING_EVERY = 3_000;
/** How often sending is tried again, at most, in ms. */
const LONGEST_WAIT = 15_000;

/** How long an answer may take to begin, in ms: the server has one within 4.9 s, whatever happens to it. */
const ANSWER_WITHIN = 10_000;
/** How long the rest of it may take, and how long an upload may stand still, in ms: connections may be slow. */
const PATIENCE = 60_000;

/** How long until a conversation that could not be loaded is loaded again, in ms. */
const LOAD_AGAIN = 2_000;

/** How long until it is said again what has been seen, in ms. */
const SAY_AGAIN = 5_000;

/** How long the preview of a picture is kept after it was sent, in ms: it is shown until the page shows the original. */
const PREVIEW_FOR = 60_000;

/** An answer that is no success. */
export class Refused extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }

  /** Whether the same again may succeed. */
  get passing() {
    return this.problem.status === 503 || this.problem.status === 429 || this.problem.status === 502;
  }
}

/**
 * Fetches, or gives up. Bypasses the browser's cache: in it, two people who ask for the same path wait for each other.
 * @param {string} path
 * @param {RequestInit} [init]
 */
export async function ask(path, init) {
  const late = new AbortController();
  const giveUp = () => late.abort(new DOMException("there was no answer", "TimeoutError"));
  const timer = setTimeout(giveUp, ANSWER_WITHIN);
  try {
    const answer = await fetch(path, { ...init, cache: "no-store", signal: late.signal });
    setTimeout(giveUp, PATIENCE);
    return answer;
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string} user @returns {Promise<string>} */
async function demoToken(user) {
  const headers = { "Content-Type": "application/json" };
  const answer = await ask("/demo/token", { method: "POST", headers, body: JSON.stringify({ user_id: user }) });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return (await answer.json()).token;
}

export class Person {
  /** @type {State} */
  state;
  #token = "";
  /** @type {Set<() => void>} */
  #watchers = new Set();
  #announced = true;
  #closed = false;
  /** When typing was last said, by room. @type {Map<string, number>} */
  #typing = new Map();
  /** The last thing sent in each room: messages keep their order. @type {Map<string, Promise<unknown>>} */
  #lines = new Map();
  /** @type {Map<string, File>} */
  #files = new Map();
  /** @type {Set<string>} */
  #loading = new Set();
  /** When a conversation is loaded again. @type {ReturnType<typeof setTimeout> | undefined} */
  #again;
  /** What has been seen and could not be said yet, by room. @type {Map<string, number>} */
  #unsaid = new Map();

  /**
   * @param {string} id
   * @param {import("./api.d.ts").ServerConfig} config
   * @param {"cookie" | "bearer"} mode  of the stream: two people on one page need `bearer`
   */
  constructor(id, config, mode) {
    this.id = id;
    this.config = config;
    this.state = begin(id);
    this.stream = openStream({
      user: id, mode, token: (need) => this.token(need),
      onResync: () => this.load(),
      onEvent: (event) => this.dispatch({ type: "event", event }),
      onState: (link) => {
        this.dispatch({ type: "link", link });
        if (link === "open") for (const room of [...this.#unsaid.keys()]) this.#sayUnsaid(room);
      },
      onRefused: (problem) => this.dispatch({ type: "refused", why: refusal(problem) }),
    });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#again);
    this.stream.close();
    this.#watchers.clear();
  }

  /** @param {() => void} watcher */
  watch(watcher) {
    this.#watchers.add(watcher);
    watcher();
  }

  /** @param {Action} action */
  dispatch(action) {
    const next = reduce(this.state, action);
    if (next === this.state || this.#closed) return;
    this.state = next;
    this.#reload();
    if (!this.#announced) return;
    this.#announced = false;
    // One drawing for all that happens at once.
    queueMicrotask(() => {
      this.#announced = true;
      for (const watcher of this.#watchers) watcher();
    });
  }

  /** A token that is good for a while; `fresh`: the last one was refused. @param {{ fresh?: boolean }} [need] */
  async token({ fresh = false } = {}) {
    if (fresh) this.#token = "";
    if (expiryOf(this.#token || "..") - Date.now() > 60_000 && this.#token) return this.#token;
    this.#token = await demoToken(this.id);
    return this.#token;
  }

  /**
   * Calls the API.
   * @param {string} path
   * @param {{ method?: string, body?: object, key?: string }} [options]
   * @returns {Promise<any>}
   */
  async call(path, { method = "GET", body, key } = {}) {
    const token = await this.token();
    /** @type {Record<string, string>} */
    const headers = { Authorization: `Bearer ${token}` };
    if (body) headers["Content-Type"] = "application/json";
    if (key) headers["Idempotency-Key"] = key;
    const attempt = () => ask(path, { method, headers, body: body && JSON.stringify(body) });
    let answer = await attempt();
    if (answer.status === 401) {
      this.#distrust(token);
      headers.Authorization = `Bearer ${await this.token()}`;
      answer = await attempt();
    }
    if (!answer.ok) {
      throw new Refused(await answer.json().catch(() => ({ status: answer.status, code: "not_haggle" })));
    }
    return answer.status === 204 ? undefined : answer.json();
  }

  /** Forgets a token that was refused, unless there is another one already. @param {string} token */
  #distrust(token) {
    if (this.#token === token) this.#token = "";
  }

  /** Fetches everything; returns the cursor it is consistent with. */
  async load() {
    /** @type {import("./api.d.ts").Rooms} */
    const first = await this.call("/v1/rooms?limit=200");
    const rooms = [...first.rooms];
    for (let next = first.next; next;) {
      const page = await this.call(`/v1/rooms?limit=200&cursor=${encodeURIComponent(next)}`);
      rooms.push(...page.rooms);
      next = page.next;
    }
    this.dispatch({ type: "rooms", rooms });
    // Marks and contracts of the open room may have moved without a message.
    if (this.state.open && !this.state.rooms[this.state.open]?.gone) await this.loadRoom(this.state.open);
    return first.position;
  }

  /** Loads the room that is open if what is there has a hole, until it has none. */
  #reload() {
    const room = this.state.open ? this.state.rooms[this.state.open] : undefined;
    if (!room || room.loaded || room.gone || !this.state.ready || this.#closed) return;
    this.loadRoom(room.id).catch((error) => {
      if (this.#again !== undefined || (error instanceof Refused && !error.passing)) return;
      console.info("haggle: a conversation could not be loaded, trying again", error);
      this.#again = setTimeout(() => {
        this.#again = undefined;
        this.#reload();
      }, LOAD_AGAIN);
    });
  }

  /** @param {string} id */
  async loadRoom(id) {
    if (this.#loading.has(id)) return;
    this.#loading.add(id);
    /** @type {import("./api.d.ts").DetailedRoom} */
    let room;
    try {
      room = await this.call(`/v1/rooms/${id}?message_qty=${PAGE}`);
    } finally {
      this.#loading.delete(id);
    }
    // What has come meanwhile may not be in it: then this loads it again.
    this.dispatch({ type: "room", room });
  }

  /** @param {string} id */
  async loadOlder(id) {
    const first = this.state.rooms[id]?.messages[0];
    if (!first || this.#loading.has(`${id} older`)) return;
    this.#loading.add(`${id} older`);
    try {
      const room = await this.call(`/v1/rooms/${id}?message_qty=${PAGE}&message_before=${first.id}`);
      this.dispatch({ type: "older", room });
    } finally {
      this.#loading.delete(`${id} older`);
    }
  }

  /** @param {string | undefined} room */
  open(room) {
    this.dispatch({ type: "open", room });
  }

  /** Says that everything in a room has been seen. @param {string} id */
  see(id) {
    const room = this.state.rooms[id];
    if (!room || unread(this.state, room) === 0) return;
    const seen_till = room.last.id;
    this.dispatch({ type: "seen", room: id, till: seen_till });
    this.#saySeen(id, seen_till);
  }

  /** @param {string} room @param {number} seen_till */
  #saySeen(room, seen_till) {
    this.#unsaid.delete(room);
    this.call(`/v1/rooms/${room}/last-seen`, { method: "PUT", body: { seen_till } }).catch((error) => {
      if (error instanceof Refused && !error.passing) return;
      this.#unsaid.set(room, Math.max(seen_till, this.#unsaid.get(room) ?? 0));
      setTimeout(() => this.#sayUnsaid(room), SAY_AGAIN);
    });
  }

  /** @param {string} room */
  #sayUnsaid(room) {
    const till = this.#unsaid.get(room);
    if (till !== undefined && !this.#closed) this.#saySeen(room, till);
  }

  /** @param {string} room @param {boolean} typing */
  type(room, typing) {
    const last = this.#typing.get(room) ?? 0;
    if (typing ? Date.now() - last < TYPING_EVERY : last === 0) return;
    this.#typing.set(room, typing ? Date.now() : 0);
    this.call(`/v1/rooms/${room}/typing`, { method: "PUT", body: { typing } }).catch(() => {});
  }

  /**
   * Sends, in order, until it is known to be sent or refused; a change of a contract only if no other is on its way.
   * @param {string} room
   * @param {Draft} draft
   */
  send(room, { content, change, campaign, file }) {
    const known = this.state.rooms[room];
    if (change && known && changing(known)) return;
    const key = newKey();
    const preview = file && /^image\/(png|jpeg|gif|webp|avif)$/.test(file.type) ? URL.createObjectURL(file) : undefined;
    if (file) this.#files.set(key, file);
    this.#typing.set(room, 0);
    if (change) this.dispatch({ type: "notice", room });
    this.#queue(room, {
      key, content, change, campaign, at: new Date().toISOString(), stage: "sending",
      file: file && { id: newKey(), name: fileName(file.name), size: file.size, type: file.type, preview },
    });
  }

  /** @param {string} room @param {Pending} pending */
  retry(room, pending) {
    this.#queue(room, { ...pending, stage: "sending", why: undefined, progress: undefined });
  }

  /** @param {string} room @param {Pending} pending */
  drop(room, pending) {
    this.#files.delete(pending.key);
    this.dispatch({ type: "dropped", room, key: pending.key });
  }

  /** @param {string} room @param {Pending} pending */
  #queue(room, pending) {
    this.dispatch({ type: "sending", room, pending });
    const line = (this.#lines.get(room) ?? Promise.resolve()).then(() => this.#deliver(room, pending));
    this.#lines.set(room, line);
  }

  /** @param {string} room @param {Pending} pending */
  async #deliver(room, pending) {
    const { key, content, change, campaign, file } = pending;
    const progress = (/** @type {Partial<Pending>} */ now) => this.dispatch({ type: "progress", room, key, change: now });
    try {
      if (file) await this.#insist(progress, () => this.#upload(pending, (done) => progress({ progress: done })));
      const body = { content, contract_change: change, change_selected_campaign_to: campaign, attachment_id: file?.id };
      const path = `/v1/rooms/${room}/messages`;
      const sent = await this.#insist(progress, () => this.call(path, { method: "POST", key, body }));
      this.#files.delete(key);
      const preview = file?.preview;
      if (preview) setTimeout(() => URL.revokeObjectURL(preview), PREVIEW_FOR);
      this.dispatch({ type: "sent", room, key, number: sent.id });
    } catch (error) {
      this.#refused(room, pending, error instanceof Refused ? error.problem : undefined);
    }
  }

  /**
   * Tries until there is an answer: the key makes sure that it happens once.
   * @template T
   * @param {(now: Partial<Pending>) => void} progress
   * @param {() => Promise<T>} attempt
   */
  async #insist(progress, attempt) {
    for (let wait = 500; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      try {
        return await attempt();
      } catch (error) {
        const again = error instanceof Refused ? error.passing || error.problem.status === 401 : true;
        if (!again || this.#closed) throw error;
        progress({ stage: "waiting" });
        await new Promise((resolve) => {
          setTimeout(resolve, wait);
          addEventListener("online", resolve, { once: true });
        });
      }
    }
  }

  /** Uploads a file; only XMLHttpRequest tells how far it got. @param {Pending} pending @param {(done: number) => void} tell */
  async #upload(pending, tell) {
    const { file } = pending;
    const bytes = this.#files.get(pending.key);
    if (!file || !bytes) throw new Refused(/** @type {Problem} */ ({ detail: "The file is gone.", code: "gone" }));
    const token = await this.token();
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("PUT", `/v1/attachments/${file.id}?name=${encodeURIComponent(file.name)}`);
      request.setRequestHeader("Authorization", `Bearer ${token}`);
      request.setRequestHeader("Content-Type", bytes.type || "application/octet-stream");
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let stalled;
      const moves = () => {
        clearTimeout(stalled);
        stalled = setTimeout(() => request.abort(), PATIENCE);
      };
      request.upload.onprogress = ({ loaded, total }) => {
        moves();
        tell(total > 0 ? loaded / total : 0);
      };
      request.onloadend = () => clearTimeout(stalled);
      request.onabort = () => reject(new Error("the upload stands still"));
      request.onerror = () => reject(new Error("the network failed"));
      request.onload = () => {
        if (request.status < 300) return resolve(undefined);
        if (request.status === 401) this.#distrust(token);
        try {
          reject(new Refused(JSON.parse(request.responseText)));
        } catch (error) {
          reject(error);
        }
      };
      moves();
      request.send(bytes);
    });
  }

  /** @param {string} room @param {Pending} pending @param {Problem | undefined} problem */
  #refused(room, pending, problem) {
    const { change, content, file } = pending;
    const bare = change && content === "" && !file;
    const own = bare && problem?.contract && doneAlready(change, problem.contract, this.id);
    const why = problem?.contract && change ? this.#race(change.type, problem.contract) : refusal(problem);
    if (problem?.contract) this.dispatch({ type: "contract", room, contract: problem.contract });
    if (change && !own) this.dispatch({ type: "notice", room, notice: why });
    // A bare change is told and forgotten; words and files are kept to be sent again.
    if (bare) this.drop(room, pending);
    else this.dispatch({ type: "progress", room, key: pending.key, change: { stage: "failed", why } });
    if (!this.state.rooms[room]?.gone) this.loadRoom(room).catch(() => {});
  }

  /** @param {NonNullable<Pending["change"]>["type"]} attempt @param {import("./api.d.ts").Contract} contract */
  #race(attempt, contract) {
    const author = this.state.users[contract.changed_by];
    const who = contract.changed_by === this.id ? "You" : author ? fullName(author) : "Somebody";
    return lostRace(attempt, contract, who, money(contract.payout, this.config.currency));
  }

  /**
   * Writes to somebody for the first time; returns the room. With the same key again it is written once.
   * @param {object} direction
   * @param {string} content
   * @param {string} key
   */
  async startRoom(direction, content, key) {
    const body = { message: { content }, direction };
    const { room_id } = await this.call("/v1/rooms", { method: "POST", key, body });
    if (!this.state.rooms[room_id]) await this.load();
    this.open(room_id);
    return room_id;
  }

  /** @param {string} room @param {string} campaign @returns {Promise<{ changes: any[] }>} */
  history(room, campaign) {
    return this.call(`/v1/rooms/${room}/contracts/${campaign}/history`);
  }
}
