// Pages of other applications with haggle.js: the one of the README, and one whose server stops and comes back.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { after, before } from "node:test";
import { launch } from "./harness.mjs";
import { ADA, Server } from "./serve.mjs";

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

/** A test with a server and its start page. */
function scenario(name, play) {
  test(name, { timeout: 240_000 }, async () => {
    const server = await Server.make();
    let page;
    try {
      page = await server.page(browser);
      await play(server, page);
    } finally {
      await page?.context().close();
      await server.remove();
    }
  });
}

scenario("the twenty lines of the README keep a list of rooms", async (server, page) => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, snippet] = /```js\n(import \{ openStream \}[^]*?)```/.exec(readme);
  const start = `watchRooms("${ADA}", async () => "${server.ada}", (rooms) => { globalThis.rooms = [...rooms.values()]; });`;
  await page.addScriptTag({ type: "module", content: snippet + start });
  const shows = (content, unread) => page.waitForFunction(([content, unread]) => globalThis.rooms?.length === 1
    && rooms[0].content === content && rooms[0].new_messages === unread, [content, unread]);
  await shows("0", 0);
  await server.say("An offer");
  await shows("An offer", 1);
  await server.end("SIGKILL");
  await server.start();
  await server.say("A better one");
  await shows("A better one", 2);
});

for (const mode of ["cookie", "bearer"]) {
  scenario(`nothing is lost or repeated when the server stops, is killed, and comes back (${mode})`, async (server, page) => {
    await page.evaluate(async ({ user, token, mode }) => {
      const { openStream } = await import("/haggle.js");
      globalThis.heard = [];
      openStream({ user, mode, token: async () => token,
        onResync: () => { globalThis.heard.push("resync"); },
        onEvent: (event) => { if (event.type === "new_message") globalThis.heard.push(event.message.content); },
        onState: (state) => { globalThis.state = state; } });
    }, { user: ADA, token: server.ada, mode });
    await page.waitForFunction(() => globalThis.state === "open");
    let said = 0;
    const say = async () => { said += 1; await server.say(String(said)); };
    for (const signal of ["SIGTERM", "SIGKILL", "SIGTERM"]) {
      await say();
      await server.end(signal);
      await server.start();
      // Said before the page is back: it must be replayed.
      await say();
      await page.waitForFunction((last) => globalThis.heard.at(-1) === last, String(said));
    }
    const numbers = Array.from({ length: said }, (_, n) => String(n + 1));
    assert.deepEqual(await page.evaluate(() => globalThis.heard), ["resync", ...numbers]);
  });
}
