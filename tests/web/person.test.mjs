// Whatever comes in whatever order, what a person sees ends whole: a model of the server answers late, not at all or
// with 503, and breaks off streams, as seeded chance has it.
import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { Person } from "../../web/person.js";

const RUNS = Number(process.env.HAGGLE_RUNS ?? 120);
const ROOM = "room";
const company = { id: "north", name: "Northwind", logo_url: "" };
const nora = { id: "nora", given_name: "Nora", family_name: "Lind", logo_url: "", status: "online", company };
const ada = { id: "ada", given_name: "Ada", family_name: "Okafor", logo_url: "", status: "online" };

/** A generator of seeded chance (mulberry32): numbers from 0 to below `n`. @param {number} seed */
const chance = (seed) => (n) => {
  seed = seed + 0x6d2b79f5 | 0;
  let mixed = Math.imul(seed ^ seed >>> 15, 1 | seed);
  mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
  return ((mixed ^ mixed >>> 14) >>> 0) % n;
};

/** What happened in all runs: that it is what they are to try. */
const met = { unanswered: 0, refused: 0, broken: 0, said: 0 };

/** One room, its log, and a network on which everything takes its time. */
class World {
  messages = [];
  /** What happens next, in any order; of one stream in its own. @type {(() => void)[]} */
  pending = [];
  streams = new Set();
  faults = true;

  constructor(seed) {
    this.pick = chance(seed);
    for (let i = 0; i < 3; i += 1) this.commit("nora", `before ${i}`, `key ${i}`);
  }
  position() { return `e-${this.messages.length}`; }
  unlucky(n) { return this.faults && this.pick(n) === 0; }

  commit(from, content, key) {
    const known = this.messages.find((it) => it.message_id === key);
    if (known) return known;
    const id = this.messages.length + 1;
    const message = { id, message_id: key, content, from_user: from, timestamp: new Date(id).toISOString(), side: "company" };
    this.messages.push(message);
    for (const stream of this.streams) stream.tell(message);
    return message;
  }

  /** In place of the browser's `fetch`. */
  fetch = (path, { method = "GET", headers = {}, body, signal } = {}) => new Promise((resolve, reject) => {
    signal?.addEventListener("abort", () => {
      if (this.faults && signal.reason.name === "TimeoutError") met.unanswered += 1;
      reject(signal.reason);
    });
    const fail = () => reject(new TypeError("the network failed"));
    this.pending.push(() => {
      if (this.unlucky(12)) return fail();
      if (this.unlucky(20)) return;
      const refused = this.unlucky(12);
      if (refused) met.refused += 1;
      const answer = refused ? json({ status: 503, code: "unavailable" }, 503)
        : this.answer(path, method, headers, body && JSON.parse(body), signal);
      // It may have been done and nobody hears of it.
      if (this.unlucky(20)) return;
      this.pending.push(() => this.unlucky(12) ? fail() : resolve(answer));
    });
  });

  answer(path, method, headers, body, signal) {
    const { pathname } = new URL(path, "http://haggle");
    if (pathname === "/demo/token") return json({ token: "token" });
    if (pathname === "/v1/events") return new Stream(this, headers["Last-Event-ID"], signal).response;
    if (pathname === "/v1/rooms") return json({ rooms: [this.room()], position: this.position() });
    if (method === "POST") return json({ id: this.commit("ada", body.content, headers["Idempotency-Key"]).id }, 201);
    if (pathname === `/v1/rooms/${ROOM}`) {
      const messages = this.messages.slice(-5);
      const page = { messages, has_more: messages[0].id > 1, last_seen: [], contracts: [], position: this.position() };
      return json({ ...this.room(), ...page, users: [ada, nora] });
    }
    return json({}, 200);
  }

  room() {
    return { id: ROOM, users: [nora], company, creator_id: "ada", last_message: this.messages.at(-1), new_messages: 0 };
  }
}

const json = (value, status = 200) => new Response(JSON.stringify(value), { status });

