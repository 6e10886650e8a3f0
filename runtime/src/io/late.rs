//! Late answers to requests for permission: given away from the loop, as what is filed of a turn may be long, one at a time
//! and in the order in which they were asked for.

use super::served::LateAnswer;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use serde_json::Value;
use tokio::sync::mpsc;

/// Answers that may wait; each looks into a few files of up to 64 MiB, and who wants more meanwhile is told `BUSY`.
pub const WAITING: usize = 64;

/// Takes an answer to whoever asked.
pub type Reply = Box<dyn FnOnce(Result<Value, ApiError>)>;

/// See the module.
pub struct LateAnswers {
    waiting: mpsc::Sender<(Reply, LateAnswer)>,
}

impl LateAnswers {
    /// Needs a `LocalSet`; lives as long as this.
    pub fn start(home: Home) -> Self {
        let (waiting, mut asked) = mpsc::channel::<(Reply, LateAnswer)>(WAITING);
        tokio::task::spawn_local(async move {
            while let Some((reply, answer)) = asked.recv().await {
                reply(found(&home, answer).await);
            }
        });
        Self { waiting }
    }

    /// Gives an answer once those before it are given.
    pub fn give(&self, reply: Reply, answer: LateAnswer) {
        // The task that takes them ends only after this.
        if let Err(error) = self.waiting.try_send((reply, answer)) {
            let (reply, _) = error.into_inner();
            reply(Err(ApiError::new(Code::Busy, format!("{WAITING} late answers wait already"))));
        }
    }
}

async fn found(home: &Home, answer: LateAnswer) -> Result<Value, ApiError> {
    match answer {
        LateAnswer::Known(answer) => answer,
        LateAnswer::Filed(look_up) => {
            let home = home.clone();
            let found = tokio::task::spawn_blocking(move || look_up.find(&home)).await;
            found.unwrap_or_else(|error| Err(ApiError::new(Code::InternalError, error.to_string())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Late;
    use crate::filed::file_name;
    use crate::io::filing::file;
    use crate::io::sample::{Sample, Unfenced};
    use nix::sys::stat::Mode;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    /// A few small files are read within that time, however busy the machine is.
    const GIVEN_WITHIN: Duration = Duration::from_secs(60);

    /// Three filed turns, the first of which cannot be read until somebody writes it; its text.
    fn with_a_slow_file(sample: &Sample) -> (std::path::PathBuf, Vec<u8>) {
        for (first, number) in [(1, 1), (14, 2), (27, 3)] {
            file(&sample.home, &sample.turn("c", first, number, 10, 8), u64::MAX, &Unfenced).unwrap();
        }
        let slow = sample.home.conversation("c").join(file_name(1));
        let text = std::fs::read(&slow).unwrap();
        std::fs::remove_file(&slow).unwrap();
        nix::unistd::mkfifo(&slow, Mode::S_IRWXU).unwrap();
        (slow, text)
    }

    fn of_turn(turn: u64) -> LateAnswer {
        let late =
            Late { task: "c".into(), turn: format!("t{turn}"), seq: 99, request: format!("t{turn}.99") };
        LateAnswer::Filed(crate::io::served::LookUp::new(late, turn, 39))
    }

    #[test]
    fn a_long_history_holds_nothing_else_up_and_answers_keep_their_order() {
        let sample = Sample::new();
        let (slow, text) = with_a_slow_file(&sample);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let given: Rc<RefCell<Vec<(usize, ApiError)>>> = Rc::default();
        let reply = |number: usize| -> Reply {
            let given = given.clone();
            Box::new(move |answer| given.borrow_mut().push((number, answer.unwrap_err())))
        };
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let late = LateAnswers::start(sample.home.clone());
            late.give(reply(0), of_turn(1));
            late.give(reply(1), of_turn(3));
            late.give(reply(2), LateAnswer::Known(Err(ApiError::new(Code::Unavailable, "not now"))));
            // Others of this thread have their turn while the first file is waited for.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(given.borrow().len(), 0);
            for number in 3..WAITING + 4 {
                late.give(reply(number), of_turn(9));
            }
            let busy: Vec<usize> = given.borrow().iter().map(|(number, _)| *number).collect();
            assert_eq!(busy, [WAITING + 1, WAITING + 2, WAITING + 3], "no more wait than may");
            assert!(given.borrow().iter().all(|(_, error)| error.code == Code::Busy && error.retryable));
            given.borrow_mut().clear();
            let written = std::thread::spawn(move || std::fs::write(slow, text).unwrap());
            let all_given = async {
                while given.borrow().len() <= WAITING {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(GIVEN_WITHIN, all_given).await.expect("every answer is given");
            written.join().unwrap();
        });
        let order: Vec<usize> = given.borrow().iter().map(|(number, _)| *number).collect();
        assert_eq!(order, (0..=WAITING).collect::<Vec<usize>>());
        let codes: Vec<Code> = given.borrow().iter().map(|(_, error)| error.code).collect();
        assert_eq!(codes[..3], [Code::InvalidRequest, Code::InvalidRequest, Code::Unavailable]);
    }
}
