// The strip below the head of the page while the node's programs change, or after that failed.

import { announce, byId, el, setText } from "./dom.js";

/** How long "Copied" is shown. */
const COPIED_SHOWN_MS = 1_500;
/** A switch takes less than this as a rest: for so little the page does not jump. */
const SHOWN_AFTER_MS = 800;
/** States that pass by themselves, quickly where all goes well. */
const PASSING = new Set(["prewarming", "admitted", "switching", "probation", "rolling_back"]);

export class UpdateView {
  constructor() {
    this.strip = byId("update-strip");
    this.key = null; // of what is drawn; only the time left is drawn over it
    this.dismissed = null; // key of an ended one that was put away
    this.since = null; // when there began to be something to show
  }

  /** Draws what `shownUpdate` answered. Answers in how many milliseconds it is to be drawn again, or null. */
  render(shown, now) {
    const key = shown && JSON.stringify({ ...shown, left: null, leftText: null, share: null });
    document.body.dataset.update = shown?.state ?? "none";
    this.since = shown === null ? null : (this.since ?? now);
    const early = shown !== null && this.strip.hidden && PASSING.has(shown.state) ? this.since + SHOWN_AFTER_MS - now : 0;
    this.strip.hidden = shown === null || key === this.dismissed || early > 0;
    if (this.strip.hidden) {
      this.key = null;
      return early > 0 ? early : null;
    }
    if (key !== this.key) this.draw(shown, key);
    setText(this.left, shown.leftText ?? "");
    this.bar.hidden = shown.share === null;
    if (shown.share !== null) this.bar.value = shown.share;
    return shown.left ? 1000 : null;
  }

  draw(shown, key) {
    const before = this.strip.dataset.state;
    this.key = key;
    this.strip.dataset.tone = shown.tone;
    this.strip.dataset.state = shown.state;
    this.left = el("span", { className: "left" });
    this.bar = el("progress", { max: 1, "aria-label": "Time passed in this state" });
    const away = el("button", { type: "button", className: "away", title: "Put this away", "aria-label": "Put this away", onclick: () => this.dismiss() }, "✕");
    this.strip.replaceChildren(
      el("div", { className: "update-head" }, el("span", { className: "dot", "aria-hidden": "true" }), el("strong", {}, shown.title), this.left, ...(shown.ended ? [away] : [])),
      this.bar,
      el("p", {}, [shown.text, ...shown.details].join(" ")),
      ...(shown.queued ? [el("p", { className: "queued" }, shown.queued)] : []),
      ...(shown.actions.length > 0 ? [actions(shown.actions)] : []),
    );
    if (before !== shown.state) announce(`${shown.title}. ${shown.text}`);
  }

  dismiss() {
    this.dismissed = this.key;
    this.key = null;
    this.strip.hidden = true;
  }
}

function actions(all) {
  const rows = all.map(({ label, command }) => el("li", {}, el("span", {}, label), el("code", {}, command), copyButton(command)));
  return el("div", { className: "commands" }, el("p", { className: "hint" }, "On the node's machine:"), el("ul", {}, ...rows));
}

function copyButton(command) {
  const button = el("button", { type: "button", "aria-label": `Copy: ${command}` }, "Copy");
  button.addEventListener("click", async () => {
    setText(button, (await copy(command)) ? "Copied" : "Select it");
    setTimeout(() => setText(button, "Copy"), COPIED_SHOWN_MS);
  });
  return button;
}

/** Browsers give the clipboard to secure pages only; elsewhere the old way does it where it is still there. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { value: text, className: "hidden" });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
