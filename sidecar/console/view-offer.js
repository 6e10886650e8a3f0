// The agent's commands, offered while a prompt begins with a slash.

import { offered } from "./commands.js";
import { el } from "./dom.js";

let lists = 0;

export class OfferView {
  /** `commands()` answers what there is; `take(text)` puts a chosen one into the prompt. */
  constructor(input, list, { commands, take }) {
    this.input = input;
    this.list = list;
    this.commands = commands;
    this.take = take;
    this.found = [];
    this.chosen = 0;
    list.id = `offer-${++lists}`;
    input.setAttribute("aria-controls", list.id);
    input.setAttribute("aria-autocomplete", "list");
  }

  draw() {
    this.found = offered(this.commands(), this.input.value);
    this.chosen = Math.min(this.chosen, Math.max(0, this.found.length - 1));
    this.list.hidden = this.found.length === 0;
    this.list.replaceChildren(...this.found.map((command, at) => this.row(command, at)));
    if (this.list.hidden) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `${this.list.id}-${this.chosen}`);
  }

  row({ name, description, hint }, at) {
    const row = el("li", { id: `${this.list.id}-${at}`, role: "option", "aria-selected": String(at === this.chosen) },
      el("span", { className: "name" }, `/${name}`), el("span", { className: "note" }, [hint === null ? "" : `‹${hint}›`, description].filter(Boolean).join(" ")));
    // Before the prompt loses the focus, which would take the list away.
    row.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.pick(at);
    });
    return row;
  }

  /** Answers whether the key was for the list. */
  key(event) {
    if (this.list.hidden) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.chosen = (this.chosen + (event.key === "ArrowDown" ? 1 : -1) + this.found.length) % this.found.length;
      this.draw();
    } else if (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey && this.input.value !== `/${this.found[this.chosen].name}`)) {
      this.pick(this.chosen);
    } else if (event.key === "Escape") {
      this.close();
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }

  pick(at) {
    const { name, hint } = this.found[at];
    this.take(`/${name}${hint === null ? "" : " "}`);
    this.close();
    this.input.focus();
  }

  close() {
    this.found = [];
    this.chosen = 0;
    this.list.hidden = true;
    this.list.replaceChildren();
    this.input.removeAttribute("aria-activedescendant");
  }
}
