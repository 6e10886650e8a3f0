//! What a terminal shows after events, on a small terminal of our own; and what a pipe gets.

use super::*;
use serde_json::json;

const PIPE: Place = Place::Plain { out: false, err: false };
const LIVE: Place = Place::Live { width: 40, height: 24, colours: false };

/// Enough of a terminal: rows, a cursor, and the sequences that are used.
#[derive(Default)]
struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    fn write(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(one) = rest.next() {
            match one {
                '\n' => (self.row, self.column) = (self.row + 1, 0),
                '\r' => self.column = 0,
                '\u{1b}' => self.sequence(&mut rest),
                _ => {
                    assert!(!one.is_control(), "{one:?} reached the terminal");
                    self.here();
                    self.rows[self.row].truncate(self.column);
                    self.rows[self.row].push(one);
                    self.column += 1;
                }
            }
        }
    }

    fn here(&mut self) {
        while self.rows.len() <= self.row {
            self.rows.push(Vec::new());
        }
        let row = &mut self.rows[self.row];
        while row.len() < self.column {
            row.push(' ');
        }
    }

    fn sequence(&mut self, rest: &mut std::str::Chars<'_>) {
        assert_eq!(rest.next(), Some('['));
        let all: String = rest.by_ref().take_while_inclusive();
        let (number, last) = all.split_at(all.len() - 1);
        let number: usize = number.parse().unwrap_or(1);
        match last {
            "A" => self.row = self.row.checked_sub(number).expect("above the screen"),
            "G" => self.column = number - 1,
            "J" => {
                self.here();
                self.rows[self.row].truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            "K" => {
                self.here();
                self.rows[self.row].truncate(self.column);
            }
            "m" => {}
            _ => panic!("the sequence {all:?}"),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
    }
}

trait TakeWhileInclusive {
    fn take_while_inclusive(self) -> String;
}

impl TakeWhileInclusive for &mut std::str::Chars<'_> {
    fn take_while_inclusive(self) -> String {
        let mut all = String::new();
        for one in self {
            all.push(one);
            if one.is_ascii_alphabetic() {
                break;
            }
        }
        all
    }
}

fn update(update: Value) -> Value {
    json!({"type": "turn.update", "turn": "t1", "update": update})
}

fn chunk(text: &str) -> Value {
    update(json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}))
}

fn thought(text: &str) -> Value {
    update(json!({"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": text}}))
}

fn tool(id: &str, status: &str) -> Value {
    let call = json!({"toolCallId": id, "title": format!("Do {id}"), "kind": "execute", "status": status});
    let mut event = update(call);
    event["update"]["sessionUpdate"] = json!("tool_call");
    event
}

fn started() -> Value {
    json!({"type": "turn.started", "turn": "t1", "text": "go on", "at": 1})
}

fn sealed(reason: &str) -> Value {
    json!({"type": "turn.sealed", "turn": "t1", "stop_reason": reason, "at": 2})
}

fn asked(request: &str) -> Value {
    json!({"type": "permission.requested", "turn": "t1", "request": request,
        "tool_call": {"toolCallId": "c1", "title": "Remove all"},
        "options": [{"optionId": "y", "name": "Allow", "kind": "allow_once"},
                    {"optionId": "n", "name": "Reject", "kind": "reject_once"}]})
}

fn answered(request: &str, by: &str) -> Value {
    json!({"type": "permission.answered", "turn": "t1", "request": request, "outcome": "selected",
        "option_id": "y", "by": by, "at": 3})
}

/// What is on the screen after these events, drawn after each, or all at once.
fn screen(events: &[Value], at_once: bool) -> Vec<String> {
    let mut renderer = Renderer::new(LIVE, "t", "local:0", true);
    let mut screen = Screen::default();
    for event in events {
        renderer.event(event);
        if !at_once {
            screen.write(&renderer.take().out);
        }
    }
    screen.write(&renderer.take().out);
    screen.lines()
}

fn check(name: &str, events: &[Value], expected: &[&str]) {
    assert_eq!(screen(events, false), expected, "{name}");
    assert_eq!(screen(events, true), expected, "{name}, drawn at once");
}

