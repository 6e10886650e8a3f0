//! Contracts between the processes: journal, spool, link, control sockets.
