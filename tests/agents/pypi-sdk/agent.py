"""An agent on the published PyPI SDK (agent-client-protocol): it does what the lines of a prompt say, one after the
other. What it was told is kept in its working directory, so that session/load knows it; half of what it replays then
comes after the result, as some agents do."""

import asyncio
import json
import os
import sys
import uuid
from pathlib import Path

import acp
from acp import schema

MODES = schema.SessionModeState(
    current_mode_id="ask",
    available_modes=[schema.SessionMode(id="ask", name="Ask"), schema.SessionMode(id="code", name="Code")],
)
OPTIONS = [
    schema.PermissionOption(option_id="yes", name="Allow", kind="allow_once"),
    schema.PermissionOption(option_id="always", name="Always allow", kind="allow_always"),
    schema.PermissionOption(option_id="no", name="Reject", kind="reject_once"),
]


class Session:
    def __init__(self, id, cwd, kept=None):
        kept = kept or {}
        self.id, self.cwd, self.calls = id, cwd, 0
        self.secret, self.said = kept.get("secret"), kept.get("said", [])
        self.running = None

    def keep(self):
        path = file(self.cwd, self.id)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"secret": self.secret, "said": self.said}))


def file(cwd, id):
    return Path(cwd) / ".pypi-sessions" / f"{id}.json"


class Steps:
    """What a line of a prompt does; each method gets the words behind the first."""

    def __init__(self, session, client):
        self.session, self.client = session, client

    async def update(self, update):
        await self.client.session_update(session_id=self.session.id, update=update)

    async def text(self, text):
        self.session.said.append(text)
        await self.update(acp.update_agent_message_text(text))

    async def told(self, ask):
        try:
            answer = await ask
        except acp.RequestError as error:
            answer = f"error {error.code}"
        await self.text(f"{answer}\n")

    async def do_say(self, words):
        for word in words:
            await self.text(f"{word} ")
        await self.text("\n")

    async def do_think(self, words):
        await self.update(acp.update_agent_thought_text(" ".join(words)))

    async def do_plan(self, words):
        status = ["in_progress"] + ["pending"] * len(words)
        entries = [acp.plan_entry(word, status=status[at]) for at, word in enumerate(words)]
        await self.update(acp.update_plan(entries))

    async def do_usage(self, words):
        used, size = map(int, words)
        await self.update(schema.UsageUpdate(session_update="usage_update", used=used, size=size))

    async def do_ticks(self, words):
        count, milliseconds = map(int, words)
        for tick in range(1, count + 1):
            await self.text(f"tick {tick}\n")
            await asyncio.sleep(milliseconds / 1000)

    async def do_ask(self, words):
        self.session.calls += 1
        call, title = f"call-{self.session.calls}", " ".join(words)
        await self.update(acp.start_tool_call(call, title, kind="execute", status="pending"))
        tool_call = schema.ToolCallUpdate(tool_call_id=call, title=title, kind="execute", status="pending")
        answer = await self.client.request_permission(
            session_id=self.session.id, tool_call=tool_call, options=OPTIONS
        )
        chosen = getattr(answer.outcome, "option_id", None) or answer.outcome.outcome
        status = "completed" if chosen in ("yes", "always") else "failed"
        content = [acp.tool_content(acp.text_block(f"{chosen}\n"))]
        await self.update(acp.update_tool_call(call, status=status, content=content))
        await self.text(f"answered {chosen}\n")

    async def do_read(self, words):
        async def ask():
            answer = await self.client.read_text_file(session_id=self.session.id, path=words[0])
            return "content " + json.dumps(answer.content)

        await self.told(ask())

    async def do_write(self, words):
        async def ask():
            content = " ".join(words[1:])
            await self.client.write_text_file(session_id=self.session.id, path=words[0], content=content)
            return "written"

        await self.told(ask())

    async def do_run(self, words):
        async def ask():
            of = {"session_id": self.session.id}
            terminal = await self.client.create_terminal(command=words[0], args=words[1:], **of)
            of["terminal_id"] = getattr(terminal, "terminal_id", None) or terminal.id
            ended = await self.client.wait_for_terminal_exit(**of)
            shown = await self.client.terminal_output(**of)
            await self.client.release_terminal(**of)
            return f"exit {ended.exit_code} {json.dumps(shown.output)}"

        await self.told(ask())

    async def do_remember(self, words):
        self.session.secret = " ".join(words)
        await self.text("remembered\n")

    async def do_recall(self, words):
        await self.text(f"secret {self.session.secret}\n")

    async def do_wait(self, words):
        await asyncio.sleep(3600)

    async def do_stderr(self, words):
        print(" ".join(words), file=sys.stderr, flush=True)

    async def do_die(self, words):
        os._exit(int(words[0]) if words else 1)


class Agent(acp.Agent):
    def __init__(self):
        self.sessions = {}
        self.client = None

    def on_connect(self, conn):
        self.client = conn

    async def initialize(self, protocol_version, **kwargs):
        return acp.InitializeResponse(
            protocol_version=acp.PROTOCOL_VERSION,
            agent_info=schema.Implementation(name="holdfast-test-pypi", version="1"),
            agent_capabilities=schema.AgentCapabilities(load_session=True),
        )

    async def new_session(self, cwd, **kwargs):
        session = Session(str(uuid.uuid4()), cwd)
        self.sessions[session.id] = session
        session.keep()
        return acp.NewSessionResponse(session_id=session.id, modes=MODES)

    async def load_session(self, cwd, session_id, **kwargs):
        session = Session(session_id, cwd, json.loads(file(cwd, session_id).read_text()))
        self.sessions[session_id] = session
        half = len(session.said) // 2
        await self.replay(session, session.said[:half])
        asyncio.get_running_loop().call_later(
            0.005, lambda: asyncio.ensure_future(self.replay(session, session.said[half:]))
        )
        return acp.LoadSessionResponse(modes=MODES)

    async def replay(self, session, texts):
        for text in list(texts):
            await self.client.session_update(session_id=session.id, update=acp.update_agent_message_text(text))

    async def set_session_mode(self, session_id, mode_id, **kwargs):
        await self.client.session_update(session_id=session_id, update=acp.helpers.update_current_mode(mode_id))
        return acp.SetSessionModeResponse()

    async def prompt(self, session_id, prompt, **kwargs):
        session = self.sessions[session_id]
        text = "".join(getattr(block, "text", "") for block in prompt)
        session.running = asyncio.ensure_future(self.carry_out(session, text))
        try:
            return acp.PromptResponse(stop_reason=await session.running)
        except asyncio.CancelledError:
            return acp.PromptResponse(stop_reason="cancelled")
        finally:
            session.keep()

    async def carry_out(self, session, text):
        steps = Steps(session, self.client)
        for line in filter(None, text.split("\n")):
            name, *words = line.split(" ")
            step = getattr(steps, f"do_{name}", None)
            if step is None:
                raise acp.RequestError.invalid_params({"reason": f"no step {name}"})
            await step(words)
        return "end_turn"

    async def cancel(self, session_id, **kwargs):
        running = self.sessions[session_id].running
        if running:
            running.cancel()


asyncio.run(acp.run_agent(Agent()))
