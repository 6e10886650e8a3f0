//! Frames of the link, pure: bytes in, messages out.
//!
//! A frame is `length: u32` (of what follows), `epoch: u64`, `kind: u8`, `flags: u8`, payload; integers are
//! little-endian. A message larger than one frame is continued in frames of the same kind, all but the last
//! with the flag [`MORE`]; messages are never interleaved.

use super::{Piece, Publication, Publications};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;

/// Bytes of one frame's payload at most.
pub const FRAME_PAYLOAD_BYTES: usize = 64 * 1024 - HEADER_BYTES;
/// Bytes of one message at most: a browser's frame of 1 MiB and what it is wrapped in, with room.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 4 + 8 + 1 + 1;
/// Flag: the message goes on in the next frame.
pub const MORE: u8 = 1;

const KIND_JSON: u8 = 0;
const KIND_PUBLICATIONS: u8 = 1;
const KIND_PIECE: u8 = 2;

/// A received message, not yet interpreted beyond its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// JSON text of a `ToRuntime` or `ToSidecar`.
    Json(Bytes),
    /// Publications of a channel in use.
    Publications(Publications),
    /// A piece of history.
    Piece(Piece),
}

/// A frame or message that cannot be read; the link is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame longer than allowed, or shorter than its header.
    #[error("link frame of {0} bytes")]
    FrameLength(usize),
    /// A message longer than [`MESSAGE_BYTES`].
    #[error("link message of more than {MESSAGE_BYTES} bytes")]
    MessageLength,
    /// A kind or flag that this version does not know.
    #[error("link frame of kind {kind} with flags {flags}")]
    Unknown {
        /// Kind byte.
        kind: u8,
        /// Flags byte.
        flags: u8,
    },
    /// A message's frames had different kinds or epochs.
    #[error("link message continued by a frame of another kind or epoch")]
    Mixed,
    /// A binary message ended too early.
    #[error("link message cut short")]
    Short,
}

/// Turns bytes into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    input: BytesMut,
    partial: Option<(u64, u8, BytesMut)>,
}

/// A message with the epoch of its frames and the bytes they took (for the window).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Epoch the sender believes in.
    pub epoch: u64,
    /// Bytes of all its frames, headers included.
    pub frame_bytes: usize,
    /// The message.
    pub message: Message,
}

impl Decoder {
    /// The buffer to read into (append only).
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// The next whole message; `None` until more bytes are there.
    ///
    /// # Errors
    /// Anything that is not a message; the decoder is then useless.
    pub fn next_message(&mut self) -> Result<Option<Received>, FrameError> {
        while let Some((epoch, kind, flags, payload)) = self.next_frame()? {
            let mut whole = match self.partial.take() {
                Some((e, k, _)) if (e, k) != (epoch, kind) => return Err(FrameError::Mixed),
                Some((_, _, whole)) => whole,
                None => BytesMut::new(),
            };
            if whole.len() + payload.len() > MESSAGE_BYTES {
                return Err(FrameError::MessageLength);
            }
            if whole.is_empty() {
                whole = payload;
            } else {
                whole.extend_from_slice(&payload);
            }
            if flags & MORE == 0 {
                let frames = whole.len().div_ceil(FRAME_PAYLOAD_BYTES).max(1);
                let frame_bytes = whole.len() + frames * HEADER_BYTES;
                let message = decode(kind, whole.freeze())?;
                return Ok(Some(Received { epoch, frame_bytes, message }));
            }
            self.partial = Some((epoch, kind, whole));
        }
        Ok(None)
    }

    fn next_frame(&mut self) -> Result<Option<(u64, u8, u8, BytesMut)>, FrameError> {
        let Some(prefix) = self.input.get(..4) else { return Ok(None) };
        let length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize;
        if !(HEADER_BYTES - 4..=HEADER_BYTES - 4 + FRAME_PAYLOAD_BYTES).contains(&length) {
            return Err(FrameError::FrameLength(length));
        }
        if self.input.len() < 4 + length {
            return Ok(None);
        }
        self.input.advance(4);
        let mut frame = self.input.split_to(length);
        let (epoch, kind, flags) = (frame.get_u64_le(), frame.get_u8(), frame.get_u8());
        if kind > KIND_PIECE || flags & !MORE != 0 {
            return Err(FrameError::Unknown { kind, flags });
        }
        Ok(Some((epoch, kind, flags, frame)))
    }
}

fn decode(kind: u8, payload: Bytes) -> Result<Message, FrameError> {
    let mut rest = payload;
    match kind {
        KIND_JSON => Ok(Message::Json(rest)),
        KIND_PUBLICATIONS => {
            let no = rest.try_get_u32_le().map_err(|_| FrameError::Short)?;
            Ok(Message::Publications(Publications { no, publications: decode_publications(rest)? }))
        }
        _ => {
            let short = |_| FrameError::Short;
            let id = rest.try_get_u64_le().map_err(short)?;
            let top = rest.try_get_u64_le().map_err(short)?;
            let recovered = rest.try_get_u8().map_err(short)? != 0;
            let epoch_bytes = rest.try_get_u16_le().map_err(short)? as usize;
            if rest.len() < epoch_bytes {
                return Err(FrameError::Short);
            }
            let epoch =
                String::from_utf8(rest.split_to(epoch_bytes).to_vec()).map_err(|_| FrameError::Short)?;
            Ok(Message::Piece(Piece { id, epoch, top, recovered, publications: decode_publications(rest)? }))
        }
    }
}