fn plain(events: &[Value]) -> (String, String) {
    let mut renderer = Renderer::new(PIPE, "t", "local:0", true);
    let (mut out, mut err) = (String::new(), String::new());
    events.iter().for_each(|event| renderer.event(event));
    for shown in [renderer.take(), renderer.leave()] {
        out.push_str(&shown.out);
        err.push_str(&shown.err);
    }
    (out, err)
}

const RUNNING: &str = "[t1] running · q detaches";
const IDLE: &str = "no turn is running · q detaches";

#[test]
fn text_goes_on_above_the_block() {
    check("streaming", &[started(), chunk("one "), chunk("two")], &["[t1] > go on", "one two", RUNNING]);
    check(
        "paragraphs",
        &[started(), thought("hm"), thought("m"), chunk("yes\n\nand"), chunk(" no\n")],
        &["[t1] > go on", "hmm", "yes", "", "and no", RUNNING],
    );
    check(
        "as wide as the terminal, and wider",
        &[started(), chunk(&"x".repeat(40)), chunk("yy"), chunk(&"界".repeat(20))],
        &["[t1] > go on", &"x".repeat(40), &format!("yy{}", "界".repeat(19)), "界", RUNNING],
    );
    check(
        "the end",
        &[started(), chunk("done"), sealed("end_turn")],
        &["[t1] > go on", "done", "[t1] end_turn", IDLE],
    );
}

#[test]
fn that_an_agent_has_begun_anew_is_said() {
    let lost = json!({"type": "session.lost", "turn": "t1", "at": 5});
    let (_, said) = plain(&[started(), lost, chunk("hello"), sealed("end_turn")]);
    assert!(said.contains("[the agent has begun anew; it does not know what was said before]\n"), "{said}");
}

#[test]
fn what_is_too_long_is_said_and_its_tool_call_ends() {
    let mut ended = tool("1", "completed");
    (ended["reason"], ended["bytes"]) = (json!("too_long"), json!(1_200_345));
    let skip = |more: Value| {
        let mut skip = json!({"type": "turn.skip", "turn": "t1"});
        skip.as_object_mut().expect("an object").extend(more.as_object().expect("one too").clone());
        skip
    };
    let image = skip(json!({"reason": "too_long", "bytes": 1_048_580}));
    let (_, said) = plain(&[started(), ended, image, skip(json!({"reason": "too_long"})), skip(json!({}))]);
    let notes: Vec<&str> = said.lines().filter(|line| line.contains("not shown")).collect();
    assert_eq!(
        notes,
        [
            "[the rest of a message of 1200345 bytes is not shown: it is too long]",
            "[a message of 1048580 bytes is not shown: it is too long]",
            "[a message is not shown: it is too long]",
        ],
        "{said}"
    );
    assert!(said.contains("✓ Do 1"), "{said}");
}

#[test]
fn tool_calls_are_a_line_each_that_changes_in_place() {
    check(
        "running",
        &[started(), tool("a", "pending"), tool("b", "pending"), tool("a", "in_progress")],
        &["[t1] > go on", "· Do a (execute, running)", "· Do b (execute, pending)", RUNNING],
    );
    let done = update(json!({"sessionUpdate": "tool_call_update", "toolCallId": "a", "status": "completed",
        "content": [{"type": "content", "content": {"type": "text", "text": "1\n2\n"}}]}));
    check(
        "ended, its text folded",
        &[started(), tool("a", "pending"), tool("b", "pending"), done, chunk("so")],
        &["[t1] > go on", "✓ Do a (execute, 2 lines)", "so", "· Do b (execute, pending)", RUNNING],
    );
    let mut failed = sealed("failed");
    (failed["code"], failed["detail"]) = (json!("STORAGE_FULL"), json!("no room"));
    check("why", &[started(), failed], &["[t1] > go on", "[t1] failed, STORAGE_FULL, no room", IDLE]);
    check(
        "left over",
        &[started(), tool("a", "in_progress"), sealed("interrupted")],
        &["[t1] > go on", "· Do a (execute, running)", "[t1] interrupted", IDLE],
    );
    let edit = update(
        json!({"sessionUpdate": "tool_call", "toolCallId": "e", "title": "Edit", "status": "completed",
        "content": [{"type": "diff", "path": "/w/f", "oldText": "a\nb\n", "newText": "a\nc\n"}]}),
    );
    check(
        "a change",
        &[started(), edit],
        &["[t1] > go on", "✓ Edit", "  /w/f", "    a", "  - b", "  + c", RUNNING],
    );
    let many: Vec<Value> =
        [started()].into_iter().chain((0..8).map(|id| tool(&id.to_string(), "pending"))).collect();
    let seen = screen(&many, false);
    assert_eq!(seen[6], "  and 3 more", "{seen:#?}");
}

