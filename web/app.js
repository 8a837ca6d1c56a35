// @ts-check
/**
 * The demo's page: two people side by side, each a full client. `?as=<name>` shows one alone, with the cookie and one
 * stream for all tabs, as a real page would have it.
 */

import { pane } from "./components/pane.js";
import { avatar } from "./components/avatar.js";
import { toast } from "./components/toast.js";
import { h, icon, setText, show } from "./dom.js";
import { Person, ask } from "./person.js";
import { fullName } from "./words.js";

/** @typedef {import("./components/pane.js").Directory} Directory */
/** @typedef {"left" | "right"} Seat */

const THEMES = /** @type {const} */ (["auto", "light", "dark"]);

/** @param {string} path */
async function get(path) {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function themeButton() {
  const button = h("button", { type: "button", class: "icon-button", onclick: () => {
    const now = localStorage.getItem("haggle theme") ?? "auto";
    const next = THEMES[(THEMES.findIndex((it) => it === now) + 1) % THEMES.length];
    localStorage.setItem("haggle theme", next);
    apply();
  } });
  const apply = () => {
    const theme = localStorage.getItem("haggle theme") ?? "auto";
    document.documentElement.dataset.theme = theme;
    button.replaceChildren(icon(theme === "dark" ? "moon" : theme === "light" ? "sun" : "auto"));
    const label = `Theme: ${{ auto: "as the system", light: "light", dark: "dark" }[theme]}`;
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  apply();
  return button;
}

/** People are called by their first names in the address, if only one has it. @param {Directory} directory */
function naming(directory) {
  const short = (/** @type {string} */ id) => {
    const user = directory.users.find((it) => it.id === id);
    const name = user?.given_name.toLowerCase();
    return name && directory.users.filter((it) => it.given_name.toLowerCase() === name).length === 1 ? name : id;
  };
  const find = (/** @type {string | null} */ name) =>
    directory.users.find((it) => name && (it.id === name || it.given_name.toLowerCase() === name.toLowerCase()))?.id;
  return { short, find };
}

/** @param {Directory} directory @param {import("./api.d.ts").ServerConfig} config */
function start(directory, config) {
  const { short, find } = naming(directory);
  const asked = new URLSearchParams(location.search).get("as");
  const alone = find(asked);
  /** @type {Seat[]} */
  const seats = alone ? ["left"] : ["left", "right"];
  /** @type {Partial<Record<Seat, { id: string, person: Person, pane: ReturnType<typeof pane> }>>} */
  const seated = {};
  /** @type {Record<Seat, number>} */
  const news = { left: 0, right: 0 };
  const stage = h("main", { class: "stage", "data-front": "left" });
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": "Whose side to see" });
  const swap = h("button", { type: "button", class: "icon-button swap", "aria-label": "Swap sides", title: "Swap sides",
    onclick: () => { const now = wanted(); go({ left: now.right, right: now.left }); } }, icon("swap"));
  document.body.classList.toggle("alone", alone !== undefined);
  document.body.append(
    h("header", { class: "bar" },
      h("h1", {}, h("a", { class: "brand", href: "/", "aria-label": "Haggle, demo" }, h("img", { src: "/web/logo.svg", alt: "", width: 28, height: 28 }), h("span", { text: "Haggle" }))),
      h("span", { class: "tag", text: "Demo" }), tabs, h("span", { class: "space" }),
      h("a", { class: "bar-link", href: "/docs/", text: "API" }), !alone && swap, themeButton()),
    stage);

  const wanted = () => {
    const hash = new URLSearchParams(location.hash.slice(1));
    const creator = directory.users.find((it) => it.given_name === "Ada") ?? directory.users.find((it) => !it.company_id);
    const left = alone ?? find(hash.get("left")) ?? creator?.id ?? directory.users[0]?.id;
    const employee = directory.users.find((it) => it.company_id && it.id !== left);
    let right = find(hash.get("right"));
    if (!right || right === left) right = employee?.id ?? directory.users.find((it) => it.id !== left)?.id;
    return { left: left ?? "", right: right ?? "" };
  };

  /** @param {Record<Seat, string>} to */
  const go = (to) => { location.hash = `left=${short(to.left)}&right=${short(to.right)}`; };

  /** @param {Seat} seat @param {string} id */
  const choose = (seat, id) => {
    const now = wanted();
    const other = seat === "left" ? "right" : "left";
    go(now[other] === id ? { left: now.right, right: now.left } : { ...now, [seat]: id });
  };

  const total = () => {
    const sum = seats.reduce((all, seat) => all + news[seat], 0);
    document.title = sum > 0 ? `(${sum}) Haggle` : "Haggle";
    for (const [index, seat] of seats.entries()) {
      const badge = tabs.children[index]?.querySelector(".badge");
      if (!(badge instanceof HTMLElement)) continue;
      show(badge, news[seat] > 0);
      setText(badge, String(news[seat]));
    }
  };

  /** @param {Seat} seat */
  const front = (seat) => {
    stage.dataset.front = seat;
    for (const [index, it] of seats.entries()) tabs.children[index]?.setAttribute("aria-pressed", String(it === seat));
    for (const it of seats) seated[it]?.pane.look();
  };

  const seatAll = () => {
    const people = wanted();
    for (const seat of seats) {
      if (seated[seat]?.id === people[seat]) continue;
      seated[seat]?.person.close();
      seated[seat]?.pane.close();
      const person = new Person(people[seat], config, alone ? "cookie" : "bearer");
      news[seat] = 0;
      seated[seat] = { id: people[seat], person, pane: pane(person, directory, {
        label: alone ? "Who you are" : `Who you are on the ${seat}`,
        pick: (id) => alone ? location.assign(`?as=${short(id)}`) : choose(seat, id),
        news: (count) => { news[seat] = count; total(); },
      }) };
    }
    stage.replaceChildren(...seats.map((seat) => {
      const element = seated[seat]?.pane.element ?? h("div");
      element.dataset.seat = seat;
      return element;
    }));
    tabs.replaceChildren(...(alone ? [] : seats.map((seat) => {
      const user = directory.users.find((it) => it.id === people[seat]);
      const face = avatar("tiny");
      face.update({ name: user ? fullName(user) : "?" });
      return h("button", { type: "button", class: "tab", onclick: () => front(seat) }, face.element,
        h("span", { text: user?.given_name ?? "?" }), h("span", { class: "badge", hidden: true }));
    })));
    front(/** @type {Seat} */ (stage.dataset.front));
    total();
  };
  addEventListener("hashchange", seatAll);
  seatAll();
  if (asked && !alone) {
    toast(`Nobody here is called “${asked}”. There are ${directory.users.map((it) => it.given_name).join(", ")}.`);
  }
}

try {
  const [directory, config] = await Promise.all([get("/demo/directory"), get("/v1/config")]);
  start(directory, config);
} catch (error) {
  console.error(error);
  document.body.append(h("main", { class: "failed" }, h("h1", { text: "The demo does not answer" }),
    h("p", { text: "Is `haggle demo` still running? Reload this page once it is." }),
    h("button", { type: "button", class: "button primary", text: "Reload", onclick: () => location.reload() })));
}
