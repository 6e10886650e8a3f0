// Drives each installed agent alone over its stdin and stdout: initialize, a session, a prompt with text and a
// permission, a cancel, and a load by a second process. Shows that the agents work, apart from anything of ours.
//
//   node tests/agents/check.mjs [NAME...]
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const DEADLINE_MS = 30_000;
const skills = join(dirname(fileURLToPath(import.meta.url)), "../.tools/agents/skills");

class Agent {
  constructor(name, cwd) {
    const directory = join(skills, name);
    const manifest = readFileSync(join(directory, "skill.toml"), "utf8");
    const argv = JSON.parse(/^argv = (.*)$/m.exec(manifest)[1]);
    const env = Object.fromEntries([...(/^env = \{(.*)\}$/m.exec(manifest)?.[1] ?? "").matchAll(/(\w+) = "([^"]*)"/g)].map((found) => found.slice(1)));
    const program = argv[0].startsWith("./") ? join(directory, argv[0]) : argv[0];
    this.child = spawn(program, argv.slice(1), { cwd, env: { PATH: process.env.PATH, ...env }, detached: true });
    this.stderr = "";
    this.child.stderr.on("data", (data) => (this.stderr += data));
    this.next = 1;
    this.asked = new Map();
    this.updates = [];
    this.permission = () => ({ outcome: "cancelled" });
    createInterface({ input: this.child.stdout }).on("line", (line) => this.take(JSON.parse(line)));
  }
  take(message) {
    if (message.method === "session/update") this.updates.push(message.params.update);
    else if (message.method === "session/request_permission") {
      this.send({ id: message.id, result: { outcome: this.permission(message.params) } });
    } else if (message.method && message.id !== undefined) {
      this.send({ id: message.id, error: { code: -32601, message: "not here" } });
    } else if (!message.method) this.asked.get(message.id)?.(message);
  }
  send(message) {
    this.child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }
  call(method, params) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${method}: no answer; stderr: ${this.stderr}`)), DEADLINE_MS);
      this.asked.set(id, ({ result, error }) => {
        clearTimeout(late);
        if (error) reject(new Error(`${method}: ${JSON.stringify(error)}; stderr: ${this.stderr}`));
        else resolve(result);
      });
      this.send({ id, method, params });
    });
  }
  initialize() {
    const clientCapabilities = { fs: { readTextFile: true, writeTextFile: true }, terminal: true };
    return this.call("initialize", { protocolVersion: 1, clientCapabilities, clientInfo: { name: "check", version: "1" } });
  }
  prompt(sessionId, text) {
    this.updates = [];
    return this.call("session/prompt", { sessionId, prompt: [{ type: "text", text }] });
  }
  text() {
    const chunks = this.updates.filter((update) => update.sessionUpdate === "agent_message_chunk");
    return chunks.map((update) => update.content.text).join("");
  }
  end() {
    process.kill(-this.child.pid, "SIGKILL");
  }
}

function expect(what, actual, wanted) {
  const fits = wanted instanceof RegExp ? wanted.test(actual) : actual === wanted;
  if (!fits) throw new Error(`${what}: ${JSON.stringify(actual)} is not ${wanted}`);
}

async function until(what, level) {
  for (let waited = 0; waited < DEADLINE_MS; waited += 10) {
    if (level()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`still not: ${what}`);
}

async function check(name) {
  const cwd = mkdtempSync(join(tmpdir(), "agent."));
  let agent = new Agent(name, cwd);
  try {
    const said = await agent.initialize();
    expect("protocol", said.protocolVersion, 1);
    const { sessionId } = await agent.call("session/new", { cwd, mcpServers: [] });
    agent.permission = ({ options }) => ({ outcome: "selected", optionId: options.find((option) => option.kind === "allow_once").optionId });
    const ended = await agent.prompt(sessionId, "remember blue\nsay one two\nask echo asked\nsay three");
    expect("stop reason", ended.stopReason, "end_turn");
    expect("text", agent.text(), /remembered\s+one two\s+(answered yes|output .*asked.*)\s+three/s);
    const kinds = new Set(agent.updates.map((update) => update.sessionUpdate));
    expect("a tool call", kinds.has("tool_call") && kinds.has("tool_call_update"), true);
    const running = agent.prompt(sessionId, "ticks 1000 20");
    await until("text of a running turn", () => agent.text().includes("tick 3"));
    agent.send({ method: "session/cancel", params: { sessionId } });
    expect("stop reason of a cancelled turn", (await running).stopReason, "cancelled");
    agent.end();
    agent = new Agent(name, cwd);
    expect("load is offered", (await agent.initialize()).agentCapabilities.loadSession, true);
    await agent.call("session/load", { sessionId, cwd, mcpServers: [] });
    await agent.prompt(sessionId, "recall");
    expect("what it was told before", agent.text(), /secret blue/);
    return agent.stderr;
  } finally {
    agent.end();
    rmSync(cwd, { recursive: true, force: true });
  }
}

let failed = 0;
const names = process.argv.length > 2 ? process.argv.slice(2) : readdirSync(skills);
for (const name of names) {
  try {
    const stderr = await check(name);
    console.log(`${name}: works${stderr ? `; stderr: ${stderr.trim()}` : ""}`);
  } catch (error) {
    failed++;
    console.log(`${name}: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
