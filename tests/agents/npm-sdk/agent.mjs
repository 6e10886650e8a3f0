// An agent on the published npm SDK (@agentclientprotocol/sdk): it does what the lines of a prompt say, one after the
// other. What it was told is kept in its working directory, so that session/load knows it; it replays before the result.
import { agent, methods, ndJsonStream, PROTOCOL_VERSION, RequestError } from "@agentclientprotocol/sdk";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";

const MODES = { currentModeId: "ask", availableModes: [{ id: "ask", name: "Ask" }, { id: "code", name: "Code" }] };
const OPTIONS = [
  { optionId: "yes", name: "Allow", kind: "allow_once" },
  { optionId: "always", name: "Always allow", kind: "allow_always" },
  { optionId: "no", name: "Reject", kind: "reject_once" },
];
const sessions = new Map();

class Session {
  constructor(id, cwd, kept) {
    Object.assign(this, { id, cwd, secret: kept?.secret ?? null, said: kept?.said ?? [], calls: 0, cancelled: null });
  }
  keep() {
    mkdirSync(join(this.cwd, ".npm-sessions"), { recursive: true });
    writeFileSync(file(this.cwd, this.id), JSON.stringify({ secret: this.secret, said: this.said }));
  }
}
const file = (cwd, id) => join(cwd, ".npm-sessions", `${id}.json`);

// What a line of a prompt does; each gets the session, the client and the words behind the first.
const steps = {
  async say(turn, words) {
    for (const word of words) await turn.text(`${word} `);
    await turn.text("\n");
  },
  async think(turn, words) {
    await turn.update({ sessionUpdate: "agent_thought_chunk", content: { type: "text", text: words.join(" ") } });
  },
  async plan(turn, words) {
    const entries = words.map((content, at) => ({ content, priority: "medium", status: at ? "pending" : "in_progress" }));
    await turn.update({ sessionUpdate: "plan", entries });
  },
  async usage(turn, [used, size]) {
    await turn.update({ sessionUpdate: "usage_update", used: Number(used), size: Number(size) });
  },
  async ticks(turn, [count, milliseconds]) {
    for (let tick = 1; tick <= Number(count); tick++) {
      await turn.text(`tick ${tick}\n`);
      await pause(Number(milliseconds), undefined, { signal: turn.signal });
    }
  },
  async ask(turn, words) {
    const toolCallId = `call-${++turn.session.calls}`;
    const toolCall = { toolCallId, title: words.join(" "), kind: "execute", status: "pending" };
    await turn.update({ sessionUpdate: "tool_call", ...toolCall });
    const asked = { sessionId: turn.session.id, toolCall, options: OPTIONS };
    const { outcome } = await turn.client.request(methods.client.session.requestPermission, asked);
    const chosen = outcome.outcome === "selected" ? outcome.optionId : outcome.outcome;
    const status = chosen === "yes" || chosen === "always" ? "completed" : "failed";
    const content = [{ type: "content", content: { type: "text", text: `${chosen}\n` } }];
    await turn.update({ sessionUpdate: "tool_call_update", toolCallId, status, content });
    await turn.text(`answered ${chosen}\n`);
  },
  async read(turn, [path]) {
    await turn.told(async () => {
      const answer = await turn.client.request(methods.client.fs.readTextFile, { sessionId: turn.session.id, path });
      return `content ${JSON.stringify(answer.content)}`;
    });
  },
  async write(turn, [path, ...words]) {
    await turn.told(async () => {
      const content = words.join(" ");
      await turn.client.request(methods.client.fs.writeTextFile, { sessionId: turn.session.id, path, content });
      return "written";
    });
  },
  async run(turn, [command, ...args]) {
    await turn.told(async () => {
      const terminal = await turn.client.createTerminal({ sessionId: turn.session.id, command, args });
      const { exitCode } = await terminal.waitForExit();
      const { output } = await terminal.currentOutput();
      await terminal.release();
      return `exit ${exitCode} ${JSON.stringify(output)}`;
    });
  },
  async remember(turn, words) {
    turn.session.secret = words.join(" ");
    await turn.text("remembered\n");
  },
  async recall(turn) {
    await turn.text(`secret ${turn.session.secret}\n`);
  },
  async wait(turn) {
    await pause(3_600_000, undefined, { signal: turn.signal });
  },
  async stderr(_turn, words) {
    process.stderr.write(`${words.join(" ")}\n`);
  },
  async die(_turn, [code]) {
    process.exit(Number(code ?? 1));
  },
};

class Turn {
  constructor(session, client, signal) {
    Object.assign(this, { session, client, signal });
  }
  update(update) {
    return this.client.notify(methods.client.session.update, { sessionId: this.session.id, update });
  }
  async text(text) {
    this.session.said.push(text);
    await this.update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text } });
  }
  async told(ask) {
    const answer = await ask().catch((error) => `error ${error.code}`);
    await this.text(`${answer}\n`);
  }
}

async function prompt({ params, client }) {
  const session = sessions.get(params.sessionId);
  if (!session) throw RequestError.invalidParams({ reason: "no such session" });
  session.cancelled = new AbortController();
  const turn = new Turn(session, client, session.cancelled.signal);
  const text = params.prompt.map((block) => block.text ?? "").join("");
  try {
    for (const line of text.split("\n").filter(Boolean)) {
      const [step, ...words] = line.split(" ");
      if (!(step in steps)) throw RequestError.invalidParams({ reason: `no step ${step}` });
      await steps[step](turn, words);
      if (turn.signal.aborted) return { stopReason: "cancelled" };
    }
    return { stopReason: "end_turn" };
  } catch (error) {
    if (turn.signal.aborted) return { stopReason: "cancelled" };
    throw error;
  } finally {
    session.keep();
  }
}

const connection = agent({ name: "holdfast-test-npm" })
  .onRequest(methods.agent.initialize, () => ({
    protocolVersion: PROTOCOL_VERSION,
    agentInfo: { name: "holdfast-test-npm", version: "1" },
    agentCapabilities: { loadSession: true },
    authMethods: [],
  }))
  .onRequest(methods.agent.session.new, ({ params }) => {
    const session = new Session(randomUUID(), params.cwd);
    sessions.set(session.id, session);
    session.keep();
    return { sessionId: session.id, modes: MODES };
  })
  .onRequest(methods.agent.session.load, async ({ params, client }) => {
    const kept = JSON.parse(readFileSync(file(params.cwd, params.sessionId), "utf8"));
    const session = new Session(params.sessionId, params.cwd, kept);
    sessions.set(session.id, session);
    for (const text of session.said) {
      const update = { sessionUpdate: "agent_message_chunk", content: { type: "text", text } };
      await client.notify(methods.client.session.update, { sessionId: session.id, update });
    }
    return { modes: MODES };
  })
  .onRequest(methods.agent.session.setMode, async ({ params, client }) => {
    const update = { sessionUpdate: "current_mode_update", currentModeId: params.modeId };
    await client.notify(methods.client.session.update, { sessionId: params.sessionId, update });
    return {};
  })
  .onRequest(methods.agent.session.prompt, prompt)
  .onNotification(methods.agent.session.cancel, ({ params }) => sessions.get(params.sessionId)?.cancelled?.abort())
  .connect(ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin)));
await connection.closed;
