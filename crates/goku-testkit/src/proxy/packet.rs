//! Packets of MySQL's protocol, as far as a proxy has to know them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Three bytes of length and one that counts.
const HEADER_BYTES: usize = 4;

/// A command that is a text of statements.
const COM_QUERY: u8 = 3;

/// What follows a COMMIT in its packet, at the most: a reset of a setting.
const TAIL_BYTES: usize = 64;

/// Where in the text of a batch's first packet the sequencer is locked, at the most.
const LOCK_BYTES: usize = 2_048;

/// One packet, header included.
pub(super) struct Packet(Vec<u8>);

/// What a packet does to a transaction, where a proxy has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It locks the sequencer, and does not end the transaction.
    Lock,
    /// It ends the transaction by a COMMIT.
    Commit,
}

impl Packet {
    /// Reads the next packet; none at the end of the stream.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Packet>> {
        let mut bytes = vec![0; HEADER_BYTES];
        match stream.read_exact(&mut bytes).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) as usize;
        bytes.resize(HEADER_BYTES + length, 0);
        stream.read_exact(&mut bytes[HEADER_BYTES..]).await?;
        Ok(Some(Packet(bytes)))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What it does, where that matters.
    pub(super) fn step(&self) -> Option<Step> {
        let [_, _, _, 0, COM_QUERY, text @ ..] = &self.0[..] else {
            return None;
        };
        let tail = &text[text.len().saturating_sub(TAIL_BYTES)..];
        let mut last = String::from_utf8_lossy(tail);
        if last
            .split(';')
            .any(|statement| statement.trim().eq_ignore_ascii_case("commit"))
        {
            return Some(Step::Commit);
        }
        last = String::from_utf8_lossy(&text[..text.len().min(LOCK_BYTES)]);
        last.split(';').any(is_lock).then_some(Step::Lock)
    }
}

fn is_lock(statement: &str) -> bool {
    let statement = statement.to_ascii_lowercase();
    statement.contains(" from head ") && statement.ends_with(" for update")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Packet {
        let length = u32::try_from(text.len() + 1).unwrap().to_le_bytes();
        let mut bytes = vec![length[0], length[1], length[2], 0, COM_QUERY];
        bytes.extend(text.as_bytes());
        Packet(bytes)
    }

    #[test]
    fn a_commit_is_known_at_the_end_of_its_packet() {
        for text in [
            "commit",
            "COMMIT",
            "update t;commit",
            "update t;commit;set wait_timeout = default",
        ] {
            assert_eq!(query(text).step(), Some(Step::Commit), "{text}");
        }
        for text in ["select 'commit'", "begin;select 1", "rollback", ""] {
            assert_ne!(query(text).step(), Some(Step::Commit), "{text}");
        }
    }

    #[tokio::test]
    async fn packets_are_read_one_by_one() {
        let (one, other) = (query("select 1"), query("commit"));
        let stream = [one.bytes(), other.bytes()].concat();
        let mut stream = &stream[..];
        for sent in [one, other] {
            let read = Packet::read(&mut stream).await.unwrap().unwrap();
            assert_eq!(read.bytes(), sent.bytes());
        }
        assert!(Packet::read(&mut stream).await.unwrap().is_none());
    }
}
