// A real node in a directory of its own, started as people start it; everything of it is ended at the end.
import { execFile, spawn } from "node:child_process";
import { existsSync, openSync, readFileSync, readdirSync, readlinkSync, closeSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
/** From `up` to the ready line, with nothing to build. */
const READY_WITHIN_MS = 60_000;
/** For anything the node is expected to do by itself. */
export const DEADLINE_MS = 60_000;

const BUILT = resolve(dirname(fileURLToPath(import.meta.url)), "../../target/release/holdfast");
export const binary = [process.env.HOLDFAST_BIN, process.env.HOLDFAST_BIN_DIR && join(process.env.HOLDFAST_BIN_DIR, "holdfast"), BUILT]
  .find((path) => path && existsSync(path)) ?? null;
/** What a test says when it cannot run. */
export const skip = binary === null ? "holdfast is not built: cargo build --release --workspace (or set HOLDFAST_BIN)" : false;

/** Lets time pass: between two looks at a level, never in place of one. */
export const pass = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits for a level: `probe` answering something truthy. */
export async function until(what, probe, within = DEADLINE_MS) {
  const deadline = Date.now() + within;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${what}`);
    await pass(20);
  }
}

export class Node {
  /** Starts a node, with `settings` as its holdfast.toml, and waits for its ready line. */
  static async up(settings = "") {
    const node = new Node();
    node.root = await mkdtemp(join(tmpdir(), "holdfast-browser."));
    node.home = join(node.root, "home");
    await mkdir(node.home);
    if (settings !== "") await writeFile(join(node.home, "holdfast.toml"), settings);
    const log = openSync(join(node.root, "up.stderr"), "a");
    const environment = { ...process.env };
    delete environment.HOLDFAST_HOME;
    node.child = spawn(binary, ["up", "--home", node.home, "--listen", "127.0.0.1:0"], {
      cwd: node.root, stdio: ["ignore", "pipe", log], env: environment,
    });
    closeSync(log);
    node.ended = new Promise((done) => node.child.once("exit", done));
    try {
      node.ready = JSON.parse(await node.firstLine());
    } catch (error) {
      const told = node.logs();
      await node.end();
      throw new Error(`${error.message}\n${told}`);
    }
    return node;
  }

  firstLine() {
    return new Promise((done, failed) => {
      const timer = setTimeout(() => failed(new Error("holdfast up is not ready in time")), READY_WITHIN_MS);
      let text = "";
      this.child.stdout.on("data", (piece) => {
        text += piece;
        if (!text.includes("\n")) return;
        clearTimeout(timer);
        done(text.split("\n")[0]);
      });
      this.child.once("exit", (code) => failed(new Error(`holdfast up ended with ${code}`)));
    });
  }

  /** Runs an operator's command; its stdout. */
  async holdfast(...args) {
    const { stdout } = await run(binary, ["--home", this.home, ...args], { timeout: DEADLINE_MS });
    return stdout;
  }

  /** `status --json`, whatever its exit code; null when there is none. */
  async status() {
    try {
      return JSON.parse(await this.holdfast("status", "--json"));
    } catch (error) {
      try {
        return JSON.parse(error.stdout);
      } catch {
        return null;
      }
    }
  }

  async rpc(method, params) {
    return JSON.parse(await this.holdfast("rpc", method, JSON.stringify(params)));
  }

  /** The active runtime {slot, epoch, pid, runtime_instance_id}, once there is one that serves. */
  active(other = null) {
    return until("an active runtime", async () => {
      const active = (await this.status())?.active;
      return active?.pid && active.epoch && active.runtime_instance_id !== other ? active : null;
    });
  }

  /** A warm switch; the new active runtime. */
  async switch() {
    const before = await this.active();
    await this.holdfast("switch");
    return this.active(before.runtime_instance_id);
  }

  /** SIGKILL of the active runtime; the one that serves after it. */
  async killActive() {
    const before = await this.active();
    process.kill(before.pid, "SIGKILL");
    return this.active(before.runtime_instance_id);
  }

  /** What the node's processes wrote, for a failed test. */
  logs() {
    const files = [join(this.root, "up.stderr")];
    const folder = join(this.home, "logs");
    if (existsSync(folder)) files.push(...readdirSync(folder).map((name) => join(folder, name)));
    return files.map((file) => `--- ${file}\n${readFileSync(file, "utf8").split("\n").slice(-40).join("\n")}`).join("\n");
  }

  /** Stops the node, then ends whatever of it is left. */
  async end() {
    await this.holdfast("stop").catch(() => {});
    for (let round = 0; round < 100; round++) {
      const left = below(this.root);
      if (left.length === 0) break;
      for (const pid of left) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // it has ended by itself
        }
      }
      await pass(50);
    }
    await this.ended;
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Pids of the processes that work in or were started for a directory of the test's own. */
function below(root) {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && belongs(name, root)).map(Number);
}

function belongs(pid, root) {
  try {
    if (readlinkSync(`/proc/${pid}/cwd`).startsWith(root)) return true;
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").some((argument) => argument.startsWith(root));
  } catch {
    return false;
  }
}
