// A pane's prompt, what waits behind the running turn, and what went wrong.

import { el, partsOf, setText } from "./dom.js";
import { errorText } from "./messages.js";
import { OfferView } from "./view-offer.js";

/** Problems on show at once; an older one goes when a newer comes. */
const PROBLEMS_MAX = 3;

export class ComposerView {
  /** `prompt(text)`, `cancel()`, `dequeue(turn)`; `recall()` answers the prompts of before, newest last; `commands()` what the agent offers. */
  constructor(root, actions) {
    this.part = partsOf(root);
    this.actions = actions;
    this.text = this.part("prompt");
    this.recalled = 0;
    this.offer = new OfferView(this.text, this.part("offer"), { commands: actions.commands, take: (text) => this.set(text) });
    this.part("prompt-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.text.addEventListener("input", () => {
      this.grow();
      this.offer.draw();
    });
    this.text.addEventListener("blur", () => this.offer.close());
    this.part("prompt-cancel").addEventListener("click", () => actions.cancel());
  }

  focus() {
    this.text.focus();
  }

  key(event) {
    if (event.isComposing || this.offer.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" && (this.text.value === "" || this.recalled > 0) && !event.shiftKey) {
      this.recall(event, 1);
    } else if (event.key === "ArrowDown" && this.recalled > 0 && !event.shiftKey) {
      this.recall(event, -1);
    } else if (event.key.length === 1 || event.key === "Backspace") {
      this.recalled = 0;
    }
  }

  recall(event, step) {
    const prompts = this.actions.recall();
    const at = this.recalled + step;
    if (at > prompts.length) return;
    event.preventDefault();
    this.recalled = at;
    this.set(at === 0 ? "" : prompts[prompts.length - at]);
  }

  submit() {
    const text = this.text.value;
    if (text.trim() === "") return this.text.focus();
    this.recalled = 0;
    this.set("");
    this.offer.close();
    this.clearProblems();
    this.actions.prompt(text);
  }

  set(text) {
    this.text.value = text;
    this.grow();
  }

  /** Gives a refused prompt back, unless something else was written meanwhile. */
  giveBack(text) {
    if (this.text.value === "") this.set(text);
  }

  grow() {
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight + 2}px`;
  }

  problem(error) {
    const { advice, said, name } = errorText(error);
    const box = this.part("errors");
    const row = el("div", { className: "problem" }, el("div", {}, advice, el("small", {}, [name, said].filter(Boolean).join(": "))));
    row.append(el("button", { type: "button", className: "link", onclick: () => row.remove(), "aria-label": "Dismiss this message" }, "Dismiss"));
    box.append(row);
    while (box.children.length > PROBLEMS_MAX) box.firstChild.remove();
  }

  clearProblems() {
    this.part("errors").replaceChildren();
  }

  /** `closed` is why prompts are not taken now, or null; `sending` are prompts without an answer yet. */
  render({ running, cancelling, queued, sending, agent, closed, act }) {
    this.part("prompt-cancel").hidden = !running || act === false;
    this.part("prompt-cancel").disabled = cancelling;
    setText(this.part("prompt-cancel"), cancelling ? "Cancelling…" : "Cancel turn");
    setText(this.part("prompt-send"), running ? "Queue" : agent ? "Send" : "Run");
    this.part("prompt-send").disabled = closed !== null;
    this.text.disabled = closed !== null;
    this.text.placeholder = closed ?? (agent ? "What is to be done?" : "A command line, such as: make test");
    this.text.dataset.kind = agent ? "agent" : "command";
    this.renderQueue(queued, sending);
  }

  renderQueue(queued, sending) {
    const rows = [...queued.map((turn) => this.queuedRow(turn)), ...sending.map(sendingRow)];
    const queue = this.part("queue");
    queue.hidden = rows.length === 0;
    const key = JSON.stringify([queued.map(({ id, text, leaving }) => [id, text, leaving]), sending.map(({ text, held }) => [text, held])]);
    if (key === this.queueKey) return;
    this.queueKey = key;
    queue.replaceChildren(el("h3", {}, queued.length > 0 ? `Waiting (${queued.length})` : "Sending"), el("ol", {}, ...rows));
  }

  queuedRow(turn) {
    const onclick = () => this.actions.dequeue(turn);
    const button = el("button", { type: "button", disabled: turn.leaving === true, onclick, "aria-label": `Take back: ${turn.text ?? turn.id}` }, "Take back");
    return el("li", { data: { turn: turn.id } }, el("span", {}, turn.text ?? turn.id), button);
  }
}

function sendingRow({ text, held }) {
  return el("li", {}, el("span", {}, text), el("span", { className: "note" }, held ? "held until the node serves again" : "sending…"));
}
