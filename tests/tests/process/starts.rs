//! Starts that cannot go as usual are said plainly and can be made good.

use holdfast_shared::home::Role;
use holdfast_tests::node::{Node, told};
use std::net::TcpListener;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn up_whose_remembered_address_is_taken_names_it_and_starts_when_it_is_free() {
    let mut node = Node::up();
    let address = node.ready.address();
    let stopped = node.holdfast(&["stop"]);
    assert!(stopped.status.success(), "{}", told(&stopped));
    node.wait_up_ended(DEADLINE);
    let other = TcpListener::bind(&address).expect("the node let it go");
    let failed = node.up_again().expect_err("its address is taken");
    assert_eq!((failed.code, &*failed.stdout), (Some(5), ""), "{failed:?}");
    assert!(failed.stderr.contains(&address), "{failed:?}");
    assert_eq!(node.pid_of(Role::Keeper), None, "something was started");
    drop(other);
    node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
    assert_eq!(node.ready.address(), address);
}
