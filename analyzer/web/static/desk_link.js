/** The way back to the review desk, for who is logged in there. */

import { byId } from "./dom.js";
import { getMe } from "./server.js";

export async function showDeskLink() {
  const me = await getMe();
  byId("desk-link").hidden = me === null;
  return me;
}
