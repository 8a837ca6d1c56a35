// What two people see in a real browser. Each scenario has a demo of its own.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { Pane, axe, complaints, evidence, launch, moodboard, startDemo, twoPeople } from "./harness.mjs";

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

/** A scenario on a fresh demo; it fails if the page complains about anything the scenario did not expect. */
function scenario(name, play, context) {
  test(name, { timeout: 240_000 }, async (t) => {
    const demo = await startDemo();
    let people;
    try {
      people = await twoPeople(browser, demo.url, context);
      await play({ demo, ...people });
      assert.deepEqual(people.errors, [], "the page complains");
    } catch (error) {
      if (people) t.diagnostic(await evidence(people).catch(String));
      throw error;
    } finally {
      await people?.page.context().close();
      await demo.stop();
    }
  });
}

scenario("two people come from a proposal to an approved contract", async ({ left: ada, right: nora, page }) => {
  await nora.propose("1,400", "With the story, 1,400.");
  await ada.at.getByText("Revised proposal").nth(1).waitFor();
  await ada.move("accept").click();
  await nora.state("Accepted");
  assert.equal(await nora.at.locator("[data-move]").count(), 0, "the company waits for the creator");
  await ada.move("finish").click();
  await nora.move("approve").click();
  for (const person of [ada, nora]) {
    await person.state("Approved");
    await person.at.locator(".step-line", { hasText: "approved the work" }).waitFor();
    assert.equal(await person.at.locator(".deal .deal-amount").textContent(), "€1,400");
    assert.equal(await person.at.locator("[data-move]").count(), 0);
  }
  await page.reload();
  await ada.state("Approved");
  await nora.sees("With the story, 1,400.");
});

scenario("what is not taken back easily is asked twice", async ({ left: ada, right: nora }) => {
  await ada.move("decline").click();
  assert.equal(await ada.move("decline").textContent(), "Decline?");
  await ada.move("decline").click();
  await nora.state("Declined");
  await nora.move("propose").waitFor();
});

/** Where to click again, whatever will be there then. */
async function middle(locator) {
  const { x, y, width, height } = await locator.boundingBox();
  return [x + width / 2, y + height / 2];
}

for (const place of [".deal", ".offer"]) scenario(`a second click on Accept in the ${place} ends in Accepted, not in Finished`, async ({ left: ada, right: nora, page }) => {
  const accept = ada.at.locator(`${place} [data-move=accept]`);
  await accept.click({ trial: true });
  const at = await middle(accept);
  await page.mouse.click(...at);
  await ada.state("Accepted");
  await page.mouse.click(...at);
  await ada.move("finish").click({ trial: true });
  await nora.say("Nothing more happened.");
  await ada.sees("Nothing more happened.");
  for (const person of [ada, nora]) {
    await person.state("Accepted");
    assert.equal(await person.at.locator(".step-line").count(), 1);
    assert.equal(await person.at.locator(".notice").isVisible(), false);
  }
  await ada.move("finish").focus();
  await page.keyboard.press("Enter");
  await nora.state("Finished");
});

scenario("a double click on Decline asks, and declines nothing", async ({ left: ada, right: nora, page }) => {
  await ada.move("decline").click({ trial: true });
  const at = await middle(ada.move("decline"));
  await page.mouse.dblclick(...at);
  assert.equal(await ada.move("decline").textContent(), "Decline?");
  await nora.say("Still there?");
  await ada.sees("Still there?");
  await nora.state("Proposed");
});

scenario("fast clicks send a change once", async ({ left: ada, right: nora, page }) => {
  await ada.move("accept").click({ trial: true });
  let [sent, go] = [0, () => {}];
  const held = new Promise((resolve) => { go = resolve; });
  await page.route("**/messages", async (route) => { sent += 1; await held; await route.continue(); });
  const at = await middle(ada.move("accept"));
  for (let n = 0; n < 3; n += 1) await page.mouse.click(...at);
  assert.equal(await ada.move("accept").getAttribute("aria-disabled"), "true");
  go();
  await nora.state("Accepted");
  await ada.say("Done.");
  await nora.sees("Done.");
  assert.equal(sent, 2, "the change and the words");
  assert.equal(await ada.at.locator(".notice").isVisible(), false);
});

