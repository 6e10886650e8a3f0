//! A browser on the machine's network that watches a turn.

use crate::machine::{HOME, Machine, SOON};
use holdfast_tests::client::{Client, Since, Wanted, text_of};
use holdfast_tests::work::{self, SEALED_DEADLINE, check_paced, conversation, sealed};

/// Where the socket unit listens.
const ADDRESS: &str = "127.0.0.1:7420";

/// A client of this task's conversation, from its first event; the task is opened unless it is.
pub fn watch(machine: &Machine, task: &str) -> Client {
    machine.run(&format!("holdfast task open {task} --skill command"));
    let token = std::fs::read_to_string(machine.path(&format!("{HOME}/token"))).expect("the node has served");
    Client::start(Wanted {
        address: ADDRESS.to_owned(),
        token: token.trim().to_owned(),
        channels: vec![(conversation(task), Since::Start)],
        keep_data: true,
    })
}

/// Begins a turn that writes numbered lines until [`end`]; back when some of it was seen.
pub async fn begin(client: &Client, task: &str) -> String {
    client.ready().await;
    let line = "i=0; while [ ! -e end ]; do i=$((i+1)); echo \"line $i\"; sleep 0.02; done; echo \"last $i\"";
    let turn = work::prompt(client, task, line, false).await.expect("accepted");
    goes_on(client, task).await;
    turn
}

/// Waits until more of the conversation was seen.
pub async fn goes_on(client: &Client, task: &str) {
    let name = conversation(task);
    let before = client.observed(|seen| seen.channel(&name).offset);
    client.wait("more output", SOON, |seen| seen.channel(&name).offset > before + 5).await;
}

/// Lets the turn end, and checks that all of it came, once and in order.
pub async fn end(machine: &Machine, client: &Client, task: &str, turn: &str) {
    let workspace = machine.path(&format!("{HOME}/workspaces/{task}/end"));
    std::fs::write(workspace, "").expect("its root is ours");
    let name = conversation(task);
    client.wait("the seal", SEALED_DEADLINE, |seen| sealed(&seen.channel(&name).events, turn)).await;
    client.observed(|seen| {
        let lines = check_paced(&text_of(&seen.channel(&name).events, turn)).expect("every line once");
        assert!(lines > 10, "{lines}");
    });
}

/// How often the client was disconnected, and nothing else to complain of.
pub fn disconnected(client: &Client) -> usize {
    client.observed(|seen| {
        assert_eq!(seen.complaints(), Vec::<String>::new());
        seen.disconnects.len()
    })
}
