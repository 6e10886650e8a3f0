//! One worker in a directory of its own, held by the built binary.

use holdfast_shared::inbox::InboxWriter;
use holdfast_shared::leftovers::end_leftovers;
use holdfast_shared::peer::ProcessStat;
use holdfast_shared::spool::{Control, SpoolRecord, SpoolTail, Stream, TAIL_PIECE_BYTES_MAX};
use holdfast_shared::worker::{Exit, Limits, Order, OutputMode, Protocol, Started, WorkerState};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a level is waited for; nothing asserts how quickly it comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `ready` gives something.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn is_alive(pid: i32) -> bool {
    ProcessStat::read(pid).is_ok_and(|stat| stat.state != b'Z')
}

/// Tests run side by side, and a worker's processes are known by its name.
fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An order for a shell command line.
pub fn shell(line: &str) -> Order {
    Order {
        spawn_id: unique_name(),
        task: "task".to_owned(),
        turn: "t1".to_owned(),
        protocol: Protocol::Command,
        mode: OutputMode::Bytes,
        argv: ["/bin/bash", "-c", line].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        cwd: PathBuf::from("/"),
        output_quota_bytes: 64 * 1024 * 1024,
        term_grace_ms: 100,
        kill_grace_ms: 300,
        limits: Limits::default(),
        user: None,
    }
}

/// The same with a stdin.
pub fn with_stdin(line: &str) -> Order {
    Order { protocol: Protocol::Acp, ..shell(line) }
}

pub fn spawn_holder(directory: &Path) -> Child {
    holder_command(directory).spawn().unwrap()
}

pub fn holder_command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("hold").arg(directory).stdin(Stdio::null());
    // The worker must not see any of this.
    command.env("HOLDFAST_TEST_LEAK", "leaked");
    command
}

pub struct Held {
    _home: Option<tempfile::TempDir>,
    pub directory: PathBuf,
    pub holder: Child,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The worker goes with its holder, what the worker had started does not.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = end_leftovers(&self.directory);
    }
}

impl Held {
    pub fn start(order: &Order) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut held = Self::start_in(home.path(), order);
        held._home = Some(home);
        held
    }

    pub fn start_in(parent: &Path, order: &Order) -> Self {
        let directory = parent.join("worker");
        std::fs::create_dir(&directory).unwrap();
        order.write(&directory).unwrap();
        let holder = spawn_holder(&directory);
        Held::of(directory, holder)
    }

    /// A worker whose directory and holder the test has made itself.
    pub fn of(directory: PathBuf, holder: Child) -> Self {
        Held { _home: None, directory, holder }
    }

    pub fn state(&self) -> WorkerState {
        WorkerState::read(&self.directory).unwrap()
    }

    pub fn started(&self) -> Started {
        wait_for("started", || Started::read(&self.directory).unwrap())
    }

    pub fn inbox(&self, epoch: u64) -> InboxWriter {
        InboxWriter::create(&self.directory, epoch).unwrap()
    }

    /// Waits for the holder's end and reads everything.
    pub fn ended(&mut self) -> Whole {
        let status = wait_for("the holder's end", || self.holder.try_wait().unwrap());
        assert!(status.success(), "{status}");
        let whole = Whole::read(&self.directory);
        assert_eq!(self.state(), WorkerState::Ended(whole.exit()));
        whole
    }

    /// Waits until the worker has written this to stdout.
    pub fn wait_for_output(&self, text: &str) {
        wait_for(text, || Whole::read(&self.directory).text(Stream::Stdout).contains(text).then_some(()));
    }
}

/// A spool read whole.
pub struct Whole {
    pub records: Vec<SpoolRecord>,
}

impl Whole {
    pub fn read(directory: &Path) -> Self {
        let mut tail = SpoolTail::open(directory);
        let mut records = Vec::new();
        loop {
            let piece = tail.poll(TAIL_PIECE_BYTES_MAX).unwrap();
            if piece.is_empty() {
                return Self { records };
            }
            records.extend(piece);
        }
    }

    /// The output records of one stream: text and `more`.
    pub fn pieces(&self, wanted: Stream) -> Vec<(Vec<u8>, bool)> {
        let of_stream = |record: &SpoolRecord| match record {
            SpoolRecord::Output { stream, bytes, more, .. } if *stream == wanted => {
                Some((bytes.to_vec(), *more))
            }
            _ => None,
        };
        self.records.iter().filter_map(of_stream).collect()
    }

    pub fn bytes(&self, stream: Stream) -> Vec<u8> {
        self.pieces(stream).into_iter().flat_map(|(bytes, _)| bytes).collect()
    }

    pub fn text(&self, stream: Stream) -> String {
        String::from_utf8_lossy(&self.bytes(stream)).into_owned()
    }

    pub fn controls(&self) -> Vec<Control> {
        let control = |record: &SpoolRecord| match record {
            SpoolRecord::Control { control, .. } => Some(control.clone()),
            SpoolRecord::Output { .. } => None,
        };
        self.records.iter().filter_map(control).collect()
    }

    /// The exit, which must be the last record, and tell the truth about the number of records.
    pub fn exit(&self) -> Exit {
        let Some(Control::Exit(exit)) = self.controls().pop() else {
            panic!("no exit: {:?}", self.controls())
        };
        assert!(matches!(self.records.last(), Some(SpoolRecord::Control { control: Control::Exit(_), .. })));
        let outputs =
            self.records.iter().filter(|record| matches!(record, SpoolRecord::Output { .. })).count();
        assert_eq!(exit.final_seq, outputs as u64);
        exit
    }
}

/// A disk of a few KiB; unmounted at the end.
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// Mounts one; where that is not permitted the test is skipped, in plain sight.
    pub fn mount(kibibytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = mount(directory.path(), &format!("size={kibibytes}k"));
        if !mounted {
            eprintln!("SKIPPED: mounting a tmpfs is not permitted here, a full disk cannot be had");
            return None;
        }
        Some(Self(directory))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn resize(&self, kibibytes: u32) {
        assert!(mount(self.path(), &format!("remount,size={kibibytes}k")));
    }

    pub fn free_bytes(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(self.path()).unwrap();
        stat.blocks_free() * stat.fragment_size()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a holder that a failed test left may still be ending.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn mount(directory: &Path, options: &str) -> bool {
    let command =
        Command::new("mount").args(["-t", "tmpfs", "-o", options, "holdfast-test"]).arg(directory).output();
    command.is_ok_and(|output| output.status.success())
}