#[test]
fn a_plan_stays_below_and_is_left_at_the_end() {
    let plan = |first: &str, second: &str| {
        update(json!({"sessionUpdate": "plan", "entries": [
            {"content": "look", "priority": "high", "status": first},
            {"content": "mend", "priority": "low", "status": second}]}))
    };
    check(
        "the newest plan",
        &[started(), plan("in_progress", "pending"), chunk("x"), plan("completed", "in_progress")],
        &["[t1] > go on", "x", "[x] look", "[>] mend", RUNNING],
    );
    check(
        "sealed",
        &[started(), plan("completed", "in_progress"), sealed("limit")],
        &["[t1] > go on", "  [x] look", "  [>] mend", "[t1] limit", IDLE],
    );
}

#[test]
fn a_permission_waits_with_its_keys_and_says_who_answered() {
    check(
        "waiting",
        &[started(), asked("7")],
        &[
            "[t1] > go on",
            "? may it: Remove all",
            "? Remove all",
            "  1 Allow",
            "  2 Reject",
            "  c cancel",
            RUNNING,
        ],
    );
    check(
        "answered by another",
        &[started(), asked("7"), answered("7", "token:x")],
        &["[t1] > go on", "? may it: Remove all", "! Remove all: Allow (answered by token:x", ")", RUNNING],
    );
    let mut renderer = Renderer::new(LIVE, "t", "local:0", true);
    [started(), asked("7"), asked("9")].iter().for_each(|event| renderer.event(event));
    let choice = |request: &str, option: Option<&str>| {
        Some(Choice { request: request.into(), option: option.map(str::to_owned) })
    };
    assert_eq!(renderer.choice(b'1'), choice("7", Some("y")));
    assert_eq!(renderer.choice(b'2'), choice("7", Some("n")));
    assert_eq!(renderer.choice(b'c'), choice("7", None));
    assert_eq!(renderer.choice(b'3'), None, "there is no third option");
    assert_eq!(renderer.choice(b'q'), None);
    renderer.answered_from_here("7");
    renderer.event(&answered("7", "local:0"));
    assert_eq!(renderer.choice(b'1'), choice("9", Some("y")), "the next one has the keys");
    let mut screen = Screen::default();
    screen.write(&renderer.take().out);
    assert!(screen.lines().contains(&"! Remove all: Allow".to_owned()), "{:#?}", screen.lines());
    renderer.event(&sealed("cancelled"));
    assert_eq!(renderer.pending(), None, "with the turn its questions end");
}

#[test]
fn usage_mode_and_queue_are_in_the_last_line() {
    let usage = update(json!({"sessionUpdate": "usage_update", "used": 10, "size": 200}));
    let mode = update(json!({"sessionUpdate": "current_mode_update", "currentModeId": "ask"}));
    let queued = json!({"type": "turn.queued", "turn": "t2", "text": "then", "at": 1});
    let mut end = sealed("end_turn");
    end["usage"] = json!({"used": 12, "size": 200});
    let events = [started(), usage, mode, queued];
    let seen = screen(&events, false).join("\n");
    assert!(seen.contains("[t1] running · 1 queued · mode ask · 10"), "{seen}");
    let seen = screen(&[events.to_vec(), vec![end]].concat(), false).join("\n");
    assert!(seen.contains("[t1] end_turn, 12 of 200 tokens"), "{seen}");
}

