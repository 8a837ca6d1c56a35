// `haggle serve` with two people, for pages of other applications.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { haggle } from "./harness.mjs";

const COMPANY = "0199c0de-0000-7000-8000-00000000c001", NORA = "0199c0de-0000-7000-8000-00000000e001";
export const ADA = "0199c0de-0000-7000-8000-00000000a001";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** `haggle serve` on a folder and a port that stay, with a room of Ada's and a company. */
export class Server {
  static async make() {
    const server = new Server();
    server.folder = mkdtempSync(join(tmpdir(), "haggle-browser-"));
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    await server.start();
    await server.call(server.token("--service"), "/v1/directory/batch", { operations: [
      { type: "put_company", id: COMPANY, name: "Northwind", logo_url: "" },
      { type: "put_user", id: NORA, given_name: "Nora", family_name: "Lind", logo_url: "", company_id: COMPANY },
      { type: "put_user", id: ADA, given_name: "Ada", family_name: "Brooks", logo_url: "" }] });
    server.ada = server.token("--user", ADA);
    server.nora = server.token("--user", NORA);
    server.room = (await server.call(server.ada, "/v1/rooms", {
      message: { content: "0" }, direction: { type: "user_to_company", company_id: COMPANY } })).room_id;
    return server;
  }
  async start() {
    this.child = spawn(haggle, ["serve", "--listen", `127.0.0.1:${this.port}`, "--data-dir", this.folder], { stdio: "ignore" });
    while (!(await fetch(`${this.url}/readyz`).catch(() => null))?.ok) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  async end(signal) {
    this.child.kill(signal);
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, "exit");
  }
  async remove() {
    await this.end("SIGKILL");
    rmSync(this.folder, { recursive: true });
  }
  /** Nora says something in the room. */
  say(content) { return this.call(this.nora, `/v1/rooms/${this.room}/messages`, { content }); }
  /** The start page, which runs no scripts of its own: those that follow are the test's. */
  async page(browser) {
    const page = await (await browser.newContext({ bypassCSP: true })).newPage();
    await page.goto(this.url);
    return page;
  }
  token(...whose) { return execFileSync(haggle, ["token", "--data-dir", this.folder, ...whose], { encoding: "utf8" }).trim(); }
  async call(token, path, body) {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
    const answer = await fetch(this.url + path, { method: "POST", headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return answer.json();
  }
}
