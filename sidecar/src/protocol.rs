//! The Centrifuge client protocol, JSON flavour, as far as a server needs it. Pure text in, values out.
//!
//! One WebSocket message holds one or more commands, or one or more replies and pushes, each a JSON object on
//! a line of its own (<https://centrifugal.dev/docs/transports/client_protocol>). `{}` is a ping from the
//! server and a pong from the client. Fields that we do not know are ignored, as that protocol asks: SDKs send
//! flags for features that a server may not have. The parameters of our own methods are checked strictly by
//! the runtime.

mod codes;
mod command;
mod reply;

pub use codes::*;
pub use command::*;
pub use reply::*;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use holdfast_shared::error::{ApiError, Code};
    use proptest::prelude::*;

    fn parsed(line: &str) -> String {
        match Command::parse(line.as_bytes()) {
            Ok(command) => format!("{} {:?}", command.id, command.request),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn commands_as_sdks_send_them() {
        for (line, expected) in [
            (r#"{"id":1,"connect":{"token":"t","name":"js","flag":1}}"#, r#"1 Connect { token: "t" }"#),
            (r#"{"id":1,"connect":{}}"#, r#"1 Connect { token: "" }"#),
            (
                r#"{"id":2,"subscribe":{"channel":"node","flag":1}}"#,
                r#"2 Subscribe { channel: "node", recover: None }"#,
            ),
            (
                r#"{"id":2,"subscribe":{"channel":"a","recover":true,"offset":7,"epoch":"e"}}"#,
                r#"2 Subscribe { channel: "a", recover: Some(Position { epoch: "e", offset: 7 }) }"#,
            ),
            (r#"{"id":3,"unsubscribe":{"channel":"a"}}"#, r#"3 Unsubscribe { channel: "a" }"#),
            (
                r#"{"id":4,"rpc":{"method":"m","data":{"a":1}}}"#,
                r#"4 Rpc { method: "m", data: Some(RawValue({"a":1})) }"#,
            ),
            (r#"{"id":5,"ping":{}}"#, "5 Ping"),
            (r#"{"send":{"data":1}}"#, "0 Send"),
            (r#"{}"#, "0 Pong"),
            (r#"{"id":6,"presence":{"channel":"a"}}"#, "6 Unavailable"),
            (r#"{"id":6,"publish":{"channel":"a","data":{}}}"#, "6 Unavailable"),
            (r#"{"id":7,"something":{}}"#, "7 Unavailable"),
            (r#"{"rpc":{"method":"m"}}"#, "not a command of the Centrifuge protocol"),
            (r#"{"id":-1,"ping":{}}"#, "not a command of the Centrifuge protocol"),
            (r#"{"id":1,"subscribe":{}}"#, "not a command of the Centrifuge protocol"),
            ("[]", "not a command of the Centrifuge protocol"),
            ("", "not a command of the Centrifuge protocol"),
            ("{", "not a command of the Centrifuge protocol"),
        ] {
            assert_eq!(parsed(line), expected, "{line}");
        }
    }

    #[test]
    fn replies_as_sdks_read_them() {
        let error = CommandError::from(ApiError::new(Code::Busy, "later"));
        for (text, expected) in [
            (
                error_reply(1, &error),
                r#"{"id":1,"error":{"code":1020,"message":"BUSY: later","temporary":true}}"#,
            ),
            (
                error_reply(2, &CommandError::token_expired()),
                r#"{"id":2,"error":{"code":109,"message":"token expired"}}"#,
            ),
            (
                unsubscribe_push("a\"b", INSUFFICIENT_STATE),
                r#"{"push":{"channel":"a\"b","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
            ),
            (
                SubscribeReply { epoch: "e", offset: 4, was_recovering: true, recovered: true }
                    .encode(3, [b"{1}".as_slice(), b"{2}"].into_iter()),
                concat!(
                    r#"{"id":3,"subscribe":{"recoverable":true,"positioned":true,"epoch":"e","offset":4,"#,
                    r#""was_recovering":true,"recovered":true,"publications":[{1},{2}]}}"#
                ),
            ),
        ] {
            assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
        }
    }

    #[test]
    fn a_push_is_one_line_and_its_publication_can_be_taken_out_again() {
        let format = PushFormat::new("conversation:x");
        let mut push = Vec::new();
        format.encode(12, &Bytes::from_static(b"{\"a\":\n1}"), &mut push);
        let expected = r#"{"push":{"channel":"conversation:x","pub":{"offset":12,"data":{"a": 1}}}}"#;
        assert_eq!(std::str::from_utf8(&push).unwrap(), expected);
        assert_eq!(format.publication(&push), br#"{"offset":12,"data":{"a": 1}}"#);
    }

    proptest! {
        #[test]
        fn hostile_lines_never_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&line);
        }
    }
}
