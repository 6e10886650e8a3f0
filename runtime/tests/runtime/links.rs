//! Links that do not keep to the rules.

use crate::support::{Node, local, operator};
use holdfast_shared::error::Code;
use holdfast_shared::slot::Slot;
use serde_json::json;

#[test]
fn a_hostile_link_is_closed_and_no_other_is_touched() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut good = runtime.route(1).await;
        let mut wrong_epoch = runtime.route(1).await;
        wrong_epoch.pretend_epoch(2);
        wrong_epoch.start("task.list", json!({}), "", operator()).await;
        let mut rubbish = runtime.route(1).await;
        rubbish.send_raw(&[0xff; 64]).await;
        let mut unknown = runtime.route(1).await;
        unknown.send_raw(&frame(1, br#"{"explode":{}}"#)).await;
        for link in [&mut wrong_epoch, &mut rubbish, &mut unknown] {
            while link.receive().await {}
        }
        good.call("task.list", json!({})).await.unwrap();
        let unknown = good.call("task.explode", json!({})).await.unwrap_err();
        assert_eq!(unknown.code, Code::UnknownMethod);
        good.subscribe(1, "conversation:none", "", None).await;
        assert_eq!(good.channels[&1].failed.as_ref().unwrap().code, Code::UnknownChannel);
    });
}

/// A frame with this JSON text.
fn frame(epoch: u64, text: &[u8]) -> Vec<u8> {
    let mut frame = ((10 + text.len()) as u32).to_le_bytes().to_vec();
    frame.extend(epoch.to_le_bytes());
    frame.extend([0, 0]);
    frame.extend(text);
    frame
}
