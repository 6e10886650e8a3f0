//! Durable appends: the journal's writer thread, a bare file with fdatasync, and SQLite (WAL, synchronous = FULL),
//! in turn, the same records; one at a time, and in groups of what comes while the last one syncs.

use crate::options::Options;
use crate::table::Table;
use holdfast_shared::journal::{Limits, NewRecord, RealDisk, Request, TakeOver, WriterEvent, WriterThread};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// As large as the record of an ordinary event.
const PAYLOAD_BYTES: usize = 256;
/// Appends of one round, each durable before the next.
const ONE_AT_A_TIME: u64 = 1000;
/// Appends of one round with so many in flight.
const IN_FLIGHT: u64 = 64;
const GROUPED: u64 = 20_000;

pub fn measure(options: &Options) -> Table {
    let mut table = Table::new(format!(
        "durable appends of {PAYLOAD_BYTES} bytes, {} interleaved rounds",
        options.rounds
    ));
    let directory = tempfile::Builder::new().prefix("bench.").tempdir().expect("room below TMPDIR");
    let mut rows: Vec<(&str, Vec<f64>)> = vec![
        ("journal, one at a time", Vec::new()),
        ("bare file + fdatasync, one at a time", Vec::new()),
        ("SQLite, one at a time", Vec::new()),
        ("journal, 64 in flight", Vec::new()),
        ("bare file + fdatasync, batches of 64", Vec::new()),
        ("SQLite, transactions of 64", Vec::new()),
    ];
    for round in 0..options.rounds {
        eprintln!("round {}/{}", round + 1, options.rounds);
        let at = directory.path().join(round.to_string());
        std::fs::create_dir(&at).expect("a new directory");
        let measured = [
            Some(journal(&at.join("one"), ONE_AT_A_TIME, 1)),
            Some(bare(&at.join("one.bare"), ONE_AT_A_TIME, 1)),
            sqlite(&at.join("one.sqlite"), ONE_AT_A_TIME, 1),
            Some(journal(&at.join("grouped"), GROUPED, IN_FLIGHT)),
            Some(bare(&at.join("grouped.bare"), GROUPED, IN_FLIGHT)),
            sqlite(&at.join("grouped.sqlite"), GROUPED, IN_FLIGHT),
        ];
        for (row, rate) in rows.iter_mut().zip(measured) {
            row.1.extend(rate);
        }
        let _ = std::fs::remove_dir_all(&at);
    }
    for group in rows.chunks(3) {
        let peer = median(&group[1].1);
        for (name, rates) in group {
            if rates.is_empty() {
                table.note(format!("{name}: skipped, python3 with sqlite3 is not here"));
                continue;
            }
            let rate = median(rates);
            table.row(*name, &[("appends/s", rate), ("of bare file", rate / peer)]);
        }
    }
    table
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn record() -> NewRecord {
    NewRecord::new("bench.event", vec![b'7'; PAYLOAD_BYTES])
}

/// Appends with at most `in_flight` not yet durable.
fn journal(directory: &Path, count: u64, in_flight: u64) -> f64 {
    let request = Request {
        epoch: 1,
        owner: "a".into(),
        instance: "bench".into(),
        release: "bench".into(),
        at_ms: 0,
        first: true,
        journal_id: Uuid::new_v4(),
        known_kinds: &["bench.event"],
        limits: Limits::RUNTIME,
    };
    let (writer, taken) = TakeOver::begin(directory, Arc::new(RealDisk), request).expect("a new journal");
    let (told, durable) = sync_channel(65_536);
    let thread = WriterThread::spawn(writer, move |event| {
        if let WriterEvent::Durable { lsn } = event {
            let _ = told.try_send(lsn);
        }
    })
    .expect("a thread");
    let first = taken.last.lsn + 1;
    let started = Instant::now();
    let mut safe = taken.last.lsn;
    for lsn in first..first + count {
        while lsn > safe + in_flight {
            safe = next(&durable);
        }
        thread.submit(lsn, vec![record()]).expect("room in the queue");
    }
    while safe + 1 < first + count {
        safe = next(&durable);
    }
    let took = started.elapsed();
    thread.fence().expect("it lives");
    rate(count, took)
}

fn next(durable: &Receiver<u64>) -> u64 {
    durable.recv_timeout(Duration::from_secs(10)).expect("it syncs")
}

fn bare(path: &Path, count: u64, batch: u64) -> f64 {
    let mut file = std::fs::File::create(path).expect("a new file");
    let bytes = vec![b'7'; PAYLOAD_BYTES * usize::try_from(batch).expect("small")];
    let started = Instant::now();
    for _ in 0..count / batch {
        file.write_all(&bytes).expect("room");
        file.sync_data().expect("a disk that syncs");
    }
    rate(count / batch * batch, started.elapsed())
}

const SQLITE: &str = "
import sqlite3, sys, time
path, count, batch, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(path, isolation_level=None)
db.execute('pragma journal_mode=wal'); db.execute('pragma synchronous=full')
db.execute('create table log (lsn integer primary key, data blob)')
data = b'7' * size
started = time.monotonic()
for _ in range(count // batch):
    db.execute('begin')
    for _ in range(batch):
        db.execute('insert into log (data) values (?)', (data,))
    db.execute('commit')
print(count // batch * batch / (time.monotonic() - started))
";

fn sqlite(path: &Path, count: u64, batch: u64) -> Option<f64> {
    let arguments = [count.to_string(), batch.to_string(), PAYLOAD_BYTES.to_string()];
    let output = Command::new("python3").arg("-c").arg(SQLITE).arg(path).args(arguments).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
