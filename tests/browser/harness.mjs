// A demo, a browser, and two people on its page. Needs playwright-core and axe-core below $HAGGLE_NODE_MODULES, or where
// scripts/browser puts them, and a Chromium at $HAGGLE_CHROMIUM or where Debian puts it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const modules = createRequire(`${process.env.HAGGLE_NODE_MODULES ?? fileURLToPath(new URL("../../target/npm-browser", import.meta.url))}/`);
const { chromium } = modules("playwright-core");
const root = fileURLToPath(new URL("../..", import.meta.url));
/** The program. */
export const haggle = process.env.HAGGLE_BIN ?? `${root}target/debug/haggle`;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

/** How long anything may take before a scenario gives up, in ms; nothing is measured by it. */
const PATIENCE = 45_000;

/** A demo on a free port, behind a wire that can be cut. */
export async function startDemo() {
  const child = spawn(haggle, ["demo", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const [first] = await once(lines, "line");
  lines.on("line", () => {});
  const port = Number(/:(\d+)$/.exec(first)[1]);
  const wire = await startWire(port);
  return {
    url: `http://127.0.0.1:${wire.port}`, wire,
    async stop() {
      wire.stop();
      child.kill("SIGTERM");
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}

/** Forwards connections, until it is cut: then those that are open break and new ones are refused. */
async function startWire(target) {
  const sockets = new Set();
  let whole = true;
  const server = createServer((socket) => {
    if (!whole) return socket.resetAndDestroy();
    const other = connect(target, "127.0.0.1");
    for (const [from, to] of [[socket, other], [other, socket]]) {
      sockets.add(from);
      from.on("error", () => {}).on("close", () => { sockets.delete(from); to.destroy(); });
      from.pipe(to);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => { whole = false; for (const socket of sockets) socket.destroy(); };
  return { port: server.address().port, cut, mend: () => { whole = true; }, stop() { cut(); server.close(); } };
}

export const launch = () => chromium.launch({ executablePath: process.env.HAGGLE_CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });

/** What a page complains about; a test that expects some empties it. */
export function complaints(page) {
  const heard = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) heard.push(message.text()); });
  page.on("pageerror", (error) => heard.push(String(error)));
  page.on("dialog", (dialog) => { heard.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  return heard;
}

/** The requests of a page that have had no answer yet, or not all of it. */
function openRequests(page) {
  const open = new Map();
  page.on("request", (request) => open.set(request, Date.now()));
  for (const end of ["requestfinished", "requestfailed"]) page.on(end, (request) => open.delete(request));
  return () => [...open].map(([request, since]) => `${request.method()} ${request.url()}, for ${Date.now() - since} ms`);
}

/** Opens the page with two people on it. */
export async function twoPeople(browser, url, { left = "ada", right = "nora", ...context } = {}) {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-GB", ...context })).newPage();
  page.setDefaultTimeout(PATIENCE);
  const [errors, requests] = [complaints(page), openRequests(page)];
  await page.goto(`${url}/#left=${left}&right=${right}`);
  const people = { page, errors, requests, left: new Pane(page, "left", url), right: new Pane(page, "right", url) };
  await page.locator(".pane[data-link=open]").nth(1).waitFor({ state: "attached" });
  return people;
}

/** What there was to be seen when a scenario failed. */
export async function evidence({ page, errors, requests }) {
  const panes = page.locator(".pane").evaluateAll((all) =>
    all.map((it) => `${it.dataset.seat}, link ${it.dataset.link}:\n${it.innerText}`));
  const stuck = new Promise((resolve) => setTimeout(resolve, 5_000, ["the page does not answer"]));
  const open = requests().filter((it) => !it.includes("/v1/events?"));
  return ["complaints:", ...errors, "open requests:", ...open, ...await Promise.race([panes, stuck])].join("\n");
}

/** One side of the page, in the words of somebody who sits before it. */
export class Pane {
  constructor(page, seat, url) {
    Object.assign(this, { page, url, at: page.locator(`.pane[data-seat=${seat}]`) });
  }
  open(room) { return this.at.locator(".room", { hasText: room }).click(); }
  async say(text) {
    await this.at.getByRole("textbox", { name: "Message" }).fill(text);
    await this.at.getByRole("textbox", { name: "Message" }).press("Enter");
  }
  /** The deal's button, of the bar that is always in view. */
  move(name) { return this.at.locator(`.deal [data-move=${name}]`); }
  async propose(amount, text = "") {
    await this.at.locator(".composer").getByRole("button", { name: "Propose terms" }).click();
    await this.at.getByRole("textbox", { name: "Payout" }).fill(amount);
    if (text) await this.at.getByRole("textbox", { name: "Message" }).fill(text);
    await this.at.getByRole("button", { name: "Send proposal" }).click();
  }
  sees(text) { return this.at.locator(".messages").getByText(text, { exact: false }).last().waitFor(); }
  state(name) { return this.at.locator(".deal .pill", { hasText: name }).waitFor(); }
  bubbles() { return this.at.locator(".bubble").allTextContents(); }
  attach(files) { return this.at.locator("input[type=file]").setInputFiles(files); }
  /** Calls the API as somebody, past the page. */
  static async call(url, user, path, body) {
    const json = (token) => ({ "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) });
    const id = (await (await fetch(`${url}/demo/directory`)).json()).users.find((it) => it.given_name === user).id;
    const { token } = await (await fetch(`${url}/demo/token`, { method: "POST", headers: json(), body: JSON.stringify({ user_id: id }) })).json();
    const answer = await fetch(url + path, { method: body ? "POST" : "GET", headers: json(token), body: body && JSON.stringify(body) });
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return answer.json();
  }
}

/** What axe finds wrong for people who do not see, or see little. */
export async function axe(page) {
  await page.evaluate(readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] }));
  return violations.map((it) => `${it.impact} ${it.id}: ${it.nodes.map((node) => `${node.target.join(" ")} ${node.any[0]?.message ?? ""}`).slice(0, 4).join(" | ")}`);
}

/** A picture as a designer would send it. */
export async function moodboard(browser) {
  const page = await browser.newPage({ viewport: { width: 720, height: 460 } });
  await page.setContent(`<style>body{margin:0;display:grid;grid:1fr 1fr/1.3fr 1fr 1fr;gap:10px;height:100vh;padding:10px;box-sizing:border-box;background:#f7efe4;font:600 30px Inter,sans-serif;color:#5a3d2b}
    div{border-radius:14px}</style><div style="grid-row:span 2;background:linear-gradient(160deg,#f6c6a3,#e88f6d 60%,#c96a4f)"></div>
    <div style="background:radial-gradient(circle at 35% 35%,#fff3d6,#f2c14e)"></div><div style="background:linear-gradient(200deg,#bcd9c6,#6ba38a)"></div>
    <div style="background:linear-gradient(120deg,#f4dcd6,#d99a9a)"></div><div style="display:grid;place-items:center;background:#fff">Spring</div>`);
  const buffer = await page.screenshot({ type: "jpeg", quality: 80 });
  await page.close();
  return { name: "moodboard.jpg", mimeType: "image/jpeg", buffer };
}
