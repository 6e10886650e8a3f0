//! What lists and late comers are told: permissions that wait, and where the last turns begin.

use crate::agent::Agent;
use crate::agents::{begin, prompt, sealed};
use crate::support::{Link, Node, local, over_to, until};
use holdfast_shared::error::Code;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};

/// How many permissions wait in each task, by the list.
async fn listed(link: &mut Link) -> Vec<u64> {
    let listed = link.call("task.list", json!({})).await.unwrap();
    let tasks = listed["tasks"].as_array().unwrap();
    tasks.iter().map(|task| task["permissions"].as_u64().unwrap()).collect()
}

/// What channel `tasks` (number 3) said of them so far.
fn told(link: &Link) -> Vec<u64> {
    let events = link.channels[&3].events();
    let changes = events.iter().filter(|event| event["type"] == "task.permissions");
    changes.map(|event| event["permissions"].as_u64().unwrap()).collect()
}

async fn told_of(link: &mut Link, count: usize) -> Vec<u64> {
    while told(link).len() < count {
        assert!(link.receive().await, "link closed; it was told {:?}", told(link));
    }
    told(link)
}

async fn answer(link: &mut Link, request: &Value) {
    let answer = json!({"task": "x", "request": request, "option": "yes"});
    link.call("permission.answer", answer).await.unwrap();
}

#[test]
fn a_list_and_its_channel_say_how_many_permissions_wait_over_switches_and_kills() {
    local(async {
        let node = Node::new();
        let (mut a, mut link, mut agent): (_, _, Agent<'_>) = begin(&node).await;
        link.subscribe(3, "tasks", "", Some(0)).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        assert_eq!(listed(&mut link).await, [0]);
        agent.asks_permission(json!(1));
        assert_eq!(told_of(&mut link, 1).await, [1]);
        assert_eq!(listed(&mut link).await, [1]);
        let first = link.event(1, "permission.requested").await["request"].clone();
        let (epoch, seen) = {
            let channel = &link.channels[&3];
            (channel.subscribed.clone().unwrap().0, channel.publications.last().unwrap().offset)
        };

        let mut b = over_to(&node, &a, Slot::B, 2).await;
        let mut link = b.route(2).await;
        assert_eq!(listed(&mut link).await, [1]);
        link.subscribe(3, "tasks", &epoch, Some(seen)).await;
        agent.asks_permission(json!(2));
        assert_eq!(told_of(&mut link, 1).await, [2], "the first one is not told again");
        a.kill();
        b.kill();

        let c = node.active(Slot::A, 3).await;
        let mut link = c.route(3).await;
        assert_eq!(listed(&mut link).await, [2]);
        link.subscribe(3, "tasks", &epoch, Some(seen)).await;
        answer(&mut link, &first).await;
        assert_eq!(told_of(&mut link, 2).await, [2, 1]);
        // Whatever is left when the turn ends waits no longer.
        agent.ends_turn(&id, "end_turn");
        let ended = link.event(3, "turn.sealed").await;
        assert_eq!((&ended["permissions"], &ended["state"]), (&json!(0), &json!("idle")));
        assert_eq!(listed(&mut link).await, [0]);
        assert_eq!(told(&link), [2, 1], "the seal said so");
    });
}

#[test]
fn a_cancelled_turn_leaves_no_permission_waiting() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        link.subscribe(3, "tasks", "", Some(0)).await;
        prompt(&mut link, "x", "go").await;
        let _id = agent.prompted("t1", "go").await;
        agent.asks_permission(json!(1));
        agent.asks_permission(json!(2));
        until("both wait", async || (listed(&mut link).await == [2]).then_some(())).await;
        link.call("task.cancel", json!({"task": "x"})).await.unwrap();
        // The turn runs on until its agent ends it.
        until("none waits", async || (listed(&mut link).await == [0]).then_some(())).await;
        // The list knows it before it is durable, and the channel behind that.
        while told(&link).last() != Some(&0) {
            assert!(link.receive().await, "link closed; it was told {:?}", told(&link));
        }
        let told = told(&link);
        assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "on change only: {told:?}");
    });
}

#[test]
fn the_last_turns_are_read_whole_and_those_before_them_after() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        for (number, text) in (1..).zip(["one", "two", "three"]) {
            prompt(&mut link, "x", text).await;
            let id = agent.prompted(&format!("t{number}"), text).await;
            agent.updates(text);
            agent.ends_turn(&id, "end_turn");
            sealed(&mut link, number).await;
        }
        let all = link.channels[&1].publications.clone();
        let epoch = link.channels[&1].subscribed.clone().unwrap().0;
        let begins = |turn: &str| {
            let is_start = |event: &Value| event["type"] == "turn.started" && event["turn"] == turn;
            let begin = link.channels[&1].events().iter().position(is_start);
            begin.expect("it began") as u64
        };
        let [two, three] = [begins("t2"), begins("t3")];
        let last = json!({"conversation": "x", "last": {"turns": 1}, "limit": 0});
        let position = link.call("conversation.history", last).await.unwrap();
        assert_eq!(position["since"], json!({"epoch": epoch, "offset": three}));
        assert_eq!((&position["publications"], &position["more"]), (&json!([]), &json!(true)));
        // From there on a channel goes on live as from anywhere.
        link.subscribe(4, "conversation:x", &epoch, Some(three)).await;
        let rest = link.events(4, all.len() - three as usize).await;
        assert_eq!(rest[0]["text"], "three");

        let before = json!({"epoch": epoch, "offset": three + 1});
        let older = json!({"conversation": "x", "last": {"turns": 1, "before": before}});
        let older = link.call("conversation.history", older).await.unwrap();
        let given = older["publications"].as_array().unwrap();
        assert_eq!(older["since"]["offset"], two);
        assert_eq!(given.len() as u64, three - two, "up to that position and no further");
        assert_eq!(given[0]["data"]["text"], "two");
        let before = json!({"epoch": epoch, "offset": two + 1});
        let first = json!({"conversation": "x", "last": {"turns": 100, "before": before}, "limit": 2});
        let first = link.call("conversation.history", first).await.unwrap();
        assert_eq!((&first["since"]["offset"], &first["more"]), (&json!(0), &json!(false)));
        assert_eq!(first["publications"].as_array().unwrap().len(), 2);

        for before in [json!({"epoch": "other", "offset": 3}), json!({"offset": 1_000_000})] {
            let gone = json!({"conversation": "x", "last": {"turns": 1, "before": before}});
            let gone = link.call("conversation.history", gone).await.unwrap();
            assert_eq!((&gone["recovered"], gone.get("since")), (&json!(false), None));
        }
        let none = json!({"conversation": "x", "last": {"turns": 0}});
        assert_eq!(link.call("conversation.history", none).await.unwrap_err().code, Code::InvalidRequest);
    });
}
