//! Supervisor, keeper, holder and the operator command line.
