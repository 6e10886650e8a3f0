// A stand-in for the model endpoint of codex-acp: answers POST /v1/responses as a stream. It does what the lines of
// the last message of the user say; what it was told before, it knows from the messages that the agent sends along.
// Prints its port on stdout and ends with its stdin.
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

let responses = 0;

const textOf = (item) => (item.content ?? []).map((part) => part.text ?? "").join("");
const isUsers = (item) => item.type === "message" && item.role === "user" && !textOf(item).startsWith("<");

// The steps that are left to do, and what the tools have said since the user spoke.
function left(input) {
  const last = input.findLastIndex(isUsers);
  const outputs = input.slice(last + 1).filter((item) => item.type === "function_call_output");
  const steps = last < 0 ? [] : textOf(input[last]).split("\n").filter(Boolean);
  const asks = steps.flatMap((step, at) => (step.startsWith("ask ") ? [at] : []));
  const from = outputs.length ? (asks[outputs.length - 1] ?? steps.length) + 1 : 0;
  return { steps: steps.slice(from), output: outputs.at(-1)?.output, calls: outputs.length };
}

const remembered = (input) =>
  input.filter(isUsers).flatMap((item) => textOf(item).split("\n")).findLast((line) => line.startsWith("remember "))?.slice(9);

async function respond(input, send) {
  const id = `resp-${++responses}`;
  send("response.created", { response: { id } });
  let text = "";
  const say = (delta) => {
    if (!text) send("response.output_item.added", { output_index: 0, item: message(id, "", "in_progress") });
    text += delta;
    send("response.output_text.delta", { item_id: `msg-${id}`, output_index: 0, content_index: 0, delta });
  };
  const { steps, output, calls } = left(input);
  if (output !== undefined) say(`output ${JSON.stringify(typeof output === "string" ? output : output.content ?? output)}\n`);
  let call;
  for (const step of steps) {
    const [what, ...words] = step.split(" ");
    if (what === "say") for (const word of words) say(`${word} `);
    else if (what === "recall") say(`secret ${remembered(input)}\n`);
    else if (what === "remember") say("remembered\n");
    else if (what === "ticks") {
      for (let tick = 1; tick <= Number(words[0]); tick++) {
        say(`tick ${tick}\n`);
        await pause(Number(words[1]));
      }
    } else if (what === "ask") {
      const wish = { cmd: words.join(" "), sandbox_permissions: "require_escalated", justification: "the test asks for it" };
      call = { type: "function_call", id: `fc-${id}`, name: "exec_command", arguments: JSON.stringify(wish), call_id: `call-${id}-${calls}` };
      break;
    }
  }
  if (text) send("response.output_item.done", { output_index: 0, item: message(id, text, "completed") });
  if (call) send("response.output_item.done", { output_index: 1, item: call });
  const usage = { input_tokens: 100, input_tokens_details: null, output_tokens: 10, output_tokens_details: null, total_tokens: 110 };
  send("response.completed", { response: { id, output: [], usage } });
}

const message = (id, text, status) =>
  ({ type: "message", role: "assistant", id: `msg-${id}`, status, content: text ? [{ type: "output_text", text, annotations: [] }] : [] });

const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  if (request.method !== "POST" || !request.url.startsWith("/v1/responses")) {
    response.writeHead(404, { "content-type": "application/json" }).end(`{"error":{"message":"not here"}}`);
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  let number = 0;
  const send = (type, data) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: number++, ...data })}\n\n`);
  await respond(JSON.parse(body).input ?? [], send).catch((error) => console.error(error));
  response.end();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));
