//! Work that a switch would end: updates wait for it, a switch by hand is refused. No release has any yet, so a relay in
//! front of the runtime's control socket says so for it; everything else is real.

use super::world::World;
use super::{STATE_DEADLINE, start, update_is};
use holdfast_shared::control::{CallError, Client, Limits, Reply, Request, serve};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_tests::node::{Node, told};
use holdfast_tests::{http, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The supervisor's own limits are shorter.
const ANSWERS: Duration = Duration::from_secs(10);

async fn relayed(request: Request, runtime: Rc<Client>, busy: Rc<Cell<bool>>) -> Result<Reply, ApiError> {
    let path = request.path.clone();
    let answer = runtime.send::<Value>(request.method.clone(), &path, request.body.clone(), ANSWERS).await;
    match answer {
        Ok(mut report) => {
            if busy.get() && report["runtime_instance_id"].is_string() {
                report["live_work"] = json!({"reason": "media session", "retry_after_sec": 1});
            }
            Reply::json(&report)
        }
        Err(CallError::Refused(error)) => Err(error),
        Err(error) => Err(ApiError::new(Code::Unavailable, error.to_string())),
    }
}

/// What the supervisor hears of the active runtime comes through a relay from now on.
pub async fn with_relay(node: &Node) -> Rc<Cell<bool>> {
    let (slot, _) = node.active().await;
    let socket = node.home().control(Role::Runtime(slot));
    let real = socket.with_extension("real");
    std::fs::rename(&socket, &real).expect("the same directory");
    let listener = tokio::net::UnixListener::bind(&socket).expect("the name is free");
    let (runtime, busy) = (Rc::new(Client::new(real)), Rc::new(Cell::new(true)));
    let given = busy.clone();
    tokio::task::spawn_local(serve(listener, Limits::default(), move |request| {
        relayed(request, runtime.clone(), given.clone())
    }));
    // The connections of this one go on; its successor makes new ones.
    let killed = node.signal(Role::Supervisor, Signal::SIGKILL);
    wait::until("another supervisor", STATE_DEADLINE, || {
        node.pid_of(Role::Supervisor).filter(|pid| *pid != killed)
    })
    .await;
    let guarded =
        |status: &Value| status["admission"] == json!({"allowed": false, "reason": "live_work_guard"});
    let looked = async || node.status_async().await.filter(guarded);
    wait::until_asked("the guard is seen", STATE_DEADLINE, looked).await;
    busy
}

#[test]
fn updates_live_work_puts_an_update_off_and_refuses_a_switch_by_hand() {
    run(async {
        let world = World::new("").await;
        let bundle = world.pack("9.0.0");
        let busy = with_relay(&world.node).await;
        let supervisor = Client::new(world.node.home().control(Role::Supervisor));
        let refused = supervisor.post::<_, Value>("/v1/switch", &json!({}), ANSWERS).await;
        let Err(CallError::Refused(refused)) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.code.http_status(), 409);
        let details =
            json!({"reason": "live_work_guard", "live_work": "media session", "retry_after_sec": 1});
        assert_eq!(refused.details, details);
        let switched = world.node.switch().await.expect_err("it is refused");
        assert!(switched.contains("media session") && switched.contains("try again in 1 s"), "{switched}");

        let updating = start(&world.node, vec!["update".into(), bundle]);
        let waits = |update: &Value| update["planned_reason"] == "live_work_guard";
        update_is(&world.node, "it waits", waits).await;
        let address = world.node.ready.address();
        let public = async || {
            let reply = http::get(&address, "/supervisor/public/update-status", None).await.ok()?;
            let status: Value = serde_json::from_str(&reply.body).ok()?;
            waits(&status["update"]).then_some(status)
        };
        let public = wait::until_asked("everybody is told", STATE_DEADLINE, public).await;
        assert_eq!(public["admission"]["reason"], "live_work_guard", "{public}");
        assert_eq!(world.node.active().await, world.serves);

        busy.set(false);
        let updated = updating.await.expect("the command came to its end");
        assert!(updated.status.success(), "{}", told(&updated));
        let attempt = world.newest();
        assert_eq!(
            (&attempt["state"], &attempt["deferred"]),
            (&json!("succeeded"), &json!(false)),
            "{attempt}"
        );
        assert_eq!(world.node.active().await.0, world.serves.0.other());
        world.unharmed().await;
    });
}

#[test]
fn updates_live_work_holds_up_no_settling() {
    run(async {
        let world = World::new("").await;
        with_relay(&world.node).await;
        world.node.signal(Role::Runtime(world.serves.0), Signal::SIGKILL);
        let served = async || {
            let status = world.node.status_async().await?;
            let other = status["active"]["pid"].as_i64()? != i64::from(world.serves.1);
            (other && status["node"]["ready"] == true).then_some(status)
        };
        let status = wait::until_asked("another runtime serves", STATE_DEADLINE, served).await;
        assert_eq!(status["admission"]["allowed"], true, "{status}");
        world.unharmed().await;
    });
}