fn decode_publications(mut rest: Bytes) -> Result<Vec<Publication>, FrameError> {
    let mut publications = Vec::new();
    while !rest.is_empty() {
        let offset = rest.try_get_u64_le().map_err(|_| FrameError::Short)?;
        let length = rest.try_get_u32_le().map_err(|_| FrameError::Short)? as usize;
        if rest.len() < length {
            return Err(FrameError::Short);
        }
        publications.push(Publication { offset, data: rest.split_to(length) });
    }
    Ok(publications)
}

/// Appends a JSON message's frames; gives the bytes they take.
pub fn encode_json(epoch: u64, message: &impl Serialize, out: &mut BytesMut) -> usize {
    let payload =
        serde_json::to_vec(message).expect("link messages have string keys and cannot fail to serialize");
    encode(epoch, KIND_JSON, &payload, out)
}

/// Appends the frames of publications; gives the bytes they take.
pub fn encode_publications(epoch: u64, message: &Publications, out: &mut BytesMut) -> usize {
    let mut payload = BytesMut::new();
    payload.put_u32_le(message.no);
    put_publications(&message.publications, &mut payload);
    encode(epoch, KIND_PUBLICATIONS, &payload, out)
}

/// Appends the frames of a piece; gives the bytes they take.
pub fn encode_piece(epoch: u64, piece: &Piece, out: &mut BytesMut) -> usize {
    let mut payload = BytesMut::new();
    payload.put_u64_le(piece.id);
    payload.put_u64_le(piece.top);
    payload.put_u8(piece.recovered.into());
    let channel_epoch = &piece.epoch.as_bytes()[..piece.epoch.len().min(u16::MAX.into())];
    payload.put_u16_le(channel_epoch.len() as u16);
    payload.put_slice(channel_epoch);
    put_publications(&piece.publications, &mut payload);
    encode(epoch, KIND_PIECE, &payload, out)
}

fn put_publications(publications: &[Publication], payload: &mut BytesMut) {
    for publication in publications {
        payload.put_u64_le(publication.offset);
        payload.put_u32_le(publication.data.len() as u32);
        payload.put_slice(&publication.data);
    }
}

fn encode(epoch: u64, kind: u8, payload: &[u8], out: &mut BytesMut) -> usize {
    let before = out.len();
    let mut chunks = payload.chunks(FRAME_PAYLOAD_BYTES).peekable();
    let mut chunk = chunks.next().unwrap_or(&[]);
    loop {
        let more = chunks.peek().is_some();
        out.put_u32_le((HEADER_BYTES - 4 + chunk.len()) as u32);
        out.put_u64_le(epoch);
        out.put_u8(kind);
        out.put_u8(if more { MORE } else { 0 });
        out.put_slice(chunk);
        match chunks.next() {
            Some(next) => chunk = next,
            None => return out.len() - before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ToRuntime;
    use super::*;
    use proptest::prelude::*;

    fn all(decoder: &mut Decoder) -> Vec<Received> {
        std::iter::from_fn(|| decoder.next_message().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_it_is_cut(
            sizes in prop::collection::vec(0usize..100_000, 1..5), cut in 1usize..70_000, epoch in 0u64..9,
        ) {
            let publications: Vec<Publication> = sizes.iter().enumerate()
                .map(|(i, size)| Publication { offset: i as u64 + 1, data: Bytes::from(vec![b'x'; *size]) }).collect();
            let many = Publications { no: 7, publications: publications.clone() };
            let piece = Piece { id: 3, epoch: "é1".into(), top: 9, recovered: true, publications };
            let mut wire = BytesMut::new();
            let sizes = [
                encode_json(epoch, &ToRuntime::Window { bytes: 5 }, &mut wire),
                encode_publications(epoch, &many, &mut wire),
                encode_piece(epoch, &piece, &mut wire),
            ];
            let mut decoder = Decoder::default();
            let mut received = Vec::new();
            for part in wire.chunks(cut) {
                decoder.input().extend_from_slice(part);
                received.extend(all(&mut decoder));
            }
            prop_assert_eq!(received.len(), 3);
            prop_assert!(received.iter().zip(sizes).all(|(r, size)| r.epoch == epoch && r.frame_bytes == size));
            prop_assert_eq!(&received[1].message, &Message::Publications(many));
            prop_assert_eq!(&received[2].message, &Message::Piece(piece));
        }

        #[test]
        fn rubbish_is_an_error_or_waits_but_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::default();
            decoder.input().extend_from_slice(&bytes);
            while let Ok(Some(_)) = decoder.next_message() {}
        }
    }

    #[test]
    fn a_message_past_the_bound_is_refused() {
        let mut wire = BytesMut::new();
        let big = Publication { offset: 1, data: Bytes::from(vec![0; MESSAGE_BYTES]) };
        encode_publications(1, &Publications { no: 1, publications: vec![big] }, &mut wire);
        let mut decoder = Decoder::default();
        decoder.input().extend_from_slice(&wire);
        assert_eq!(decoder.next_message(), Err(FrameError::MessageLength));
    }
}
