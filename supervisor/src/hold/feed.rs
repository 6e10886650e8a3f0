//! What the worker is fed: the inbox, in order, each number once.

use super::HoldError;
use super::io::wake::InboxWatch;
use super::io::write_nonblocking;
use holdfast_shared::inbox::{InboxReader, MessageHead, Payload, highest_epoch};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is written to the worker's stdin at a time.
const FEED_BYTES: usize = 16 * 1024;

/// The inbox and the worker's stdin.
#[derive(Debug)]
pub struct Feed {
    directory: PathBuf,
    watch: InboxWatch,
    inbox: Option<InboxReader>,
    consumed: u64,
    stdin: Option<OwnedFd>,
    input: Option<Input>,
}

/// A message on its way into the worker.
#[derive(Debug)]
struct Input {
    payload: Payload,
    fed: usize,
    /// `consumed` is not durable yet: no byte may go in.
    unrecorded: bool,
}

/// How far feeding came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// No input is under way: the next message may be taken.
    Idle,
    /// The worker, or the record of consumption, has to be waited for.
    Blocked,
}

impl Feed {
    /// Begins to follow the inbox of a worker with this stdin.
    pub fn open(directory: &Path, stdin: Option<OwnedFd>) -> Result<Self, HoldError> {
        let watch = InboxWatch::open(directory).map_err(HoldError::system("watch the inbox"))?;
        let mut feed =
            Self { directory: directory.to_owned(), watch, inbox: None, consumed: 0, stdin, input: None };
        feed.follow_highest()?;
        Ok(feed)
    }

    /// Takes the news from the inbox's directory: turns to a new file of the highest epoch.
    pub fn take_news(&mut self) -> Result<(), HoldError> {
        if self.watch.take().map_err(HoldError::system("read the inbox's news"))?.new_file {
            self.follow_highest()?;
        }
        Ok(())
    }

    fn follow_highest(&mut self) -> Result<(), HoldError> {
        let highest = highest_epoch(&self.directory).map_err(HoldError::system("list the inbox"))?;
        if let Some(epoch) = highest {
            self.watch.follow(epoch).map_err(HoldError::system("follow the inbox"))?;
            self.inbox = Some(InboxReader::open(&self.directory, epoch)?);
        }
        Ok(())
    }

    /// The next message that was not taken yet, if it is wholly there.
    pub fn peek(&mut self) -> Result<Option<MessageHead>, HoldError> {
        let Some(inbox) = &mut self.inbox else { return Ok(None) };
        while let Some(message) = inbox.peek()? {
            if message.number > self.consumed && message.kind.is_some() {
                return Ok(Some(message));
            }
            inbox.advance(&message);
        }
        Ok(None)
    }

    /// The next message behind those that wait, each given once.
    pub fn look_ahead(&mut self) -> Result<Option<MessageHead>, HoldError> {
        let Some(inbox) = &mut self.inbox else { return Ok(None) };
        while let Some(message) = inbox.look_ahead()? {
            if message.number > self.consumed {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The whole payload of a short message.
    pub fn short_payload(&self, message: &MessageHead, bytes_max: usize) -> Result<Vec<u8>, HoldError> {
        let Some(inbox) = &self.inbox else { return Ok(Vec::new()) };
        let mut bytes = vec![0; message.length.min(bytes_max)];
        let length = inbox.payload(message).read(0, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The message is taken: goes past it. Its number will not be taken again.
    pub fn take(&mut self, message: &MessageHead) {
        self.consumed = message.number;
        if let Some(inbox) = &mut self.inbox {
            inbox.advance(message);
        }
    }

    /// Lets a taken message go into the worker, as soon as its consumption is [`recorded`](Self::recorded).
    pub fn begin_input(&mut self, message: &MessageHead) {
        if let (Some(inbox), Some(_)) = (&self.inbox, &self.stdin) {
            self.input = Some(Input { payload: inbox.payload(message), fed: 0, unrecorded: true });
        }
    }

    /// Whether an input waits for its consumption to be durable.
    pub fn awaits_record(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.unrecorded)
    }

    /// The consumption is durable.
    pub fn recorded(&mut self) {
        if let Some(input) = &mut self.input {
            input.unrecorded = false;
        }
    }

    /// Writes as much of the input as the worker takes. A worker that closed its stdin gets nothing more.
    pub fn pump(&mut self) -> Result<Fed, HoldError> {
        let (Some(stdin), Some(input)) = (&self.stdin, &mut self.input) else { return Ok(Fed::Idle) };
        if input.unrecorded {
            return Ok(Fed::Blocked);
        }
        let mut buffer = [0; FEED_BYTES];
        while input.fed < input.payload.length() {
            let length = input.payload.read(input.fed, &mut buffer)?;
            match write_nonblocking(stdin, &buffer[..length]) {
                Ok(Some(count)) => input.fed += count,
                Ok(None) => return Ok(Fed::Blocked),
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                    self.close_stdin();
                    return Ok(Fed::Idle);
                }
                Err(error) => return Err(HoldError::system("write the worker's input")(error)),
            }
        }
        self.input = None;
        Ok(Fed::Idle)
    }

    /// Closes the worker's stdin; an input that is under way ends there.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
        self.input = None;
    }

    /// The worker's stdin, while an input waits for it to take more.
    pub fn wants_write(&self) -> Option<BorrowedFd<'_>> {
        let waits = self.input.as_ref().is_some_and(|input| !input.unrecorded);
        self.stdin.as_ref().filter(|_| waits).map(AsFd::as_fd)
    }

    /// Readable when there is news.
    pub fn watch(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
