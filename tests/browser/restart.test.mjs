// A server that is stopped, or killed, and started again on the same data, as a page with haggle.js sees it.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { haggle, launch } from "./harness.mjs";

const COMPANY = "0199c0de-0000-7000-8000-00000000c001", NORA = "0199c0de-0000-7000-8000-00000000e001", ADA = "0199c0de-0000-7000-8000-00000000a001";

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** `haggle serve` on a folder and a port that stay. */
class Server {
  constructor(folder, port) { Object.assign(this, { folder, port, url: `http://127.0.0.1:${port}` }); }
  async start() {
    this.child = spawn(haggle, ["serve", "--listen", `127.0.0.1:${this.port}`, "--data-dir", this.folder], { stdio: "ignore" });
    while (!(await fetch(`${this.url}/readyz`).catch(() => null))?.ok) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  async end(signal) {
    this.child.kill(signal);
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, "exit");
  }
  token(...whose) { return execFileSync(haggle, ["token", "--data-dir", this.folder, ...whose], { encoding: "utf8" }).trim(); }
  async call(token, path, body) {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
    const answer = await fetch(this.url + path, { method: "POST", headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return answer.json();
  }
}

for (const mode of ["cookie", "bearer"]) {
  test(`nothing is lost or repeated when the server stops, is killed, and comes back (${mode})`, { timeout: 90_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "haggle-browser-"));
    const server = new Server(folder, await freePort());
    await server.start();
    try {
      await server.call(server.token("--service"), "/v1/directory/batch", { operations: [
        { type: "put_company", id: COMPANY, name: "Northwind", logo_url: "" },
        { type: "put_user", id: NORA, given_name: "Nora", family_name: "Lind", logo_url: "", company_id: COMPANY },
        { type: "put_user", id: ADA, given_name: "Ada", family_name: "Brooks", logo_url: "" }] });
      const [ada, nora] = [server.token("--user", ADA), server.token("--user", NORA)];
      const { room_id: room } = await server.call(ada, "/v1/rooms", {
        message: { content: "0" }, direction: { type: "user_to_company", company_id: COMPANY } });
      // The start page runs no scripts of its own; this one is the test's.
      const page = await (await browser.newContext({ bypassCSP: true })).newPage();
      await page.goto(server.url);
      await page.evaluate(async ({ user, token, mode }) => {
        const { openStream } = await import("/haggle.js");
        globalThis.heard = [];
        openStream({ user, mode, token: async () => token,
          onResync: () => { globalThis.heard.push("resync"); },
          onEvent: (event) => { if (event.type === "new_message") globalThis.heard.push(event.message.content); },
          onState: (state) => { globalThis.state = state; } });
      }, { user: ADA, token: ada, mode });
      await page.waitForFunction(() => globalThis.state === "open");
      let said = 0;
      const say = async () => { said += 1; await server.call(nora, `/v1/rooms/${room}/messages`, { content: String(said) }); };
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
      await page.context().close();
    } finally {
      await server.end("SIGKILL");
      rmSync(folder, { recursive: true });
    }
  });
}
