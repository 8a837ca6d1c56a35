// The types that the page is written with are those of the API description. Checked by scripts/browser.
import type { components } from "./openapi.d.ts";
import type * as Api from "@web/api.d.ts";

type Generated = components["schemas"];
/** Whether what the server sends fits what the page reads, or what the page sends fits what the server takes. */
type Fits<From, To> = [From] extends [To] ? true : ["does not fit", From, To];
const fits = <_T extends true>() => {};

fits<Fits<Generated["StreamEvent"], Api.StreamEvent>>();
fits<Fits<Api.StreamEvent, Generated["StreamEvent"]>>();
fits<Fits<Generated["Rooms"], Api.Rooms>>();
fits<Fits<Generated["DetailedRoom"], Api.DetailedRoom>>();
fits<Fits<Generated["Problem"], Api.Problem>>();
fits<Fits<Generated["ServerConfig"], Api.ServerConfig>>();
fits<Fits<Generated["Attachment"], Api.Attachment>>();
fits<Fits<Api.ContractChangeInput, Generated["ContractChangeInput"]>>();