scenario("typing, messages, read marks, presence", async ({ left: ada, right: nora, page }) => {
  await nora.at.getByRole("textbox", { name: "Message" }).pressSequentially("How are th");
  await ada.at.locator(".typing-line.on", { hasText: "Nora is typing" }).waitFor();
  await ada.at.locator(".room .line.typing").waitFor();
  await nora.say("How are the videos coming along?");
  await ada.sees("How are the videos coming along?");
  await ada.at.locator(".typing-line:not(.on)").waitFor({ state: "attached" });
  await nora.at.locator(".mark", { hasText: "Seen by Ada" }).waitFor();
  await ada.say("Well!");
  await ada.at.locator(".mark", { hasText: "Seen by Northwind (Nora)" }).waitFor();
  await ada.at.locator(".thread-head .subtitle", { hasText: "Nora · online" }).waitFor();
  await ada.open("Lumen Studio");
  await nora.say("Great to hear.");
  await ada.at.locator(".room", { hasText: "Northwind" }).locator(".badge", { hasText: "1" }).waitFor();
  assert.match(await page.title(), /^\(\d+\) Haggle$/);
  await ada.open("Northwind");
  await ada.at.locator(".room", { hasText: "Northwind" }).locator(".badge").waitFor({ state: "hidden" });
});

scenario("terms that changed meanwhile are not accepted, and it is said why", async ({ demo, left: ada, right: nora, page, errors }) => {
  const { rooms } = await Pane.call(demo.url, "Nora", "/v1/rooms");
  const room = rooms.find((it) => it.users.some((user) => user.given_name === "Ada"));
  await page.route(`**/v1/rooms/${room.id}/messages`, async (route) => {
    const change = { type: "proposed_by_company", campaign_id: room.selected_campaign_id, payout: 110_000 };
    await Pane.call(demo.url, "Nora", `/v1/rooms/${room.id}/messages`, { content: "", contract_change: change });
    await route.continue();
  }, { times: 1 });
  await ada.move("accept").click();
  await ada.at.getByRole("alert").filter({ hasText: "The terms changed to €1,100 a moment before you accepted" }).waitFor();
  await ada.move("accept").filter({ hasText: "Accept €1,100" }).waitFor();
  await nora.state("Proposed");
  assert.equal(await ada.at.locator(".row.is-failed, .row.is-sending").count(), 0);
  errors.splice(0, errors.length, ...errors.filter((it) => !it.includes("409")));
});

scenario("a pull-back that comes too late says that the deal stands", async ({ demo, left: ada, right: nora, page, errors }) => {
  const { rooms } = await Pane.call(demo.url, "Ada", "/v1/rooms");
  const room = rooms.find((it) => it.company.name === "Northwind");
  await page.route(`**/v1/rooms/${room.id}/messages`, async (route) => {
    await Pane.call(demo.url, "Ada", `/v1/rooms/${room.id}/messages`, { content: "", contract_change: { type: "accepted_by_creator" } });
    await route.continue();
  }, { times: 1 });
  await nora.move("withdraw").click();
  await nora.move("withdraw").click();
  await nora.at.getByRole("alert").filter({ hasText: "Ada Okafor accepted €1,250 a moment before you withdrew. The deal stands." }).waitFor();
  await ada.state("Accepted");
  await nora.state("Accepted");
  errors.splice(0, errors.length, ...errors.filter((it) => !it.includes("409")));
});

