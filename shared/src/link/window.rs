//! Flow control of the link: how much may be sent, and when to grant more.

use super::WINDOW_BYTES;

/// What this side may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendWindow(u64);

impl Default for SendWindow {
    fn default() -> Self {
        Self(WINDOW_BYTES.into())
    }
}

impl SendWindow {
    /// Whether anything may be sent now. A message may overdraw the window once, so that one larger than what
    /// is left does not wait for ever.
    pub fn open(self) -> bool {
        self.0 > 0
    }

    /// Counts bytes of frames as sent.
    pub fn sent(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes as u64);
    }

    /// The other side consumed so many bytes.
    pub fn granted(&mut self, bytes: u32) {
        self.0 = (self.0 + u64::from(bytes)).min(WINDOW_BYTES.into());
    }
}

/// What this side has consumed and not yet granted back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveWindow(u32);

impl ReceiveWindow {
    /// Counts bytes of frames as consumed; `Some` when it is time to grant so many (a quarter of the window).
    pub fn consumed(&mut self, bytes: usize) -> Option<u32> {
        self.0 = self.0.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        (self.0 >= WINDOW_BYTES / 4).then(|| std::mem::take(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_window_opens_again_by_grants_and_never_grows() {
        let (mut send, mut receive) = (SendWindow::default(), ReceiveWindow::default());
        let mut granted = 0;
        while send.open() {
            send.sent(1000);
            granted += receive.consumed(1000).unwrap_or(0);
        }
        assert!(granted >= WINDOW_BYTES / 2, "granted while it was being used");
        send.granted(granted);
        assert!(send.open());
        send.granted(u32::MAX);
        assert_eq!(send, SendWindow::default());
    }
}
