// Makes the pictures of the README: one scene, played on a fresh demo, in light, in dark and on a phone.
import { fileURLToPath } from "node:url";
import { launch, moodboard, startDemo, twoPeople } from "./harness.mjs";

const folder = fileURLToPath(new URL("../../web/pictures/", import.meta.url));
const browser = await launch();

/** @param {(people: any) => Promise<void>} show */
async function scene(name, context, show) {
  const demo = await startDemo();
  const people = await twoPeople(browser, demo.url, { viewport: { width: 1440, height: 900 }, timezoneId: "Europe/Lisbon", ...context });
  const { page, left: ada, right: nora } = people;
  await page.clock.setFixedTime(Date.now());
  await show({ ...people, demo });
  // Nothing half drawn: pictures loaded, statuses told, movements ended.
  await page.waitForFunction(() => [...document.images].every((it) => it.complete));
  await page.mouse.move(700, 20);
  await page.waitForTimeout(1_200);
  await page.screenshot({ path: `${folder}${name}.png`, animations: "disabled", caret: "hide" });
  await page.context().close();
  await demo.stop();
  return { ada, nora };
}

async function negotiate({ left: ada, right: nora }) {
  await nora.attach(await moodboard(browser));
  await nora.say("The mood we are after. Would 1,400 work, with the story?");
  await nora.propose("1400");
  await ada.sees("Would 1,400 work");
  await ada.at.locator(".offer-amount", { hasText: "€1,400" }).waitFor();
  await nora.at.locator(".mark", { hasText: "Seen by Ada" }).waitFor();
}

await scene("light", { colorScheme: "light" }, async (people) => {
  await negotiate(people);
  await people.left.at.getByRole("textbox", { name: "Message" }).pressSequentially("That is fair, I");
  await people.right.at.locator(".typing-line.on").waitFor();
});
await scene("dark", { colorScheme: "dark" }, async (people) => {
  await negotiate(people);
  await people.left.move("accept").click();
  await people.left.say("That is fair. Deal!");
  await people.left.move("finish").waitFor();
  await people.right.sees("Deal!");
  await people.right.at.getByRole("textbox", { name: "Message" }).pressSequentially("Wonderful");
  await people.left.at.locator(".typing-line.on").waitFor();
});
await scene("phone", { colorScheme: "light", viewport: { width: 390, height: 800 }, deviceScaleFactor: 1.5, hasTouch: true }, async (people) => {
  const tab = (name) => people.page.locator(".tab", { hasText: name }).click();
  await tab("Nora");
  await people.right.open("Ada Okafor");
  await people.right.propose("1400", "Would 1,400 work, with the story?");
  await people.right.at.locator(".offer-amount", { hasText: "€1,400" }).waitFor();
  await tab("Ada");
  await people.left.open("Northwind");
  await people.left.at.locator(".offer-amount", { hasText: "€1,400" }).waitFor();
});
await browser.close();
