//! One datagram with its sender and its descriptors, as the kernel gives it.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors that the kernel passes in one message at most (SCM_MAX_FD). Room for fewer would truncate what
/// anybody may send.
pub(super) const KERNEL_DESCRIPTORS_AT_MOST: usize = 253;

/// What came.
#[derive(Debug)]
pub(super) struct Datagram {
    /// Bytes of it, in the buffer that was given.
    pub(super) length: usize,
    /// Who sent it.
    pub(super) pid: Option<i32>,
    /// All descriptors that came with it; none where some were lost on the way.
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Receives one datagram without waiting; its controls have room for so many descriptors. What of them the kernel
/// could not deliver whole is closed, not left open and forgotten.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    room_descriptors: usize,
) -> io::Result<Datagram> {
    let mut space = vec![0u64; control_bytes(room_descriptors).div_ceil(size_of::<u64>())];
    let mut buffer = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a msghdr of zeros is one without name, buffers and controls.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut buffer;
    header.msg_iovlen = 1;
    header.msg_control = space.as_mut_ptr().cast();
    header.msg_controllen = control_bytes(room_descriptors);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: header, buffer, bytes and space live until after the call, with the lengths given.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let mut datagram = Datagram { length, pid: None, descriptors: Vec::new() };
    // SAFETY: the kernel has filled in header and space, which still live.
    unsafe { take_controls(&header, &mut datagram) };
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        datagram.descriptors.clear();
    }
    Ok(datagram)
}

/// Bytes of controls with credentials and so many descriptors.
fn control_bytes(descriptors: usize) -> usize {
    let space = |bytes: usize| {
        // SAFETY: only computes. A few hundred descriptors fit.
        unsafe { libc::CMSG_SPACE(u32::try_from(bytes).unwrap_or(u32::MAX)) as usize }
    };
    space(size_of::<libc::ucred>()) + space(descriptors * size_of::<RawFd>())
}

/// Takes sender and descriptors.
///
/// # Safety
/// The header is one that `recvmsg` has filled in, once, and its control space lives.
unsafe fn take_controls(header: &libc::msghdr, datagram: &mut Datagram) {
    // SAFETY: see above; each control lies within the length that the kernel has set, and says its own length.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = next.as_ref() {
            let data = libc::CMSG_DATA(control);
            let bytes = control.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if bytes >= size_of::<libc::ucred>() => {
                    datagram.pid = Some(data.cast::<libc::ucred>().read_unaligned().pid);
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for index in 0..bytes / size_of::<RawFd>() {
                        // The kernel has just made it for us; nobody else owns it.
                        let number = data.cast::<RawFd>().add(index).read_unaligned();
                        datagram.descriptors.push(OwnedFd::from_raw_fd(number));
                    }
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, control);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt::PassCred};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixDatagram;

    /// How many descriptors of this process are open on that file.
    fn open_on(inode: u64) -> usize {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        entries.filter(|entry| std::fs::metadata(entry.path()).is_ok_and(|file| file.ino() == inode)).count()
    }

    #[test]
    fn descriptors_of_a_truncated_message_are_closed() {
        let (sender, socket) = UnixDatagram::pair().unwrap();
        setsockopt(&socket, PassCred, &true).unwrap();
        let file = tempfile::tempfile().unwrap();
        let inode = file.metadata().unwrap().ino();
        for (room, kept) in [(10, 10), (2, 0)] {
            let descriptors = vec![file.as_raw_fd(); 10];
            let rights = [ControlMessage::ScmRights(&descriptors)];
            let said = [io::IoSlice::new(b"READY=1")];
            sendmsg::<()>(sender.as_raw_fd(), &said, &rights, MsgFlags::empty(), None).unwrap();
            let mut bytes = [0u8; 64];
            let datagram = receive(socket.as_fd(), &mut bytes, room).unwrap();
            assert_eq!(&bytes[..datagram.length], b"READY=1");
            assert_eq!(datagram.pid, Some(std::process::id().cast_signed()));
            assert_eq!((datagram.descriptors.len(), open_on(inode)), (kept, kept + 1));
        }
        let nothing = receive(socket.as_fd(), &mut [0u8; 64], 1).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }
}