/** One connection of the event stream: what was missed, then what happens. */
class Stream {
  #lines = [];
  constructor(world, cursor, signal) {
    this.world = world;
    const body = new ReadableStream({ start: (to) => { this.to = to; } });
    this.response = new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    const after = cursor === undefined ? world.messages.length : Number(cursor.slice(2));
    const hello = { type: "hello", connection_id: "c", resumed: cursor !== undefined, heartbeat_seconds: 15 };
    this.#say(hello, `e-${after}`);
    for (const message of world.messages.slice(after)) this.tell(message);
    this.#say({ type: "presence", online: [], away: [], typing: [] });
    world.streams.add(this);
    signal?.addEventListener("abort", () => this.#end());
  }
  tell(message) {
    const from_user = message.from_user === "ada" ? ada : nora;
    this.#say({ type: "new_message", room_id: ROOM, message: { ...message, from_user } }, `e-${message.id}`);
  }
  #say(event, id) {
    this.#lines.push(`event: ${event.type}\n${id ? `id: ${id}\n` : ""}data: ${JSON.stringify(event)}\n\n`);
    this.world.pending.push(() => this.#deliver());
  }
  #deliver() {
    if (!this.to) return;
    if (this.world.unlucky(15)) {
      met.broken += 1;
      return this.#end();
    }
    this.to.enqueue(new TextEncoder().encode(this.#lines.shift()));
  }
  #end() {
    this.world.streams.delete(this);
    this.to?.error(new TypeError("the connection broke"));
    this.to = undefined;
  }
}

/** Lets everything that has been begun go on until it waits. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

async function live(seed) {
  const world = new World(seed);
  globalThis.fetch = world.fetch;
  mock.method(Math, "random", () => world.pick(1_000) / 1_000);
  const person = new Person("ada", { currency: "EUR" }, "bearer");
  person.watch(() => { if (person.state.ready && !person.state.open) person.open(ROOM); });
  const said = [];
  const next = () => world.pending.splice(world.pick(world.pending.length), 1)[0]?.();
  for (let step = 0; step < 200; step += 1) {
    const what = world.pick(10);
    if (what === 0) world.commit("nora", `nora ${step}`, `nora ${step}`);
    else if (what === 1 && person.state.open) said.push(`ada ${step}`), person.send(ROOM, { content: `ada ${step}` });
    else if (what === 2) mock.timers.tick(500 + world.pick(4_000));
    else next();
    await settle();
  }
  world.faults = false;
  for (let quiet = 0; quiet < 100; quiet += 1) {
    while (world.pending.length > 0) {
      next();
      await settle();
    }
    mock.timers.tick(1_000);
    await settle();
  }
  const room = person.state.rooms[ROOM];
  person.close();
  await settle();
  met.said += said.length;
  assert.ok(room, `seed ${seed}: the room is there`);
  const all = world.messages.map((it) => it.content);
  const shown = room.messages.map((it) => it.content);
  assert.deepEqual(shown, all.slice(all.length - shown.length), `seed ${seed}: what is shown is the end of all there is`);
  assert.ok(room.loaded, `seed ${seed}: all of it is there`);
  assert.deepEqual(room.pending, [], `seed ${seed}: all that was said has arrived`);
  assert.deepEqual(all.filter((it) => it.startsWith("ada")), said, `seed ${seed}: once, in order`);
}

test("however late, and whatever is lost, the conversation that is open ends whole", async (t) => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.parse("2026-01-01") });
  for (const say of ["warn", "info"]) mock.method(console, say, () => {});
  const real = globalThis.fetch;
  globalThis.addEventListener ??= () => {};
  t.after(() => {
    mock.reset();
    globalThis.fetch = real;
  });
  const first = Number(process.env.HAGGLE_SEED ?? 1);
  for (let seed = first; seed < first + RUNS; seed += 1) await live(seed);
  t.diagnostic(`${RUNS} runs from seed ${first}: ${JSON.stringify(met)}`);
  if (RUNS >= 100) assert.ok(Object.values(met).every((count) => count > 50), JSON.stringify(met));
});
