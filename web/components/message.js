// @ts-check
/** One message, from the moment it is sent until it has been read. */

import { h, icon, setChildren, setText, show } from "../dom.js";
import { DONE, clock } from "../words.js";
import { attachment } from "./attachment.js";
import { avatar } from "./avatar.js";
import { offerCard } from "./deal.js";

/**
 * @typedef {object} MessageView
 * @property {string} key
 * @property {number} [id]  its number, once it has one
 * @property {boolean} mine
 * @property {{ name: string, short: string, logo?: string, company?: string }} author
 * @property {string} at
 * @property {string} content
 * @property {import("../api.d.ts").ContractChange["type"]} [change]
 * @property {Parameters<ReturnType<typeof offerCard>["update"]>[0]} [offer]
 * @property {string} [moved]  the campaign it switched to
 * @property {import("./attachment.js").FileView} [file]
 * @property {boolean} first  of a group by one author
 * @property {boolean} last
 * @property {string} [mark]  who has read it, or where it is
 * @property {boolean} [read]
 * @property {"sending" | "waiting" | "sent" | "failed"} [stage]
 * @property {string} [why]
 */

/** @type {Record<string, Parameters<typeof icon>[0]>} */
const SIGNS = {
  accepted_by_creator: "check", withdrawn_by_company: "back", cancelled_by_creator: "close",
  finished_by_creator: "flag", approved_by_company: "checks",
};

/**
 * @param {{ act(move: import("../state.js").Move): void, retry(key: string): void, drop(key: string): void,
 *   refresh(id: string): Promise<import("../api.d.ts").Attachment> }} actions
 */
export function messageRow(actions) {
  const face = avatar("small");
  const author = h("span", { class: "author" });
  const bubble = h("div", { class: "bubble" });
  const stack = h("div", { class: "stack" });
  const [time, markText] = [h("time", {}), h("span", { class: "mark" })];
  const marks = h("span", { class: "mark-icon" });
  const meta = h("div", { class: "meta" }, time, marks, markText);
  const why = h("span", {});
  let key = "";
  const again = h("button", { type: "button", class: "link", text: "Try again", onclick: () => actions.retry(key) });
  const trouble = h("div", { class: "trouble", role: "alert" }, h("p", {}, icon("warn"), why),
    again,
    h("button", { type: "button", class: "link", text: "Discard", onclick: () => actions.drop(key) }));
  const element = h("li", { class: "row" }, face.element, stack);
  /** @type {ReturnType<typeof attachment> | undefined} */
  let file;
  /** @type {ReturnType<typeof offerCard> | undefined} */
  let offer;
  /** @type {HTMLElement | undefined} */
  let step;
  let sign = "";

  /** @param {MessageView} view */
  const parts = (view) => {
    if (view.file) {
      file ??= attachment(view.file, actions.refresh);
      file.update(view.file);
    }
    if (view.offer) {
      offer ??= offerCard(actions.act);
      offer.update(view.offer);
    }
    if ((view.change && !view.offer) || view.moved) step ??= stepLine(view);
    setText(bubble, view.content);
    return [!view.mine && view.first && author, view.content !== "" && bubble, view.file && file?.element,
      view.offer && offer?.element, step, view.stage === "failed" && trouble, (view.last || view.mark) && meta];
  };

  return {
    element,
    /** @param {MessageView} view */
    update(view) {
      key = view.key;
      element.className = ["row", view.mine ? "mine" : "theirs", view.first && "first", view.last && "last",
        view.stage && `is-${view.stage}`, step && view.content === "" && !view.file && "bare"].filter(Boolean).join(" ");
      element.dataset.key = view.key;
      element.dataset.number = view.id ? String(view.id) : "";
      face.update({ name: view.author.name, logo: view.author.logo });
      setText(author, view.author.company ? `${view.author.name} · ${view.author.company}` : view.author.name);
      setText(time, clock(view.at));
      time.dateTime = view.at;
      setText(markText, view.mark ?? "");
      const wanted = view.stage === "sending" || view.stage === "waiting" ? "clock" : view.read ? "checks" : view.mine && view.stage !== "failed" ? "check" : "";
      if (wanted !== sign) {
        sign = wanted;
        marks.replaceChildren(...(wanted ? [icon(/** @type {"clock"} */ (wanted))] : []));
      }
      marks.classList.toggle("read", view.read === true);
      show(marks, view.mine && view.mark !== undefined);
      setText(why, view.why ?? "");
      // Terms that were refused are looked at again, not sent again.
      show(again, view.change === undefined);
      setChildren(stack, /** @type {Node[]} */ (parts(view).filter(Boolean)));
    },
  };
}

/** A change that is no proposal: a line with a sign. @param {MessageView} view */
function stepLine(view) {
  const who = view.mine ? "You" : view.author.short;
  const text = view.change ? `${who} ${DONE[view.change]}` : `${who} switched to ${view.moved}`;
  return h("div", { class: "step-line", "data-change": view.change ?? "moved" },
    h("span", { class: "step-sign" }, icon(SIGNS[view.change ?? ""] ?? "swap")), h("span", { text }));
}
