//! Waiting for a level, with a deadline: the only place that sleeps.

use std::time::{Duration, Instant};

/// How often a level is looked at; short beside everything that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Between two looks at what passes quickly.
const LOOK_QUICKLY_EVERY: Duration = Duration::from_millis(1);

/// Looks until `level` gives a value.
///
/// # Panics
/// At the deadline, naming what was waited for.
pub async fn until<T>(what: &str, deadline: Duration, level: impl FnMut() -> Option<T>) -> T {
    try_until(deadline, level).await.unwrap_or_else(|| panic!("after {deadline:?} still not: {what}"))
}

/// The same; `None` at the deadline.
pub async fn try_until<T>(deadline: Duration, mut level: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = level() {
            return Some(value);
        }
        if started.elapsed() >= deadline {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The same, from code that is not async.
///
/// # Panics
/// At the deadline, naming what was waited for.
pub fn until_blocking<T>(what: &str, deadline: Duration, mut level: impl FnMut() -> Option<T>) -> T {
    try_until_blocking(deadline, &mut level).unwrap_or_else(|| panic!("after {deadline:?} still not: {what}"))
}

/// The same; `None` at the deadline.
pub fn try_until_blocking<T>(deadline: Duration, mut level: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = level() {
            return Some(value);
        }
        if started.elapsed() >= deadline {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Lets time pass: for the random moments of faults, never to wait for something.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The same, from code that is not async: for what is written at a pace.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Looks until `level`, which asks something, gives a value; without a pause, for levels that pass quickly.
///
/// # Panics
/// At the deadline, naming what was waited for.
pub async fn until_asked<T>(what: &str, deadline: Duration, mut level: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = level().await {
            return value;
        }
        assert!(started.elapsed() < deadline, "after {deadline:?} still not: {what}");
        tokio::time::sleep(LOOK_QUICKLY_EVERY).await;
    }
}
