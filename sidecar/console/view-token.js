// The page without a token: asks for one, and tells what anybody may know about the node.

import { byId, setText } from "./dom.js";
import { UPDATE_STATES } from "./messages.js";

export class TokenView {
  constructor(use) {
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = readToken(byId("token").value);
      if (token === "") return;
      byId("token").value = "";
      use(token);
    });
  }

  show(why) {
    const reason = byId("token-why");
    reason.hidden = why === null;
    if (why !== null) setText(reason, why);
    byId("token").focus();
  }

  /** The public status, or null when nothing answers. */
  status(status) {
    setText(byId("public-status"), describe(status));
  }
}

/** People paste the whole link as well as the token. */
export function readToken(text) {
  const at = text.indexOf("#token=");
  const token = at < 0 ? text : text.slice(at + "#token=".length).split("&")[0];
  return token.trim();
}

function describe(status) {
  if (status === null) return "The node does not answer at the moment.";
  const update = UPDATE_STATES[status.update?.state];
  const state = status.runtime?.state;
  const words = [state ? `The node is there; its runtime is ${state}.` : "The node is there."];
  if (update) words.push(`${update}.`);
  return words.join(" ");
}