#[test]
fn nothing_an_agent_says_reaches_the_terminal_as_a_sequence() {
    let evil = "a\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}1Ab\u{8}";
    let call = json!({"toolCallId": evil, "title": evil, "kind": evil, "status": evil,
        "content": [{"type": "content", "content": {"type": "text", "text": evil}},
                    {"type": "diff", "path": evil, "oldText": evil, "newText": format!("{evil}{evil}")}]});
    let mut tool = update(call.clone());
    tool["update"]["sessionUpdate"] = json!("tool_call");
    let events = [
        json!({"type": "turn.started", "turn": "t1", "text": evil}),
        chunk(evil),
        thought(evil),
        tool,
        update(json!({"sessionUpdate": "plan", "entries": [{"content": evil, "status": evil}]})),
        update(json!({"sessionUpdate": "current_mode_update", "currentModeId": evil})),
        update(json!({"sessionUpdate": evil})),
        json!({"type": "permission.requested", "turn": "t1", "request": evil, "tool_call": call,
            "options": [{"optionId": evil, "name": evil}]}),
        json!({"type": "permission.answered", "turn": "t1", "request": "1", "outcome": evil, "by": evil}),
        json!({"type": "turn.output", "turn": "t1", "stream": "stderr", "text": evil}),
        json!({"type": "turn.sealed", "turn": "t1", "stop_reason": evil, "detail": evil}),
    ];
    // The screen of the tests refuses every sequence that is not ours.
    assert!(screen(&events, false).len() > 10);
    let (out, err) = plain(&events[..9]);
    for shown in [out, err] {
        assert!(!shown.chars().any(|one| one.is_control() && one != '\n' && one != '\t'), "{shown:?}");
    }
}

#[test]
fn a_commands_output_keeps_colours_and_rewrites_its_own_line_alone() {
    let output = |text: &str| json!({"type": "turn.output", "turn": "t1", "stream": "stdout", "text": text});
    check(
        "progress",
        &[started(), output("10%"), output("\r100%"), output("\r\n"), output("\u{1b}[2Jdone\u{1b}[1A\n")],
        &["[t1] > go on", "100%", "done", RUNNING],
    );
    let mut renderer = Renderer::new(Place::Live { width: 40, height: 24, colours: true }, "t", "", true);
    renderer.event(&output("\u{1b}[31mred"));
    let first = renderer.take().out;
    assert!(first.starts_with("\u{1b}[31mred\u{1b}[0m"), "{first:?}");
    renderer.event(&output(" still"));
    assert!(renderer.take().out.contains("\u{1b}[31m still\u{1b}[0m"), "the colour goes on behind the block");
}

#[test]
fn a_pipe_gets_what_was_said_on_stdout_and_all_else_on_stderr() {
    let (out, err) = plain(&[
        started(),
        thought("hm"),
        chunk("an "),
        chunk("answer"),
        tool("a", "pending"),
        tool("a", "completed"),
        asked("7"),
        answered("7", "token:x"),
        chunk("end"),
        sealed("end_turn"),
    ]);
    assert_eq!(out, "an answer\nend\n");
    assert_eq!(
        err,
        "[t1] > go on\nhm\n· Do a (execute, pending)\n✓ Do a (execute)\n? may it: Remove all\n  holdfast task permit t \
         7 OPTION answers it: y (Allow), n (Reject)\n! Remove all: Allow (answered by token:x)\n[t1] end_turn\n"
    );
    let output = |stream: &str, text: &str| json!({"type": "turn.output", "stream": stream, "text": text});
    let raw = "\u{1b}[2Jas it is\r";
    let (out, err) = plain(&[output("stdout", raw), output("stderr", "e"), output("stdout", "x")]);
    assert_eq!((out, err), (format!("{raw}x"), "e".to_owned()), "a command in a pipe is left as it is");
}

#[test]
fn leaving_takes_the_block_away_and_ends_the_line() {
    let mut renderer = Renderer::new(LIVE, "t", "", false);
    let mut screen = Screen::default();
    [started(), chunk("half a line"), asked("7")].iter().for_each(|event| renderer.event(event));
    screen.write(&renderer.take().out);
    screen.write(&renderer.leave().out);
    screen.write("$");
    assert_eq!(screen.lines(), ["half a line", "? may it: Remove all", "$"]);
}

#[test]
fn another_size_is_drawn_to() {
    let mut renderer = Renderer::new(LIVE, "t", "", true);
    let mut screen = Screen::default();
    [started(), asked("7")].iter().for_each(|event| renderer.event(event));
    screen.write(&renderer.take().out);
    renderer.resized(60, 6);
    screen.write(&renderer.take().out);
    let lines = screen.lines();
    assert_eq!(lines[..2], ["[t1] > go on", "? may it: Remove all"], "{lines:#?}");
    assert_eq!(lines.len(), 4, "six rows: four of them stay for the text: {lines:#?}");
}

