//! An agent in a machine whose power fails.

use crate::machine::{Machine, SOON};
use crate::package::install;
use holdfast_tests::wait;
use serde_json::Value;

/// The conversation as the node tells it: its epoch, and its events.
fn history(machine: &Machine) -> (Value, Vec<Value>) {
    let told = machine.must(r#"holdfast rpc conversation.history '{"conversation": "a"}'"#);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let events = told["publications"].as_array().expect("a list");
    (told["epoch"].clone(), events.iter().map(|publication| publication["data"].clone()).collect())
}

/// Waits until an event is there that this text is in.
fn told_of(machine: &Machine, text: &str) -> (Value, Vec<Value>) {
    wait::until_blocking(text, SOON, || {
        let (epoch, events) = history(machine);
        events.iter().any(|event| event.to_string().contains(text)).then_some((epoch, events))
    })
}

#[test]
fn systemd_a_power_cut_interrupts_an_agents_turn_and_its_session_goes_on() {
    let mut machine = Machine::boot();
    install(&machine, "HOLDFAST_SYSTEMD_PACKAGE");
    machine.serves();
    machine.must("holdfast task open a --skill demo");
    machine.must("holdfast task prompt a --wait 'remember blue'");
    machine.must("holdfast task prompt a 'say before; sleep 3600000; say never'");
    let (epoch, before) = told_of(&machine, "before");

    machine.cut_power();
    machine.serves();
    let (other, after) = told_of(&machine, "interrupted");
    assert_ne!(other, epoch, "what was told and not synced may be another");
    let sealed: Vec<&Value> = after.iter().filter(|event| event["type"] == "turn.sealed").collect();
    let reasons: Vec<&Value> = sealed.iter().map(|event| &event["stop_reason"]).collect();
    assert_eq!(reasons, ["end_turn", "interrupted"], "once, and not again from the beginning");
    let turn = &before.last().expect("it began")["turn"];
    assert_eq!(&sealed[1]["turn"], turn);

    let said = machine.must("holdfast task prompt a --wait secret");
    assert!(said.contains("blue"), "another process goes on with the session: {said:?}");
}
