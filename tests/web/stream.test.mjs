// The stream comes back whatever happens to it, misses nothing, and says nothing twice. The server here misbehaves in
// ways the real one cannot be made to.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import test from "node:test";
import { openStream } from "../../web/haggle.js";

/**
 * Serves each connection by the next of these scripts, the last one for all that follow, and runs a stream against it
 * until `enough(heard, requests)`.
 */
async function play({ scripts, enough, onResync = () => undefined, ...more }) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push({ path: request.url, ...request.headers });
    scripts[Math.min(requests.length, scripts.length) - 1](response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const heard = [];
  let stream;
  try {
    await new Promise((resolve, reject) => {
      const check = () => enough(heard, requests) && resolve();
      const { hear = () => {}, ...options } = more;
      const add = (...what) => { heard.push(what); check(); };
      const late = setTimeout(() => reject(new Error(`not in time: ${JSON.stringify(heard)}`)), 20_000);
      stream = openStream({
        user: "ada", url: `http://127.0.0.1:${server.address().port}`, token: () => `token-${requests.length + 1}`,
        onEvent: (event, cursor) => { if (event.type !== "hello") add(event.type, cursor ?? "", event.n ?? event.reason); hear(event); },
        onResync: async (reason) => { const position = await onResync(reason); add("fetch", reason); return position; },
        onRefused: (problem) => add("refused", problem.code), ...options,
      });
      resolve = ((done) => () => { clearTimeout(late); done(); })(resolve);
    });
  } finally {
    stream?.close();
    server.closeAllConnections();
    server.close();
  }
  return { heard, requests };
}

const begin = (response) => response.writeHead(200, { "Content-Type": "text/event-stream" });
const say = (response, event, id) => response.write(`event: ${event.type}\n${id ? `id: e-${id}\n` : ""}data: ${JSON.stringify(event)}\n\n`);
const hello = (response, id, resumed = false, heartbeat_seconds = 15) => {
  begin(response);
  response.write("retry: 10\n");
  say(response, { type: "hello", connection_id: "c", position: `e-${id}`, resumed, heartbeat_seconds }, id);
};
const news = (response, n) => say(response, { type: "new_message", n }, n);
const seen = (heard, n) => heard.some((it) => it[2] === n);

test("a stream that is cut within an event resumes after the last whole one", async () => {
  const { heard, requests } = await play({
    scripts: [
      (it) => { hello(it, 5); news(it, 6); it.write("event: new_message\nid: e-7\ndata: {\"type\":\"new_me", () => it.destroy()); },
      (it) => { hello(it, 6, true); news(it, 7); news(it, 8); },
    ],
    enough: (heard) => seen(heard, 8),
  });
  assert.deepEqual(heard, [["fetch", "fresh"], ["new_message", "e-6", 6], ["new_message", "e-7", 7], ["new_message", "e-8", 8]]);
  assert.deepEqual(requests.map((it) => it["last-event-id"]), [undefined, "e-6"]);
  assert.deepEqual(requests.map((it) => it.authorization), ["Bearer token-1", "Bearer token-2"]);
});

test("events wait for what is fetched, and what it holds is left out", async () => {
  let fetched;
  const { heard } = await play({
    scripts: [(it) => { hello(it, 5); for (const n of [6, 7, 8]) news(it, n); setTimeout(() => fetched("e-7"), 50); }],
    onResync: () => new Promise((resolve) => { fetched = resolve; }), enough: (heard) => seen(heard, 8),
  });
  assert.deepEqual(heard, [["fetch", "fresh"], ["new_message", "e-8", 8]]);
});

test("fetching that fails is tried again before anything is heard", async () => {
  let attempts = 0;
  const { heard } = await play({
    scripts: [(it) => { hello(it, 5); news(it, 6); }],
    onResync: () => { attempts += 1; if (attempts < 3) throw new Error("away"); }, enough: (heard) => seen(heard, 6),
  });
  assert.deepEqual([attempts, heard], [3, [["fetch", "fresh"], ["new_message", "e-6", 6]]]);
});

test("resync fetches everything again and goes on from its cursor", async () => {
  const { heard, requests } = await play({
    scripts: [
      (it) => { hello(it, 5); news(it, 6); it.end(); },
      (it) => { hello(it, 90); say(it, { type: "resync", reason: "trimmed" }, 90); it.end(); },
      (it) => { hello(it, 90, true); news(it, 91); },
    ],
    enough: (heard) => seen(heard, 91),
  });
  assert.deepEqual(heard.filter((it) => it[0] !== "resync"), [["fetch", "fresh"], ["new_message", "e-6", 6], ["fetch", "trimmed"], ["new_message", "e-91", 91]]);
  assert.deepEqual(requests.map((it) => it["last-event-id"]), [undefined, "e-6", "e-90"]);
});

