//! Calls of the node's methods, as browsers make them, over the sidecar's control socket; and `rpc`, which makes any of them.

use super::output::{CliError, Output, block_on};
use super::place::Place;
use crate::render::json_text;
use holdfast_shared::control::CallError;
use holdfast_shared::error::Code;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One attempt; the sidecar itself answers within 4 s.
const ANSWERS: Duration = Duration::from_secs(15);
/// A command is asked for again, under its id, until what became of it is known.
const OF_A_COMMAND: Again =
    Again { within: Duration::from_secs(120), codes: &[Code::OutcomePending, Code::Unavailable] };
/// A read changes nothing, so there is no outcome of it to be unknown. After so long the node is taken for gone, as by who
/// follows a conversation.
const OF_A_READ: Again = Again {
    within: Duration::from_secs(60),
    codes: &[Code::OutcomePending, Code::Unavailable, Code::OutcomeUnknown],
};
/// Between two of these.
const AGAIN: Duration = Duration::from_millis(100);

/// When something is asked again.
struct Again {
    /// For how long.
    within: Duration,
    /// After these refusals.
    codes: &'static [Code],
}

/// Calls any method with any parameters.
pub fn rpc(place: &Place, method: &str, params: &str, output: &Output) -> Result<u8, CliError> {
    let params: Value = serde_json::from_str(params)
        .map_err(|error| CliError::Usage(format!("the parameters are no JSON: {error}")))?;
    if !params.is_object() {
        return Err(CliError::Usage("the parameters are no JSON object".into()));
    }
    block_on(async {
        let answer = call(place, method, &params).await?;
        output.result(&answer, || json_text(format!("{answer:#}")));
        Ok(crate::exit::FINE)
    })
}

/// One try.
pub(super) async fn call(place: &Place, method: &str, params: &Value) -> Result<Value, CliError> {
    if !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(CliError::Usage(format!("{method:?} is no method")));
    }
    let path = format!("/v1/rpc/{method}");
    place.sidecar().post(&path, params, ANSWERS).await.map_err(|error| place.explain(error))
}

/// A command with an id: asked for again, under it, until its outcome is known. It happens once.
pub(super) async fn write(place: &Place, method: &str, mut params: Value) -> Result<Value, CliError> {
    params["command_id"] = json!(uuid::Uuid::now_v7());
    until_known(place, method, &params, &OF_A_COMMAND, |_| ()).await
}

/// A read: asked again until it is answered.
pub(super) async fn ask(place: &Place, method: &str, params: &Value) -> Result<Value, CliError> {
    until_known(place, method, params, &OF_A_READ, |_| ()).await
}

/// The same; that the node does not answer is said once.
pub(super) async fn ask_and_say(
    place: &Place,
    method: &str,
    params: &Value,
    output: &Output,
) -> Result<Value, CliError> {
    let mut said = false;
    let say = |error: &CliError| {
        if !std::mem::replace(&mut said, true) {
            output.say(&format!("The node does not answer; trying again ({error})."));
        }
    };
    until_known(place, method, params, &OF_A_READ, say).await
}

async fn until_known(
    place: &Place,
    method: &str,
    params: &Value,
    again: &Again,
    mut failed: impl FnMut(&CliError),
) -> Result<Value, CliError> {
    let deadline = Instant::now() + again.within;
    loop {
        let error = match call(place, method, params).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let is_again = match &error {
            CliError::Refused(refused) => again.codes.contains(&refused.code),
            CliError::Call(CallError::Refused(_)) => false,
            CliError::Call(_) => place.anything_lives(),
            _ => false,
        };
        if !is_again || Instant::now() >= deadline {
            return Err(error);
        }
        failed(&error);
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::control::{Limits, Reply, Request, serve};
    use holdfast_shared::error::ApiError;
    use holdfast_shared::home::{Home, Role};
    use holdfast_shared::process::bind_unix;
    use std::cell::Cell;
    use std::rc::Rc;

    /// What a stand-in for the sidecar, which refuses the first two calls with `code`, made of a call.
    fn asked_of_one_that_refuses(code: Code, write_it: bool) -> (Result<Value, CliError>, usize) {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { home: Home::new(directory.path()) };
        std::fs::create_dir_all(place.home.run()).unwrap();
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let answer = block_on(async {
            let socket = bind_unix(&place.home.control(Role::Sidecar)).unwrap();
            let listener = tokio::net::UnixListener::from_std(socket).unwrap();
            let handle = move |_: Request| {
                counted.set(counted.get() + 1);
                let refused = counted.get() <= 2;
                async move {
                    if refused {
                        Err(ApiError::new(code, "not yet"))
                    } else {
                        Reply::json(&json!({"read": 1}))
                    }
                }
            };
            let serving = tokio::task::spawn_local(serve(listener, Limits::default(), handle));
            let answer = match write_it {
                true => write(&place, "task.open", json!({})).await,
                false => ask(&place, "conversation.history", &json!({})).await,
            };
            serving.abort();
            Ok(answer)
        });
        (answer.unwrap(), calls.get())
    }

    #[test]
    fn a_read_without_an_outcome_is_asked_again_and_a_command_is_not() {
        for code in [Code::OutcomeUnknown, Code::Unavailable, Code::OutcomePending] {
            let (answer, calls) = asked_of_one_that_refuses(code, false);
            assert_eq!((answer.unwrap(), calls), (json!({"read": 1}), 3), "{code:?}");
        }
        let (answer, calls) = asked_of_one_that_refuses(Code::OutcomeUnknown, true);
        assert!(matches!(answer, Err(CliError::Refused(error)) if error.code == Code::OutcomeUnknown));
        assert_eq!(calls, 1);
        let (answer, calls) = asked_of_one_that_refuses(Code::TaskNotFound, false);
        assert!(answer.is_err() && calls == 1);
    }
}