scenario("files are shown, and hostile ones are harmless", async ({ left: ada, right: nora, page }) => {
  await nora.attach(await moodboard(browser));
  await nora.at.locator(".chip img").waitFor();
  await nora.say("The mood");
  await ada.at.locator(".picture img").waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll(".picture img")].every((it) => it.complete && it.naturalWidth > 0));
  await ada.at.locator(".picture").click();
  await page.locator("dialog.lightbox img").waitFor();
  await page.keyboard.press("Escape");
  const name = "<img src=x onerror=alert(1)>\u202egnp.html";
  await ada.attach({ name, mimeType: "text/html", buffer: Buffer.from("<script>alert(document.domain)</script>") });
  await ada.at.locator(".composer .send").click();
  const card = nora.at.locator("a.file", { hasText: "<img src=x onerror=alert(1)>gnp.html" });
  await card.waitFor();
  assert.equal(await card.getAttribute("rel"), "noopener noreferrer");
  await ada.say("<script>alert(2)</script><b>bold</b>");
  await nora.sees("<script>alert(2)</script><b>bold</b>");
  await page.waitForFunction(() => [...document.querySelectorAll("a.file")].every((it) => it.getAttribute("href")));
  const answer = await page.request.get(new URL(await card.getAttribute("href"), page.url()).href);
  assert.match(answer.headers()["content-disposition"], /^attachment;/);
  assert.match(answer.headers()["content-security-policy"], /sandbox/);
});

scenario("a file can be dropped and pasted", async ({ left: ada, right: nora }) => {
  const carry = (name) => ada.page.evaluateHandle((name) => {
    const data = new DataTransfer();
    data.items.add(new File(["Two videos."], name, { type: "text/plain" }));
    return data;
  }, name);
  await ada.move("accept").waitFor();
  await ada.at.locator(".thread").dispatchEvent("dragenter", { dataTransfer: await carry("dropped.txt") });
  await ada.at.locator(".drop").waitFor();
  await ada.at.locator(".thread").dispatchEvent("drop", { dataTransfer: await carry("dropped.txt") });
  await ada.at.locator(".drop").waitFor({ state: "hidden" });
  await ada.at.locator(".composer .send").click();
  await nora.sees("dropped.txt");
  const data = await carry("pasted.txt");
  await ada.at.getByRole("textbox", { name: "Message" }).evaluate((it, data) =>
    it.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })), data);
  await ada.at.locator(".chip", { hasText: "pasted.txt" }).waitFor();
  await ada.say("The brief");
  await nora.sees("pasted.txt");
});

const LOSSES = {
  "a wire that is cut": {
    banner: "Connection lost", lose: ({ demo }) => demo.wire.cut(), mend: ({ demo }) => demo.wire.mend() },
  "a browser that is offline": {
    banner: "You are offline", lose: ({ page }) => page.context().setOffline(true), mend: ({ page }) => page.context().setOffline(false) },
};
for (const [what, { banner, lose, mend }] of Object.entries(LOSSES)) scenario(`${what} loses and doubles nothing`, async (scene) => {
  const { left: ada, right: nora, page, errors } = scene;
  await ada.say("before");
  await nora.sees("before");
  await lose(scene);
  await ada.at.locator(".banner", { hasText: banner }).waitFor();
  await ada.say("while away 1");
  await ada.say("while away 2");
  await ada.at.locator(".mark", { hasText: "Waiting for the connection" }).first().waitFor();
  await mend(scene);
  await nora.sees("while away 2");
  await ada.at.locator(".banner").waitFor({ state: "hidden" });
  await ada.say("after");
  await nora.sees("after");
  for (const person of [ada, nora]) {
    const last = (await person.bubbles()).slice(-5);
    assert.deepEqual(last, ["Done: 1,250 it is.", "before", "while away 1", "while away 2", "after"]);
  }
  await page.reload();
  await ada.sees("after");
  assert.deepEqual((await ada.bubbles()).slice(-4), ["before", "while away 1", "while away 2", "after"]);
  errors.splice(0, errors.length, ...errors.filter((it) => !/ERR_|fetching failed/.test(it)));
});

scenario("who could not go on where they were is not told that nothing was missed", async ({ demo, left: ada, page, errors }) => {
  const toast = page.locator(".toast", { hasText: "Ada: back online" });
  const lose = async () => {
    demo.wire.cut();
    await ada.at.locator(".banner").waitFor();
    demo.wire.mend();
    await toast.waitFor();
    const said = await toast.textContent();
    await toast.waitFor({ state: "detached" });
    return said;
  };
  assert.equal(await lose(), "Ada: back online, nothing was missed.");
  await page.route("**/v1/events?*", (route) => route.continue({ headers: { ...route.request().headers(), "last-event-id": "elsewhere-1" } }));
  assert.equal(await lose(), "Ada: back online.");
  errors.splice(0, errors.length, ...errors.filter((it) => !/ERR_|fetching failed/.test(it)));
});

