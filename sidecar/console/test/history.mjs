// A node that has a conversation: its answers to `conversation.history`, so many events at a time.

export const started = (turn, text = turn) => ({ type: "turn.started", turn, text });
export const output = (turn, text, stream = "stdout") => ({ type: "turn.output", turn, stream, text });
export const words = (turn, text) => ({ type: "turn.update", turn, update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } });
export const sealed = (turn, rest = {}) => ({ type: "turn.sealed", turn, stop_reason: "end_turn", ...rest });

/** `kept`: how many of its first events are there no longer. */
export function historyOf(events, size = 1000, { epoch = "e1", kept = 0 } = {}) {
  return ({ since, last, limit = size }) => {
    const before = last?.before;
    if (before && before.epoch !== "" && before.epoch !== epoch) return { epoch, offset: events.length, recovered: false, publications: [] };
    const end = before ? before.offset - 1 : events.length;
    let after = since?.offset ?? kept;
    if (last) {
      after = kept;
      for (let [at, turns] = [end - 1, last.turns]; at >= kept; at--) if (events[at].type === "turn.started" && --turns === 0) [after, turns] = [at, 0];
      else if (turns === 0) break;
    }
    const publications = events.map((data, at) => ({ offset: at + 1, data })).slice(after, Math.min(end, after + Math.min(size, limit)));
    return { epoch, offset: events.length, recovered: true, publications, ...(last ? { since: { epoch, offset: after }, more: after > kept } : {}) };
  };
}
