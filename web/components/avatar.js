// @ts-check
/** A picture, or initials in a colour of their own, with a dot that says whether somebody is there. */

import { attribute, h, setText } from "../dom.js";
import { hue, initials } from "../words.js";

/** @typedef {{ name: string, logo?: string, company?: boolean, status?: import("../api.d.ts").ActivityState }} Face */

/** @param {string} [size] */
export function avatar(size = "") {
  const letters = h("span", { class: "letters" });
  const picture = h("img", { alt: "", loading: "lazy", referrerpolicy: "no-referrer", hidden: true });
  const dot = h("span", { class: "dot" });
  const element = h("span", { class: `avatar ${size}`, "aria-hidden": "true" }, letters, picture, dot);
  picture.addEventListener("error", () => { picture.hidden = true; });
  return {
    element,
    /** @param {Face} face */
    update({ name, logo, company, status }) {
      setText(letters, initials(name));
      element.style.setProperty("--hue", String(hue(name)));
      element.classList.toggle("company", company === true);
      attribute(element, "data-status", status);
      if (logo && picture.getAttribute("src") !== logo) {
        picture.src = logo;
        picture.hidden = false;
      }
    },
  };
}
