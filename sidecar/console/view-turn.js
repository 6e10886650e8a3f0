// One turn: its prompt, what came of it, and how it ended. A command's turn is its output; an agent's its steps, with
// what else it wrote folded behind them.

import { announce, el, setText } from "./dom.js";
import { adviceFor, durationText, sealText } from "./messages.js";
import { usageText } from "./usage.js";
import { OutputView } from "./view-output.js";
import { StepsView } from "./view-steps.js";
import { visible } from "./visible.js";

export class TurnView {
  /** `moved()`: a person asked for another part; `answer` as in PermissionView. */
  constructor(turn, { moved, answer }) {
    this.turn = turn;
    this.moved = moved;
    this.answer = answer;
    this.output = null;
    this.steps = null;
    this.log = null;
    this.folded = false;
    this.pinned = false; // opened by a person, not folded up again
    this.isStale = true;
    this.wasRunning = false;
    this.ask = el("div", { className: "ask", tabIndex: 0 });
    this.badge = el("span", { className: "badge" });
    this.cut = el("p", { className: "note cut", hidden: true }, "A part of this turn is no longer kept by the node.");
    this.body = el("div", { className: "body" });
    this.foot = el("footer", { hidden: true });
    this.element = el("section", { className: "turn", role: "article", "aria-label": `Turn ${turn.id}`, data: { turn: turn.id } },
      el("header", {}, this.ask, this.badge), this.cut, this.body, this.foot);
  }

  stale() {
    this.isStale = true;
  }

  complete() {
    return (this.output?.complete() ?? true) && (this.steps?.complete() ?? true);
  }

  chunks() {
    return (this.output?.size() ?? 0) + (this.steps?.size() ?? 0);
  }

  isAgent(agent) {
    return agent || this.turn.steps.list.length > 0 || this.turn.steps.dropped > 0;
  }

  fold() {
    this.folded = true;
    this.clear();
    const { screen, steps } = this.turn;
    const what = steps.list.length > 0 ? `Show what was done (${steps.list.length.toLocaleString()} steps)` : `Show output (${screen.lines.toLocaleString()} lines)`;
    const onclick = () => {
      this.unfold();
      this.moved();
    };
    this.body.replaceChildren(el("button", { type: "button", className: "more link", onclick }, what));
  }

  unfold() {
    if (!this.folded) return;
    this.folded = false;
    this.pinned = true;
    this.body.replaceChildren();
  }

  clear() {
    this.output = this.steps = this.log = null;
    this.body.replaceChildren();
  }

  render(following, { agent, rights }) {
    const { turn } = this;
    if ((this.output && this.output.screen !== turn.screen) || (this.steps && this.steps.steps !== turn.steps)) this.clear();
    if (turn.lost && this.body.childElementCount === 0) this.body.append(el("p", { className: "note" }, "This turn's output is more than the page keeps; “holdfast task attach --all” shows it."));
    if (!this.folded) {
      if (this.isAgent(agent)) this.renderSteps(following, rights);
      else if (turn.screen.chunks.length > 0) this.renderOutput(following);
    }
    if (this.isStale) this.renderFrame(agent);
    this.isStale = false;
  }

  renderOutput(following) {
    this.output ??= new OutputView(this.body, this.turn.screen, this.moved);
    this.output.render(following);
  }

  renderSteps(following, rights) {
    const { turn } = this;
    if (this.output) this.clear(); // what looked like a command is an agent
    if (!this.steps && turn.steps.list.length > 0) {
      this.steps = new StepsView(turn.steps, { moved: this.moved, answer: this.answer });
      this.body.prepend(this.steps.element);
    }
    this.steps?.render(following, turn.state === "running", rights);
    if (!this.log && turn.screen.chunks.length > 0) {
      this.log = new LogView(turn.screen, this.moved);
      this.body.append(this.log.element);
    }
    this.log?.render();
  }

  renderFrame(agent) {
    const { turn } = this;
    this.element.dataset.kind = this.isAgent(agent) ? "agent" : "command";
    this.element.dataset.state = turn.state;
    this.cut.hidden = !turn.cut;
    setText(this.ask, visible(turn.text ?? "(the prompt is no longer kept)"));
    const running = turn.state === "running";
    this.badge.className = running ? "badge running" : "badge";
    this.badge.dataset.tone = running ? "good" : "quiet";
    this.badge.replaceChildren(...(running ? [el("span", { className: "dot", "aria-hidden": "true" }), "running"] : []));
    if (turn.state === "sealed") this.renderSeal(agent);
    this.wasRunning = running;
  }

  renderSeal(agent) {
    const { turn } = this;
    const { text, tone, loud } = sealText(turn, this.isAgent(agent));
    this.foot.dataset.tone = tone;
    this.foot.dataset.reason = turn.stopReason;
    this.foot.classList.toggle("loud", loud);
    const lines = turn.screen.lines;
    const facts = [durationText(turn), usageText(turn.usage), !this.isAgent(agent) && lines > 0 ? `${lines.toLocaleString()} ${lines === 1 ? "line" : "lines"}` : null];
    const anything = lines > 0 || turn.steps.list.length > 0;
    const save = el("button", { type: "button", className: "link", onclick: () => this.save() }, this.isAgent(agent) ? "Save as text" : "Save output");
    const why = [adviceFor(turn.code), [turn.code, turn.message].filter(Boolean).join(": ")].filter(Boolean).join(" ");
    const detail = why === "" ? "" : loud ? el("span", { className: "detail" }, why) : ` · ${why}`;
    const sign = loud ? [el("span", { className: "sign", "aria-hidden": "true" }, "⚠")] : [];
    this.foot.replaceChildren(...sign, el("span", { className: "seal" }, text, detail), el("span", { className: "grow" }), el("span", { className: "facts" }, facts.filter(Boolean).join(" · ")), ...(anything ? [save] : []));
    this.foot.hidden = false;
    if (this.wasRunning) announce(`Turn ended. ${text} ${turn.message ?? ""}`.trim());
  }

  /** The element of a part that a search found. */
  reveal(part, { agent, rights }) {
    if (part === "ask") return this.ask;
    this.unfold();
    this.render(false, { agent, rights });
    if (part.step !== undefined) return this.steps?.reveal(part, this.turn.state === "running", rights) ?? null;
    return (this.output ?? this.log)?.reveal(part.chunk) ?? null;
  }

  save() {
    const { turn } = this;
    const text = [turn.steps.text(), turn.screen.text()].filter((part) => part !== "").join("\n\n");
    const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    el("a", { href: url, download: `turn-${turn.id}.txt` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}

/** What an agent wrote beside its protocol: stderr, and lines that are none of it. Folded. */
class LogView {
  constructor(screen, moved) {
    this.screen = screen;
    this.moved = moved;
    this.summary = el("summary", {});
    this.body = el("div", { className: "inside" });
    this.element = el("details", { className: "log" }, this.summary, this.body);
    this.element.addEventListener("toggle", () => this.render());
    this.output = null;
  }

  render() {
    const { lines } = this.screen;
    setText(this.summary, `Log of the agent · ${lines.toLocaleString()} ${lines === 1 ? "line" : "lines"}`);
    if (!this.element.open) return;
    this.output ??= new OutputView(this.body, this.screen, this.moved);
    this.output.render(true);
  }

  reveal(chunk) {
    this.element.open = true;
    this.render();
    return this.output.reveal(chunk);
  }
}
