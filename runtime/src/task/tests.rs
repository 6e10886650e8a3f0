use super::*;
use holdfast_shared::blessed::blessed;
use std::fmt::Write;

const COMMANDS: [(&str, TaskCommand); 9] = [
    ("task.open", TaskCommand::Open),
    ("task.switch", TaskCommand::Switch),
    ("task.prompt", TaskCommand::Prompt),
    ("task.prompt, queue", TaskCommand::PromptQueue),
    ("task.dequeue", TaskCommand::Dequeue),
    ("task.cancel", TaskCommand::Cancel),
    ("task.stop", TaskCommand::Stop),
    ("permission.answer", TaskCommand::Answer),
    ("task.mode", TaskCommand::Mode),
];

#[test]
fn the_whole_matrix_is_as_committed() {
    let mut text = String::from(
        "# A task's states and commands\n\nWritten by a test of `runtime/src/task.rs` (HOLDFAST_BLESS=1 writes it anew): `ok`, or the code of the refusal.\n\n| command |",
    );
    for state in TaskState::ALL {
        let _ = write!(text, " {} |", state.name());
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(TaskState::ALL.len()));
    text.push('\n');
    for (name, command) in COMMANDS {
        let _ = write!(text, "| {name} |");
        for state in TaskState::ALL {
            let cell = admits(state, command).map_or_else(Code::as_str, |()| "ok");
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push_str(
        "\nA task is `active` while a turn runs, also while it is being stopped; then only `task.stop`, `task.cancel`,\n`task.dequeue` and `permission.answer` are allowed and everything else is TASK_NOT_READY.\n",
    );
    blessed("docs/machines/task.md", &text);
}

#[test]
fn ids_are_plain_names() {
    for good in ["a", "0", "a.b_c-9", &"x".repeat(64)] {
        assert!(id_is_valid(good), "{good}");
    }
    for bad in ["", ".", "..", "-a", "_a", "A", "a/b", "a b", "a\0", "ä", &"x".repeat(65)] {
        assert!(!id_is_valid(bad), "{bad}");
    }
}
