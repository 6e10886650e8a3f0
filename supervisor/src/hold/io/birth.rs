//! Making the worker's process, in its control group from its first moment.
//!
//! Entering a group later (writing to `cgroup.procs`) makes the kernel wait until every processor has passed through a
//! quiet moment: 10 to 20 ms. A process that is born in the group needs none of that.

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid, fork};
use std::os::fd::{AsFd, AsRawFd};

/// `CLONE_INTO_CGROUP` of linux/sched.h (5.7); libc's constant has a type that does not hold it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks; the child is born in the group of this directory where there is one and the kernel can do it. Also whether it is
/// there now, or has still to enter.
///
/// # Errors
/// As `fork`.
///
/// # Safety
/// As for `fork`: this process has one thread.
pub unsafe fn fork_into(group: Option<impl AsFd>) -> nix::Result<(ForkResult, bool)> {
    if let Some(group) = group {
        // SAFETY: by the caller.
        if let Ok(born) = unsafe { clone_into(group) } {
            return Ok((born, true));
        }
    }
    // Older kernels, and filters of system calls, have no such call.
    // SAFETY: by the caller.
    Ok((unsafe { fork() }?, false))
}

unsafe fn clone_into(group: impl AsFd) -> nix::Result<ForkResult> {
    // SAFETY: zeroes are a valid value of each field, and mean that nothing of it is wanted.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    arguments.cgroup = u64::try_from(group.as_fd().as_raw_fd()).map_err(|_| Errno::EBADF)?;
    // SAFETY: no memory is shared, so the child goes on with a copy of everything, as after `fork`; what libc keeps of
    // this thread's number is not used before the child's exec.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    match i32::try_from(Errno::result(pid)?).map_err(|_| Errno::EOVERFLOW)? {
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent { child: Pid::from_raw(pid) }),
    }
}
