// A tool call of an agent: its reports merged by its id, whatever order they come in, and each part bounded.

import { visible } from "./visible.js";

/** Text of one piece of content in the page. */
export const CONTENT_CHARS = 256 * 1024;
/** Pieces of content, and places in files, of one call. */
export const CONTENTS_MAX = 50;

const STATUS = new Set(["pending", "in_progress", "completed", "failed"]);

export const newTool = (id) => ({ kind: "tool", id, title: null, toolKind: null, status: null, content: [], locations: [], input: null, output: null, begun: false });

/** Merges a report of a call. `begins`: it is the call's own `tool_call`; one that comes late overwrites no update. */
export function mergeTool(tool, report, begins) {
  const late = begins && !tool.begun && tool.reported === true;
  const take = (name, value) => {
    if (value !== undefined && value !== null && !(late && !isEmpty(tool[name]))) tool[name] = value;
  };
  take("title", text(report.title));
  take("toolKind", text(report.kind));
  take("status", STATUS.has(report.status) ? report.status : undefined);
  if (Array.isArray(report.content)) take("content", report.content.slice(0, CONTENTS_MAX).map(contentOf).filter(Boolean));
  if (Array.isArray(report.locations)) take("locations", report.locations.slice(0, CONTENTS_MAX).map(locationOf).filter(Boolean));
  take("input", raw(report.rawInput));
  take("output", raw(report.rawOutput));
  tool.begun ||= begins;
  tool.reported = true;
}

const isEmpty = (value) => value === null || (Array.isArray(value) && value.length === 0);
const text = (value) => (typeof value === "string" && value !== "" ? cut(visible(value), 2_000) : undefined);
const cut = (value, max = CONTENT_CHARS) => (value.length > max ? `${value.slice(0, max)}\n… (${(value.length - max).toLocaleString("en")} characters more)` : value);

function locationOf(location) {
  if (typeof location?.path !== "string") return null;
  return { path: visible(location.path), line: Number.isInteger(location.line) ? location.line : null };
}

/** What the agent gave to the tool or got from it, as it said it. */
function raw(value) {
  if (value === undefined || value === null) return undefined;
  return cut(visible(typeof value === "string" ? value : JSON.stringify(value, null, 2)));
}

/** {type: "text", text} | {type: "diff", path, oldText, newText} | {type: "terminal", id} */
function contentOf(content) {
  if (content === null || typeof content !== "object") return null;
  if (content.type === "content") return { type: "text", text: cut(visible(contentText(content.content))) };
  if (content.type === "diff") return { type: "diff", path: said(content.path), oldText: said(content.oldText), newText: said(content.newText), created: content.oldText == null };
  if (content.type === "terminal") return { type: "terminal", id: said(content.terminalId) };
  return { type: "text", text: `[${said(content.type)}]` };
}

const said = (value) => visible(String(value ?? ""));

/** A content block in words; what cannot be shown as text is named. */
export function contentText(content) {
  if (content?.type === "text" && typeof content.text === "string") return content.text;
  if (content?.type === "resource_link") return `${content.title ?? content.name ?? "link"} (${content.uri ?? "?"})`;
  if (content?.type === "resource") return typeof content.resource?.text === "string" ? content.resource.text : `[${content.resource?.uri ?? "resource"}]`;
  if (content?.type === "image" || content?.type === "audio") return `[${content.mimeType ?? content.type}]`;
  return content?.type ? `[${String(content.type)}]` : "";
}

/** What a call is called. */
export const toolTitle = (tool) => tool.title ?? tool.toolKind ?? "Tool call";

/** All that a call shows, for a search and for saving. */
export function toolText(tool) {
  const parts = [toolTitle(tool), ...tool.locations.map(({ path }) => path), tool.input];
  for (const content of tool.content) {
    if (content.type === "diff") parts.push(content.path, content.oldText, content.newText);
    else parts.push(content.type === "terminal" ? content.id : content.text);
  }
  return [...parts, tool.output].filter(Boolean).join("\n");
}

export const toolChars = (tool) => toolText(tool).length;
