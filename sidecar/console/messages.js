// What the page says: every state and error with what it means and what to do about it.

/** Label, tone and explanation of each word of `connectionLabel`. */
export const STATES = {
  "signed-out": { label: "Signed out", tone: "quiet", text: "This page has no valid token." },
  connecting: { label: "Connecting", tone: "busy", text: "Opening the connection to the node." },
  reconnecting: {
    label: "Reconnecting", tone: "warn",
    text: "The connection broke and is being opened again. Nothing is lost: work on the node goes on, and what it wrote meanwhile will be shown.",
  },
  restarting: {
    label: "Restarting", tone: "busy",
    text: "The node restarts from its new programs. The connection comes back by itself, and nothing is lost.",
  },
  offline: {
    label: "Offline", tone: "bad",
    text: "The node does not answer. Check that its machine is on and reachable; on the machine, “holdfast status” says what is wrong and “holdfast up” starts it.",
  },
  connected: { label: "Connected", tone: "good", text: "The connection is open; the node has not told its state yet." },
  running: { label: "Running", tone: "good", text: "The node serves." },
  starting: { label: "Starting", tone: "busy", text: "The node is starting. What you send is kept and done as soon as it serves." },
  switching: { label: "Switching", tone: "busy", text: "The node hands over to another runtime. Your work goes on and this connection stays open." },
  settling: { label: "Settling", tone: "busy", text: "The node makes sure which runtime serves. Your work goes on; commands wait and are done once." },
  degraded: {
    label: "Degraded", tone: "bad",
    text: "The node can show its work but accepts no new commands. On the machine, “holdfast status” names the cause and “holdfast logs” has the details.",
  },
  stopping: { label: "Stopping", tone: "warn", text: "The node is being stopped on its machine." },
};

export const TASK_STATES = {
  missing: "not there", creating: "being made", ready: "ready", active: "a turn runs", idle: "idle", errored: "failed", stopped: "stopped",
};

export const UPDATE_STATES = {
  idle: null, planned: "Update planned", preparing: "Update is being prepared", countdown: "Update starts soon",
  prewarming: "Update is warming up", admitted: "Update is ready to switch", switching: "Update is switching",
  probation: "Update is on probation", rolling_back: "Rolling back", root_promotion_pending: "Root promotion pending",
  root_promoting: "Root promotion", root_restart_in_progress: "Root restart in progress", succeeded: "Update succeeded",
  failed: "Update failed", rolled_back: "Update rolled back", cancelled: "Update cancelled", expired: "Update expired",
};

/**
 * What an ended turn says: {text, tone, loud}. `loud` is a turn that did not do what it was asked for and may have done
 * a part of it. `agent`: the turn was an agent's, not a command's.
 */
export function sealText({ stopReason, exitCode, neverRan, message }, agent = false) {
  if (neverRan) return { text: stopReason === "cancelled" || stopReason === "dequeued" ? "Taken back before it ran" : "Never ran", tone: "quiet", loud: false };
  const code = exitCode === null ? "" : ` · exit code ${exitCode}`;
  const end = (text, tone, loud = false) => ({ text, tone, loud });
  switch (stopReason) {
    case "end_turn":
      return end(exitCode === null ? "Done" : `Exit code ${exitCode}`, exitCode ? "bad" : "good");
    case "cancelled": return end(`Cancelled${code}`, "warn");
    case "failed": return end(exitCode === null ? "Failed" : `Exit code ${exitCode}`, "bad", agent);
    case "interrupted": return end(`Interrupted: the ${agent ? "agent" : "process"} is gone, and it was not run again${code}`, "bad", true);
    case "limit":
      return end(agent || message !== null ? `Stopped at a limit${code}` : `Stopped: the turn wrote more than a turn may (256 MiB)${code}`, agent ? "warn" : "bad", true);
    default: return end(`Ended: ${stopReason}${code}`, "quiet");
  }
}

/** What a pane says while the node is in transition; null where it serves. `running`: a turn runs there. */
export function pauseText(label, running) {
  const what = PAUSES[label];
  if (!what) return null;
  return `${what} ${running ? "Output may pause; nothing is lost." : "What you send now is kept and done once."}`;
}

const PAUSES = {
  switching: "The node is switching.", settling: "The node is settling.", starting: "The node is starting.",
  restarting: "The node is restarting.", reconnecting: "Reconnecting.",
};

/** How long a turn took, or null where the events do not say. */
export function durationText({ startedAt, sealedAt }) {
  if (!Number.isFinite(startedAt) || !Number.isFinite(sealedAt) || sealedAt < startedAt) return null;
  const seconds = (sealedAt - startedAt) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds % 60)];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`;
}

const ADVICE = {
  TASK_NOT_FOUND: "There is no such task any more. Open it again from the list.",
  TASK_NOT_READY: "The task is not open. Open it again, then repeat this.",
  SWITCH_TIMEOUT: "The task's worker took too long to start. Try again; the node's log says why (“holdfast logs”).",
  WORKER_DEAD: "The task's process has died. Open the task again to start another.",
  BOOTSTRAP_FAILED: "The task's worker could not be started. Opening the task again tries it once more.",
  INVALID_REQUEST: "The node did not accept this as it is. Correct it and send it again.",
  OUTPUT_LIMIT: "More output than is allowed.",
  WORKSPACE_POLICY_VIOLATION: "That path lies outside the task's workspace.",
  BUSY: "Too much is waiting already. Let something finish, or take something back, then try again.",
  ALREADY_ACTIVE: "A turn is running in this task. Wait for its end, or queue this one.",
  STORAGE_FULL: "The node's disk is full, so it accepts nothing new. Free some space on its machine; it goes on by itself.",
  OUTCOME_PENDING: "The node has the command but has not answered yet. It is done once at most; look at the task before repeating it.",
  OUTCOME_UNKNOWN: "The command may or may not have been done. Look at the task before repeating it.",
  UNAVAILABLE: "The node is still settling. Try again in a moment.",
  COMMAND_EXPIRED: "The command waited too long and was not done. Send it again.",
  COMMAND_ID_REUSED: "The command was mixed up with an earlier one and was not done. Reload the page and send it again.",
  UNKNOWN_METHOD: "This node does not have that yet. It may run an older release than this page; reload the page.",
  UNKNOWN_CHANNEL: "This node does not have that channel. Reload the page.",
  FORBIDDEN: "Your token does not allow this. Ask for one with more rights (“holdfast token new”).",
  HOME_DAMAGED: "The node's files are damaged; it has touched nothing. “holdfast status” names the file.",
  HOME_NEWER: "The node's files come from a newer release. Start that release.",
  INTERNAL_ERROR: "The node made a mistake. Its log has the details (“holdfast logs”).",
};

/** What to do about an error with this code; null where that is not known. */
export const adviceFor = (code) => (Object.hasOwn(ADVICE, code) ? ADVICE[code] : null);

/** An error as people read it: what to do first, then what the node said. */
export function errorText(error) {
  const advice = adviceFor(error.name);
  const said = error.message || (advice ? "" : `error ${error.code}`);
  return { advice: advice ?? "The node refused this.", said, name: error.name };
}

/** Why the page asks for a token. */
export function signedOutText(code, reason) {
  if (code === null) return null;
  if (code === 3500 || code === 101) return "That token is not known to this node, or was revoked.";
  if (code === 109 || code === 3005) return "That token has expired.";
  if (code === 103) return "That token does not allow using this page.";
  return `The node closed the session (${code}${reason ? `: ${reason}` : ""}).`;
}
