//! Signals as input of the loop: each writes into a pipe that tokio reads.

use std::future::poll_fn;
use std::io;
use std::os::unix::net::UnixStream;
use std::task::Poll;
use tokio::io::{AsyncRead, ReadBuf};

/// The signals a process listens to.
#[derive(Debug)]
pub struct Signals {
    pipes: Vec<(i32, tokio::net::UnixStream)>,
}

impl Signals {
    /// Listens to these signals from now on, in place of their default action. Needs a tokio runtime.
    ///
    /// # Errors
    /// When a pipe cannot be made, or a signal cannot be caught.
    pub fn listen(signals: &[i32]) -> io::Result<Self> {
        let pipe = |signal: &i32| {
            let (ours, handlers) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(*signal, handlers)?;
            ours.set_nonblocking(true)?;
            Ok((*signal, tokio::net::UnixStream::from_std(ours)?))
        };
        Ok(Self { pipes: signals.iter().map(pipe).collect::<io::Result<_>>()? })
    }

    /// The next signal. Several of one kind may come as one. Safe to drop and call again.
    pub async fn next(&mut self) -> i32 {
        poll_fn(|context| {
            for (signal, pipe) in &mut self.pipes {
                let mut bytes = [0u8; 64];
                let mut buffer = ReadBuf::new(&mut bytes);
                let read = std::pin::Pin::new(pipe).poll_read(context, &mut buffer);
                if matches!(read, Poll::Ready(Ok(()))) && !buffer.filled().is_empty() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_signal_arrives() {
        let mut signals = Signals::listen(&[libc::SIGUSR1, libc::SIGUSR2]).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR2).unwrap();
        let got = tokio::time::timeout(Duration::from_secs(10), signals.next()).await.unwrap();
        assert_eq!(got, libc::SIGUSR2);
    }
}
