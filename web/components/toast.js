// @ts-check
/** A word in passing. */

import { h } from "../dom.js";

/** How long a toast stays, in ms: long enough to read it twice. */
const STAYS = 5_000;
const tray = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

/** @param {string} text */
export function toast(text) {
  if (!tray.isConnected) document.body.append(tray);
  const element = h("div", { class: "toast", text });
  tray.append(element);
  setTimeout(() => element.remove(), STAYS);
}