#[test]
fn a_waiting_turn_that_is_taken_back_ends_nothing_of_the_one_that_runs() {
    let queued = json!({"type": "turn.queued", "turn": "t2", "text": "then", "at": 1});
    let taken_back = json!({"type": "turn.sealed", "turn": "t2", "stop_reason": "cancelled", "at": 2});
    let mut renderer = Renderer::new(LIVE, "t", "local:0", true);
    let mut screen = Screen::default();
    for event in [started(), tool("a", "in_progress"), asked("7"), queued, taken_back] {
        renderer.event(&event);
        screen.write(&renderer.take().out);
    }
    let lines = screen.lines();
    assert_eq!(
        lines[3..6],
        ["[t2] cancelled before it ran", "· Do a (execute, running)", "? Remove all"],
        "{lines:#?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some(RUNNING), "nothing waits any more");
    assert_eq!(renderer.pending().map(|one| one.request.as_str()), Some("7"), "its question still waits");
}

#[test]
fn a_prompt_taken_back_that_was_queued_before_what_is_shown_ends_nothing_either() {
    let taken_back = json!({"type": "turn.sealed", "turn": "t2", "stop_reason": "cancelled", "at": 2});
    let mut renderer = Renderer::new(LIVE, "t", "local:0", true);
    for event in [started(), asked("7"), taken_back] {
        renderer.event(&event);
    }
    assert!(renderer.is_running());
    assert_eq!(renderer.pending().map(|one| one.request.as_str()), Some("7"));
}

#[test]
fn without_keys_a_question_names_the_command_that_answers_it() {
    let mut renderer =
        Renderer::new(Place::Live { width: 90, height: 24, colours: false }, "t", "local:0", true);
    renderer.without_keys();
    let mut screen = Screen::default();
    [started(), asked("7")].iter().for_each(|event| renderer.event(event));
    screen.write(&renderer.take().out);
    assert_eq!(
        screen.lines(),
        [
            "[t1] > go on",
            "? may it: Remove all",
            "  holdfast task permit t 7 OPTION answers it: y (Allow), n (Reject)",
            "? Remove all",
            "[t1] running · Ctrl-C detaches",
        ]
    );
}

#[test]
fn a_question_that_the_agent_withdraws_is_said_to_be_so() {
    let withdrawn = json!({"type": "permission.answered", "turn": "t1", "request": "7", "outcome": "cancelled",
        "withdrawn": true, "at": 3});
    let (_, err) = plain(&[started(), asked("7"), withdrawn]);
    assert!(err.contains("! Remove all: cancelled (the agent asks no longer)\n"), "{err}");
}

#[test]
fn what_reaches_a_terminal_beside_a_pipe_is_made_harmless_and_what_reaches_the_pipe_is_not() {
    let output = |stream: &str, text: &str| json!({"type": "turn.output", "turn": "t1", "stream": stream, "text": text});
    let evil = "\u{1b}]52;c;eA==\u{7}a\u{1b}[2J\u{9b}1A";
    for (place, out, err) in [
        (Place::Plain { out: false, err: true }, evil, "a"),
        (Place::Plain { out: true, err: false }, "a", evil),
        (Place::Plain { out: true, err: true }, "a", "a"),
    ] {
        let mut renderer = Renderer::new(place, "t", "", false);
        renderer.event(&output("stdout", evil));
        renderer.event(&output("stderr", evil));
        let shown = renderer.take();
        assert_eq!((shown.out.trim_end(), shown.err.trim_end()), (out, err), "{place:?}");
    }
}

#[test]
fn a_sequence_that_one_stream_leaves_open_swallows_nothing_of_the_other() {
    let output = |stream: &str, text: &str| json!({"type": "turn.output", "turn": "t1", "stream": stream, "text": text});
    check(
        "an open title on stdout",
        &[
            started(),
            output("stdout", "a\u{1b}]0;"),
            output("stderr", "seen\n"),
            output("stdout", "hidden\u{7}b"),
        ],
        &["[t1] > go on", "a", "seen", "b", RUNNING],
    );
}
