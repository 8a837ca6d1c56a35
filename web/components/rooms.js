// @ts-check
/** The list of conversations: newest first, with what is new, who is there and how the deal stands. */

import { h, icon, keyed, setText, show } from "../dom.js";
import { contractOf, inOrder, sideOf, unread } from "../state.js";
import { DONE, fullName, list, moment, money, stateName } from "../words.js";
import { avatar } from "./avatar.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../state.js").RoomState} RoomState */

/** The other side as one face. @param {State} state @param {RoomState} room @returns {import("./avatar.js").Face} */
export function counterpart(state, room) {
  if (sideOf(state, room) === "company") {
    const creator = state.users[room.creator];
    const name = creator ? fullName(creator) : "Creator";
    return { name, logo: creator?.logo_url, status: creator?.status ?? "offline", company: false };
  }
  const statuses = room.members.map((id) => state.users[id]?.status);
  const status = /** @type {const} */ (["online", "away"]).find((it) => statuses.includes(it)) ?? "offline";
  return { name: room.company.name, logo: room.company.logo_url, status, company: true };
}

/** What the last message says, in a line. @param {State} state @param {RoomState} room @param {string} currency */
function preview(state, room, currency) {
  const { content, contract_change: change, attachment, from_user, change_selected_campaign_to: moved } = room.last;
  const author = from_user === state.me ? "You" : state.users[from_user]?.given_name ?? "Somebody";
  if (content !== "") return `${author}: ${content}`;
  if (change?.type === "proposed_by_company") return `${author} proposed ${money(change.payout, currency)}`;
  if (change) return `${author} ${DONE[change.type]}`;
  if (attachment) return `${author}: ${attachment.name}`;
  return moved ? `${author} switched the campaign` : "";
}

/** @param {State} state @param {RoomState} room */
export function typists(state, room) {
  return (state.typing[room.id] ?? []).map((id) => state.users[id]?.given_name).filter((name) => name !== undefined);
}

/**
 * @param {import("../person.js").Person} person
 * @param {string} name
 * @param {{ open(room: string): void, begin(): void }} actions
 */
export function roomList(person, name, actions) {
  const currency = person.config.currency;
  const items = h("ul", { class: "room-items" });
  const empty = h("div", { class: "empty", hidden: true }, icon("chat"),
    h("p", { text: "No conversations yet." }), h("p", { class: "quiet", text: "Start one with the + above." }));
  const skeleton = h("div", { class: "skeletons", "aria-hidden": "true" },
    ...[1, 2, 3].map(() => h("div", { class: "skeleton" })));
  const element = h("nav", { class: "rooms", "aria-label": `Conversations of ${name}`, onkeydown: roam },
    h("div", { class: "rooms-head" },
      h("h2", { text: "Conversations" }),
      h("button", { class: "icon-button", type: "button", "aria-label": "New conversation", title: "New conversation",
        onclick: actions.begin }, icon("plus"))),
    skeleton, empty, items);
  const draw = keyed(items, (/** @type {RoomState} */ room) => room.id, () => item(person, currency, actions.open));
  return {
    element,
    update() {
      const { state } = person;
      show(skeleton, !state.ready);
      const rooms = inOrder(state);
      show(empty, state.ready && rooms.length === 0);
      draw(rooms);
    },
  };
}

/** Arrow keys go from room to room. @param {KeyboardEvent} event */
function roam(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const list = event.currentTarget;
  if (!step || !(list instanceof HTMLElement)) return;
  const buttons = [...list.querySelectorAll("button")];
  const next = buttons[buttons.findIndex((it) => it === document.activeElement) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}

/** @param {import("../person.js").Person} person @param {string} currency @param {(room: string) => void} open */
function item(person, currency, open) {
  const face = avatar();
  const [name, time, line, badge, pill, sum] =
    ["name", "time", "line", "badge", "pill", "sum"].map((it) => h("span", { class: it }));
  let id = "";
  const button = h("button", { type: "button", class: "room", onclick: () => open(id) }, face.element,
    h("span", { class: "room-text" },
      h("span", { class: "top" }, name, time),
      h("span", { class: "middle" }, line, badge),
      h("span", { class: "bottom" }, pill, sum)));
  return {
    element: h("li", {}, button),
    update(/** @type {RoomState} */ room) {
      const { state } = person;
      id = room.id;
      const other = counterpart(state, room);
      const [news, contract, typing] = [unread(state, room), contractOf(room), typists(state, room)];
      face.update(other);
      setText(name, other.name);
      setText(time, moment(room.last.timestamp));
      setText(line, typing.length > 0 ? `${list(typing)} typing…` : preview(state, room, currency));
      line.classList.toggle("typing", typing.length > 0);
      setText(badge, news > 99 ? "99+" : String(news));
      show(badge, news > 0);
      badge.setAttribute("aria-label", `${news} new`);
      show(pill, contract !== undefined);
      setText(pill, contract ? stateName(contract) : "");
      pill.dataset.state = contract?.state ?? "";
      setText(sum, contract ? money(contract.payout, currency) : "");
      button.classList.toggle("unread", news > 0);
      if (state.open === room.id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    },
  };
}
