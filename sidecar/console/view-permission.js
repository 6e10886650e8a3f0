// The card of a permission: what an agent wants to do, and a button for each answer, until one of them has won.

import { announce, el, setText } from "./dom.js";
import { allows, answerText, permissionTitle } from "./permission.js";
import { toolContent } from "./view-tool.js";

/** Buttons can be pressed when they have been in sight so long: a press on its way was meant for what stood there before. */
const SEEN_AFTER_MS = 500;

export class PermissionView {
  /** `answer(step, option)`: option null cancels. `rights` {act}: null while nobody knows whether this token may answer. */
  constructor(step, answer) {
    this.step = step;
    this.answer = answer;
    this.head = el("p", { className: "head" });
    this.inside = el("div", { className: "inside" }, ...(hasContent(step.tool) ? toolContent(step.tool) : []));
    this.buttons = el("div", { className: "options", role: "group", "aria-label": "Answers" });
    this.result = el("p", { className: "result", role: "status" });
    this.element = el("section", { className: "permission", role: "group", tabIndex: -1, "aria-label": `Permission: ${permissionTitle(step)}` },
      this.head, el("p", { className: "title" }, permissionTitle(step)), this.inside, this.buttons, this.result);
    this.told = false;
    this.seen = false;
    this.waits = true;
  }

  render(running, rights) {
    const { step } = this;
    const said = answerText(step, !running);
    const waits = (this.waits = said === null);
    this.element.dataset.waits = String(waits);
    this.element.dataset.tone = waits ? "warn" : said.tone;
    setText(this.head, waits ? "The agent asks for permission" : "The agent asked for permission");
    this.drawButtons(waits, rights);
    setText(this.result, said?.text ?? (step.asking === null ? "" : "Sending your answer…"));
    this.inside.hidden = this.inside.childElementCount === 0 || !waits;
    if (waits && !this.told) {
      announce(`The agent asks for permission: ${permissionTitle(step)}`);
      setTimeout(() => this.unlock(), SEEN_AFTER_MS);
    }
    this.told = true;
  }

  unlock() {
    this.seen = true;
    for (const button of this.buttons.querySelectorAll("button")) button.disabled = this.isLocked();
    this.focusFirst();
  }

  /** Whoever went to the question goes on to its first answer, as soon as that can be pressed. */
  focusFirst() {
    if (document.activeElement === this.element) this.buttons.querySelector("button:not(:disabled)")?.focus({ preventScroll: true });
  }

  isLocked() {
    return !this.waits || !this.seen || this.step.answer !== null || this.step.asking !== null;
  }

  drawButtons(waits, rights) {
    const { step } = this;
    const key = JSON.stringify([waits, rights.act, step.asking, step.answer]);
    if (key === this.key) return;
    this.key = key;
    const focused = this.buttons.contains(document.activeElement);
    if (waits && rights.act === false) return this.buttons.replaceChildren(el("p", { className: "note" }, "This token only reads: somebody else has to answer."));
    const shown = rights.act === true ? step.options : [];
    this.buttons.replaceChildren(...shown.map((option) => this.button(option, waits)), ...(waits && rights.act && step.options.length === 0 ? [this.button(NOTHING, waits)] : []));
    if (focused && !waits) this.element.focus({ preventScroll: true });
    // Only now it may be known that this token answers.
    if (waits) this.focusFirst();
  }

  button(option, waits) {
    const chosen = this.step.answer?.outcome === "selected" && this.step.answer.option === option.id;
    const button = el("button", {
      type: "button", disabled: this.isLocked(), onclick: () => this.answer(this.step, option.id),
      className: chosen ? "chosen" : "", data: { option: option.id ?? "", allows: String(allows(option)) },
    }, option.name);
    if (!waits) button.setAttribute("aria-pressed", String(chosen));
    return button;
  }

  place() {
    return this.element;
  }
}

const NOTHING = { id: null, name: "Cancel the request", kind: "" };
const hasContent = ({ input, content, locations }) => input !== null || content.length > 0 || locations.length > 0;