test("another epoch starts anew, however small its positions", async () => {
  const { heard } = await play({
    scripts: [
      (it) => { hello(it, 50); news(it, 51); it.end(); },
      (it) => {
        begin(it);
        for (const event of [{ type: "hello", connection_id: "c", position: "f-2", resumed: false, heartbeat_seconds: 15 }, { type: "resync", reason: "other_epoch" }]) {
          it.write(`id: f-2\ndata: ${JSON.stringify(event)}\n\n`);
        }
        it.write("id: f-3\ndata: {\"type\":\"new_message\",\"n\":3}\n\n");
      },
    ],
    enough: (heard) => seen(heard, 3),
  });
  assert.deepEqual(heard.at(-1), ["new_message", "f-3", 3]);
  assert.ok(heard.some((it) => it[0] === "fetch" && it[1] === "other_epoch"));
});

test("what is told twice is heard once", async () => {
  const { heard } = await play({
    scripts: [(it) => { hello(it, 5); news(it, 6); it.end(); }, (it) => { hello(it, 5, true); news(it, 6); news(it, 7); }],
    enough: (heard) => seen(heard, 7),
  });
  assert.deepEqual(heard.map((it) => it[2]), [undefined, 6, 7]);
});

test("a silent stream is given up", async () => {
  const { requests } = await play({
    scripts: [(it) => hello(it, 5, false, 0.1), (it) => { hello(it, 5, true); news(it, 6); }], enough: (heard) => seen(heard, 6),
  });
  assert.equal(requests.length, 2);
});

test("a stream that beats is not given up", async () => {
  const { requests } = await play({
    scripts: [(it) => {
      hello(it, 5, false, 0.4);
      let n = 0;
      const beat = setInterval(() => { n += 1; n < 12 ? say(it, { type: "heartbeat" }) : (clearInterval(beat), news(it, 6)); }, 150);
    }],
    enough: (heard) => seen(heard, 6),
  });
  assert.equal(requests.length, 1);
});

test("a server that is away, or behind a broken proxy, is asked again", async () => {
  const { heard } = await play({
    scripts: [(it) => it.destroy(), (it) => it.writeHead(502).end("<html>"), (it) => { hello(it, 5); news(it, 6); }],
    enough: (heard) => seen(heard, 6),
  });
  assert.equal(heard.length, 2);
});

test("goodbye is followed by coming back with a new token", async () => {
  const { heard, requests } = await play({
    scripts: [
      (it) => { hello(it, 5); say(it, { type: "goodbye", reason: "token_expired" }); it.end(); },
      (it) => { hello(it, 5, true); news(it, 6); },
    ],
    enough: (heard) => seen(heard, 6),
  });
  assert.deepEqual(heard.map((it) => it[0]), ["fetch", "goodbye", "new_message"]);
  assert.equal(requests[1].authorization, "Bearer token-2");
});

test("a stream is opened anew before its token ends", async () => {
  const lasting = (seconds) => `e30.${Buffer.from(JSON.stringify({ exp: Date.now() / 1000 + seconds })).toString("base64url")}.x`;
  let tokens = 0;
  const { requests } = await play({
    token: () => { tokens += 1; return lasting(tokens === 1 ? 3 : 600); },
    scripts: [(it) => hello(it, 5), (it) => { hello(it, 5, true); news(it, 6); }], enough: (heard) => seen(heard, 6),
  });
  assert.deepEqual([requests.length, tokens, requests[1]["last-event-id"]], [2, 2, "e-5"]);
});

test("somebody who is not let in is told so once", async () => {
  const states = [];
  const { heard, requests } = await play({
    scripts: [(it) => it.writeHead(403, { "Content-Type": "application/problem+json" }).end("{\"status\":403,\"code\":\"deactivated\"}")],
    onState: (state) => states.push(state), enough: (heard) => heard.length > 0,
  });
  assert.deepEqual([heard, requests.length, states.at(-1)], [[["refused", "deactivated"]], 1, "closed"]);
});

test("a handler that fails stops nothing", async (t) => {
  t.mock.method(console, "error", () => {});
  const { heard } = await play({
    scripts: [(it) => { hello(it, 5); for (const n of [6, 7]) news(it, n); }],
    hear: (event) => { if (event.n === 6) throw new Error("mine"); }, enough: (heard) => seen(heard, 7),
  });
  assert.deepEqual(heard.map((it) => it[2]), [undefined, 6, 7]);
});

test("a token that was refused is not asked for from a cache again", async () => {
  const asked = [];
  const refuse = (it) => it.writeHead(401, { "Content-Type": "application/problem+json" }).end("{\"code\":\"bad_token\",\"status\":401}");
  const { requests } = await play({
    scripts: [(it) => { hello(it, 5); it.end(); }, refuse, (it) => { hello(it, 5, true); news(it, 6); it.end(); }, (it) => { hello(it, 6, true); news(it, 7); }],
    enough: (heard) => seen(heard, 7),
    token: ({ fresh }) => { asked.push(fresh); return `token-${asked.filter(Boolean).length}`; },
  });
  assert.deepEqual(asked, [false, false, true, false]);
  assert.deepEqual(requests.map((it) => it.authorization), ["Bearer token-0", "Bearer token-0", "Bearer token-1", "Bearer token-1"]);
});