scenario("a token that is refused is replaced, and a message that is refused stays in view", async ({ left: ada, right: nora, page, errors }) => {
  let tokens = 0;
  page.on("request", (request) => { if (request.url().endsWith("/demo/token")) tokens += 1; });
  const refuse = (status, code, detail) => page.route("**/messages", (route) =>
    route.fulfill({ status, json: { status, code, detail } }), { times: 1 });
  await refuse(401, "invalid_token", "");
  await ada.say("with another token");
  await nora.sees("with another token");
  assert.equal(tokens, 1);
  await refuse(403, "forbidden", "You may not write here.");
  await ada.say("not for good");
  const row = ada.at.locator(".row.is-failed", { hasText: "not for good" });
  await row.getByRole("alert").filter({ hasText: "You may not write here." }).waitFor();
  await row.getByRole("button", { name: "Try again" }).click();
  await nora.sees("not for good");
  await row.waitFor({ state: "detached" });
  errors.splice(0, errors.length, ...errors.filter((it) => !/40[13]/.test(it)));
});

scenario("an answer that is lost makes no second message", async ({ left: ada, right: nora, page, errors }) => {
  await page.route("**/messages", async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await ada.say("only once");
  await ada.say("and then this");
  await nora.sees("and then this");
  for (const person of [ada, nora]) {
    await person.at.locator(".row.is-sending, .row.is-waiting, .row.is-sent").waitFor({ state: "detached" });
    assert.deepEqual((await person.bubbles()).slice(-3), ["Done: 1,250 it is.", "only once", "and then this"]);
  }
  errors.splice(0, errors.length, ...errors.filter((it) => !it.includes("ERR_FAILED")));
});

scenario("older messages come when they are scrolled to", async ({ demo, left: ada }) => {
  const { rooms } = await Pane.call(demo.url, "Nora", "/v1/rooms");
  const room = rooms.find((it) => it.users.some((user) => user.given_name === "Ada"));
  for (let n = 1; n <= 90; n += 1) await Pane.call(demo.url, "Nora", `/v1/rooms/${room.id}/messages`, { content: `line ${n}` });
  await ada.sees("line 90");
  await ada.page.reload();
  await ada.sees("line 90");
  assert.ok((await ada.bubbles()).length <= 45);
  for (let tries = 0; tries < 30 && !(await ada.bubbles()).includes("Hi! I loved the spring line. Are you looking for creators?"); tries += 1) {
    await ada.at.locator(".scroller").evaluate((it) => { it.scrollTop = 0; });
    await ada.page.waitForTimeout(100);
  }
  const lines = (await ada.bubbles()).filter((it) => it.startsWith("line "));
  assert.deepEqual(lines, Array.from({ length: 90 }, (_, n) => `line ${n + 1}`));
});

// Red if `loadRoom` counts as loading until it has told what it found: nothing else comes that would load again.
scenario("what comes while a conversation is being loaded is shown too", async ({ demo, left: nora, page }) => {
  const { rooms } = await Pane.call(demo.url, "Nora", "/v1/rooms");
  const room = rooms.find((it) => it.users.some((user) => user.given_name === "Kofi"));
  // What the page loads is held until it has heard of a message that is not in it.
  await page.route(`**/v1/rooms/${room.id}?*`, async (route) => {
    const response = await route.fetch();
    await Pane.call(demo.url, "Kofi", `/v1/rooms/${room.id}/messages`, { content: "too late for the page" });
    await nora.at.locator(".room", { hasText: "too late for the page" }).waitFor();
    await route.fulfill({ response });
  }, { times: 1 });
  await nora.open("Kofi Mensah");
  await nora.sees("too late for the page");
}, { left: "nora", right: "luca" });

scenario("an answer that never comes is not waited for", async ({ demo, left: nora, page }) => {
  const { rooms } = await Pane.call(demo.url, "Nora", "/v1/rooms");
  const room = rooms.find((it) => it.users.some((user) => user.given_name === "Kofi"));
  let asked = 0;
  await page.route(`**/v1/rooms/${room.id}?*`, (route) => (asked += 1) > 1 ? route.continue() : undefined);
  await nora.open("Kofi Mensah");
  await nora.sees("That is too tight for me this month, sorry.");
  assert.equal(asked, 2);
}, { left: "nora", right: "luca" });

scenario("a conversation is begun", async ({ left: mei, right: luca, page }) => {
  await mei.at.getByRole("button", { name: "New conversation" }).click();
  const sheet = page.getByRole("dialog", { name: "New conversation" });
  assert.deepEqual(await sheet.getByRole("combobox", { name: "To" }).locator("option").allTextContents(), ["Lumen Studio"]);
  await sheet.getByRole("textbox", { name: "Message" }).fill("Hello Lumen!");
  await sheet.getByRole("button", { name: "Send" }).click();
  await sheet.waitFor({ state: "hidden" });
  await mei.sees("Hello Lumen!");
  await luca.at.locator(".room", { hasText: "Mei Tanaka" }).locator(".badge", { hasText: "1" }).waitFor();
  await luca.open("Mei Tanaka");
  await mei.at.locator(".mark", { hasText: "Seen by Lumen Studio (Luca)" }).waitFor();
  await luca.propose("350.50", "A studio day?");
  await mei.move("accept").filter({ hasText: "Accept €350.50" }).waitFor();
}, { left: "mei", right: "luca" });

scenario("a first message whose answer is lost is written once", async ({ left: mei, page, errors }) => {
  await page.route("**/v1/rooms", async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await mei.at.getByRole("button", { name: "New conversation" }).click();
  const sheet = page.getByRole("dialog", { name: "New conversation" });
  await sheet.getByRole("textbox", { name: "Message" }).fill("Hello Lumen!");
  await sheet.getByRole("button", { name: "Send" }).click();
  await sheet.getByText("Please try again").waitFor();
  await sheet.getByRole("button", { name: "Send" }).click();
  await sheet.waitFor({ state: "hidden" });
  await mei.sees("Hello Lumen!");
  assert.deepEqual(await mei.bubbles(), ["Hello Lumen!"]);
  errors.splice(0, errors.length, ...errors.filter((it) => !/ERR_FAILED/.test(it)));
}, { left: "mei", right: "luca" });

scenario("on a phone one sees one side at a time", async ({ left: ada, right: nora, page }) => {
  const tab = (name) => page.locator(".tab", { hasText: name });
  assert.ok(!(await nora.at.isVisible()));
  await ada.open("Northwind");
  await ada.say("On my way.");
  await tab("Nora").locator(".badge").waitFor();
  await tab("Nora").click();
  assert.ok(!(await ada.at.isVisible()));
  await nora.open("Ada Okafor");
  await nora.sees("On my way.");
  await nora.at.getByRole("button", { name: "Back to conversations" }).click();
  await nora.at.locator(".room").first().waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, "nothing sticks out");
}, { viewport: { width: 360, height: 740 }, hasTouch: true });

scenario("others are picked by name, and the address remembers them", async ({ left, right, page }) => {
  await right.at.getByRole("combobox", { name: "Who you are on the right" }).selectOption({ label: "Luca Moretti" });
  await right.at.locator(".picker strong", { hasText: "Luca Moretti" }).waitFor();
  assert.match(page.url(), /#left=ada&right=luca$/);
  await right.open("Ada Okafor");
  await right.say("The call sheet is ready.");
  await left.at.locator(".room", { hasText: "Lumen Studio" }).locator(".badge", { hasText: "2" }).waitFor();
  await page.getByRole("button", { name: "Swap sides" }).click();
  await left.at.locator(".picker strong", { hasText: "Luca Moretti" }).waitFor();
  await page.getByRole("button", { name: "Theme: as the system" }).click();
  await page.reload();
  await left.at.locator(".picker strong", { hasText: "Luca Moretti" }).waitFor();
  await page.getByRole("button", { name: "Theme: light" }).waitFor();
});

scenario("the campaign is switched", async ({ left: ada, right: nora }) => {
  await nora.at.locator(".deal select").selectOption({ label: "Autumn lookbook" });
  await ada.sees("Nora switched to Autumn lookbook");
  await ada.at.locator(".deal", { hasText: "No terms yet" }).waitFor();
  await nora.at.locator(".deal select").selectOption({ label: "Spring launch" });
  await ada.state("Proposed");
  await ada.move("accept").waitFor();
});

scenario("by keyboard alone", async ({ left: ada, right: nora, page }) => {
  await ada.at.locator(".room").first().focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  const active = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
  assert.equal(await active(), "Message", "opening a room leads to where one writes");
  await page.keyboard.type("typed");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("in two lines");
  await page.keyboard.press("Enter");
  await ada.sees("in two lines");
  await nora.at.getByRole("button", { name: "Propose terms" }).first().focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type("1300");
  await page.keyboard.press("Escape");
  assert.equal(await active(), "Message");
});

scenario("people who do not see, or see little, can use it", async ({ left: ada, right: nora, page }) => {
  await nora.attach(await moodboard(browser));
  await nora.propose("1,300", "One more");
  await ada.at.getByText("€1,300").first().waitFor();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.waitForFunction(() => document.getAnimations().every((it) => it.playState !== "running"));
    assert.deepEqual(await axe(page), [], colorScheme);
  }
  await page.setViewportSize({ width: 390, height: 844 });
  assert.deepEqual(await axe(page), [], "on a phone");
});

test("a page with a cookie comes back too", { timeout: 240_000 }, async () => {
  const demo = await startDemo();
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 } });
  try {
    const page = await context.newPage();
    await page.goto(`${demo.url}/?as=nobody`);
    await page.getByText("Nobody here is called “nobody”.").waitFor();
    const ada = new Pane(page, "left", demo.url);
    await page.goto(`${demo.url}/?as=ada`);
    await ada.move("accept").waitFor();
    assert.deepEqual((await context.cookies()).map((it) => [it.path, it.httpOnly, it.sameSite]), [["/v1/events", true, "Strict"]]);
    demo.wire.cut();
    await ada.at.locator(".banner").waitFor();
    demo.wire.mend();
    const { rooms } = await Pane.call(demo.url, "Nora", "/v1/rooms");
    const room = rooms.find((it) => it.users.some((user) => user.given_name === "Ada"));
    await Pane.call(demo.url, "Nora", `/v1/rooms/${room.id}/messages`, { content: "still there?" });
    await ada.sees("still there?");
    await ada.at.locator(".banner").waitFor({ state: "hidden" });
    assert.equal((await ada.bubbles()).filter((it) => it === "still there?").length, 1);
  } finally {
    await context.close();
    await demo.stop();
  }
});

