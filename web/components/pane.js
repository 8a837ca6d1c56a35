// @ts-check
/** One person's whole client: who they are, their conversations, the one that is open. */

import { h, icon, setText, show } from "../dom.js";
import { newKey } from "../haggle.js";
import { inOrder, unreadTotal } from "../state.js";
import { fullName } from "../words.js";
import { avatar } from "./avatar.js";
import { roomList } from "./rooms.js";
import { thread } from "./thread.js";
import { toast } from "./toast.js";

/** @typedef {{ id: string, given_name: string, family_name: string, logo_url: string, company_id?: string }} DirectoryUser */
/** @typedef {{ users: DirectoryUser[], companies: { id: string, name: string }[], campaigns: import("./deal.js").Campaign[] }} Directory */

/** How long a connection may be away before anybody is told, in ms. */
const PATIENCE = 1_200;

/**
 * @param {import("../person.js").Person} person
 * @param {Directory} directory
 * @param {{ label: string, pick(id: string): void, news(count: number): void }} options
 */
export function pane(person, directory, options) {
  const me = directory.users.find((user) => user.id === person.id);
  const company = directory.companies.find((it) => it.id === me?.company_id);
  const name = me ? fullName(me) : "Unknown";
  const face = avatar("large");
  face.update({ name, logo: me?.logo_url });
  const status = h("span", { class: "link-state" }, h("span", { class: "link-dot" }), h("span", { class: "link-text" }));
  const bannerText = h("span", {});
  const banner = h("div", { class: "banner", role: "status", hidden: true }, h("span", { class: "spinner" }), bannerText);
  const list = roomList(person, name, { open: (room) => go(room), begin: () => begin(person, directory) });
  const talk = thread(person, directory.campaigns, name, () => go(undefined));
  const element = h("section", { class: "pane", "aria-label": `${name}, ${company?.name ?? "creator"}` },
    h("header", { class: "pane-head" },
      h("label", { class: "picker" }, face.element,
        h("span", { class: "picker-text" }, h("strong", { text: name }), h("span", { text: company?.name ?? "Creator" })),
        icon("chevron", "chevron"), picker(person.id, directory, options)),
      status),
    banner,
    h("div", { class: "pane-body" }, list.element, talk.element));

  /** @param {string | undefined} room */
  function go(room) {
    person.open(room);
    if (room && matchMedia("(hover: hover)").matches) talk.focus();
  }

  let [since, told, begun] = [0, false, false];
  const drawLink = () => {
    const { link, refused, resumed } = person.state;
    const away = link === "waiting" || link === "closed" || (link === "connecting" && begun);
    if (!away) since = 0;
    else if (since === 0) {
      since = Date.now();
      setTimeout(drawLink, PATIENCE + 50);
    }
    const late = refused !== undefined || (since > 0 && Date.now() - since > PATIENCE);
    if (link === "open") begun = true;
    // Only who goes on where they were has missed nothing for sure.
    const back = !late && link === "open" && resumed !== undefined;
    if (told && back) toast(`${me?.given_name ?? "You"}: back online${resumed ? ", nothing was missed" : ""}.`);
    if (late) told = true;
    else if (back) told = false;
    show(banner, late);
    setText(bannerText, refused ?? (navigator.onLine === false
      ? "You are offline. What you send waits here and goes out by itself."
      : "Connection lost, trying again. What you send waits here and goes out by itself."));
    element.dataset.link = late ? "lost" : link === "open" ? "open" : "connecting";
    setText(status.lastElementChild ?? status, late ? "Reconnecting" : link === "open" ? "Live" : "Connecting");
  };

  let greeted = false;
  person.watch(() => {
    const { state } = person;
    if (state.ready && !greeted) {
      greeted = true;
      // Beside the list there is room for a conversation.
      const [newest] = inOrder(state);
      if (newest && !state.open && element.clientWidth >= 540) return person.open(newest.id);
    }
    element.classList.toggle("in-room", state.open !== undefined);
    drawLink();
    list.update();
    talk.update();
    options.news(unreadTotal(state));
  });
  return { element, look: talk.look, close: () => talk.close() };
}

/** @param {string} selected @param {Directory} directory @param {{ label: string, pick(id: string): void }} options */
function picker(selected, directory, { label, pick }) {
  const option = (/** @type {DirectoryUser} */ user) => h("option", { value: user.id, text: fullName(user) });
  const groups = [
    { label: "Creators", users: directory.users.filter((user) => !user.company_id) },
    ...directory.companies.map((it) => ({ label: it.name, users: directory.users.filter((user) => user.company_id === it.id) })),
  ];
  const select = h("select", { "aria-label": label, onchange: () => pick(select.value) },
    ...groups.filter((it) => it.users.length > 0)
      .map((it) => h("optgroup", { label: it.label }, ...it.users.map(option))));
  select.value = selected;
  return select;
}

/** Asks whom to write to, and what. @param {import("../person.js").Person} person @param {Directory} directory */
function begin(person, directory) {
  const me = directory.users.find((user) => user.id === person.id);
  const known = Object.values(person.state.rooms);
  const others = me?.company_id
    ? directory.users.filter((it) => !it.company_id && !known.some((room) => room.creator === it.id))
      .map((it) => ({ id: it.id, name: fullName(it), direction: { type: "company_to_user", company_id: me.company_id, to_user_id: it.id } }))
    : directory.companies.filter((it) => !known.some((room) => room.company.id === it.id))
      .map((it) => ({ id: it.id, name: it.name, direction: { type: "user_to_company", company_id: it.id } }));
  if (others.length === 0) return toast("You are talking to everyone already.");
  const whom = h("select", {}, ...others.map((it) => h("option", { value: it.id, text: it.name })));
  const text = h("textarea", { rows: 3, placeholder: "Say hello", required: true });
  const problem = h("p", { class: "sheet-problem", role: "alert", hidden: true });
  const send = h("button", { type: "submit", class: "button primary", text: "Send" });
  // The same words to the same people are one message, however often they are sent.
  let [said, key] = ["", ""];
  const dialog = h("dialog", { class: "sheet", "aria-label": "New conversation", onclose: () => dialog.remove(),
    onclick: (/** @type {Event} */ event) => event.target === dialog && dialog.close() },
    h("header", {}, h("h2", { text: "New conversation" }), h("button", { type: "button", class: "icon-button",
      "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    h("form", { onsubmit: async (/** @type {Event} */ event) => {
      event.preventDefault();
      const chosen = others.find((it) => it.id === whom.value);
      const content = text.value.trim();
      if (!chosen || content === "" || send.disabled) return;
      const now = `${chosen.id} ${content}`;
      if (said !== now) [said, key] = [now, newKey()];
      send.disabled = true;
      try {
        await person.startRoom(chosen.direction, content, key);
        dialog.close();
      } catch {
        show(problem, true);
        setText(problem, "That did not work. Please try again.");
      }
      send.disabled = false;
    } },
    h("label", { class: "field" }, h("span", { text: "To" }), whom),
    h("label", { class: "field" }, h("span", { text: "Message" }), text), problem,
    send));
  document.body.append(dialog);
  dialog.showModal();
  text.focus();
}