test("tabs of one person share a stream, and the next takes it over", { timeout: 240_000 }, async () => {
  const demo = await startDemo();
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 } });
  try {
    let streams = 0;
    context.on("request", (request) => { if (new URL(request.url()).pathname === "/v1/events") streams += 1; });
    const tabs = [];
    for (let n = 0; n < 8; n += 1) {
      const page = await context.newPage();
      tabs.push({ page, errors: complaints(page), nora: new Pane(page, "left", demo.url) });
      await page.goto(`${demo.url}/?as=nora`);
      await page.locator(".pane[data-link=open]").waitFor();
      await tabs[n].nora.open("Ada Okafor");
    }
    assert.equal(streams, 1, "eight tabs, more than a browser opens connections");
    await tabs[7].nora.say("from the last tab");
    for (const { nora } of tabs) await nora.sees("from the last tab");
    const { rooms } = await Pane.call(demo.url, "Ada", "/v1/rooms");
    const room = rooms.find((it) => it.company.name === "Northwind");
    await tabs[0].page.close();
    await Pane.call(demo.url, "Ada", `/v1/rooms/${room.id}/messages`, { content: "did you get this?" });
    for (const { nora, errors } of tabs.slice(1)) {
      await nora.sees("did you get this?");
      assert.equal((await nora.bubbles()).filter((it) => it === "did you get this?").length, 1);
      assert.deepEqual(errors, []);
    }
    assert.equal(streams, 2);
    const me = (await Pane.call(demo.url, "Ada", `/v1/rooms/${room.id}`)).users.find((it) => it.given_name === "Nora");
    assert.equal(me.status, "online");
  } finally {
    await context.close();
    await demo.stop();
  }
});
