//! Where an answer is cut, and how what comes before is sent. Pure.
//!
//! ```text
//!  HTTP/1.1 200 OK                     StatusLine: within
//!  Content-Type: application/json      Headers: within
//!
//!  30                                  ChunkSize: within
//!  {"type":"ADDED","object":{"met      Object: within; Character: within one of several bytes
//!                                      BetweenChunks: here
//!  30
//!  adata":{"name":"web"}}\n            BeforeNewline, AfterNewline
//! ```

/// How much of the body a chunk holds: less than any object, so that objects span chunks.
const CHUNK: usize = 48;
/// How much of the head is sent when it is cut within its first line.
const OF_THE_STATUS_LINE: usize = 10;

/// A place in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Within the first line of the head.
    StatusLine,
    /// Within the head, after its first line.
    Headers,
    /// Within the line that says how long a chunk is, inside an object.
    ChunkSize,
    /// After a chunk, inside an object.
    BetweenChunks,
    /// Inside an object, within a chunk.
    Object,
    /// Within a character of several bytes.
    Character,
    /// After an object, before the newline that ends it.
    BeforeNewline,
    /// After the newline that ends an object.
    AfterNewline,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 8] = [
        Self::StatusLine,
        Self::Headers,
        Self::ChunkSize,
        Self::BetweenChunks,
        Self::Object,
        Self::Character,
        Self::BeforeNewline,
        Self::AfterNewline,
    ];

    /// Whether it is before the body.
    pub const fn is_in_head(self) -> bool {
        matches!(self, Self::StatusLine | Self::Headers)
    }
}

/// What is after a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The connection ends without the end of the TLS session, as when a middlebox or the server dies.
    Severed,
    /// The TLS session ends, the answer does not, as when the server's program ends.
    Closed,
    /// The answer ends as if it were complete.
    Finished,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 3] = [Self::Severed, Self::Closed, Self::Finished];
}

/// Where an answer is cut, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// After so many complete objects of the body.
    pub objects: usize,
    /// The place.
    pub place: Place,
    /// What comes then.
    pub ending: Ending,
}

/// How much of a head is sent when the answer is to be cut there.
pub(super) fn part_of_head(head: &str, place: Place) -> &str {
    let first_line = head.find('\n').unwrap_or(head.len());
    let length = match place {
        Place::StatusLine => OF_THE_STATUS_LINE.min(first_line),
        Place::Headers => usize::midpoint(first_line, head.len()),
        Place::AfterNewline
        | Place::BeforeNewline
        | Place::BetweenChunks
        | Place::Character
        | Place::ChunkSize
        | Place::Object => head.len(),
    };
    head.get(..length).unwrap_or(head)
}

/// Follows a body of JSON texts, each on a line of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// How many objects are complete, with their newlines.
    objects: usize,
}

impl Body {
    fn pass(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b'\n' if self.depth == 0 => self.objects += 1,
            _ => {}
        }
    }

    /// Whether `place` is right after `byte`, which was passed last; `left` bytes of its chunk follow.
    const fn is_at(&self, place: Place, byte: u8, left: usize) -> bool {
        match place {
            Place::AfterNewline => self.depth == 0 && byte == b'\n',
            Place::BeforeNewline => self.depth == 0 && byte == b'}',
            Place::BetweenChunks | Place::ChunkSize => self.depth > 0 && left == 0,
            // The first byte of several in UTF-8 (RFC 3629 section 3).
            Place::Character => byte >= 0xc0,
            Place::Object => self.depth > 1 && left > 0,
            Place::Headers | Place::StatusLine => false,
        }
    }

    /// Where, in the data that follows, an object begins before which at least so many are complete.
    pub(super) fn beginning(&self, data: &[u8], objects: usize) -> Option<usize> {
        let mut body = self.clone();
        data.iter().position(|byte| {
            let begins = body.depth == 0 && *byte == b'{' && body.objects >= objects;
            body.pass(*byte);
            begins
        })
    }

    /// Puts more of the body into chunks, until `cut`; whether it was reached.
    pub(super) fn send(&mut self, data: &[u8], cut: Option<Cut>) -> (Vec<u8>, bool) {
        let mut sent = Vec::new();
        for chunk in data.chunks(CHUNK) {
            for (index, byte) in chunk.iter().enumerate() {
                let objects = self.objects;
                self.pass(*byte);
                let left = chunk.len() - index - 1;
                let Some(cut) = cut.filter(|cut| cut.objects <= objects) else { continue };
                if self.is_at(cut.place, *byte, left) {
                    sent.extend(last_chunk(chunk, chunk.len() - left, cut));
                    return (sent, true);
                }
            }
            sent.extend(whole_chunk(chunk));
        }
        (sent, false)
    }
}

fn size_line(size: usize) -> String {
    format!("{size:x}\r\n")
}

fn whole_chunk(data: &[u8]) -> Vec<u8> {
    [size_line(data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// What is sent of a chunk that is cut after `length` bytes.
fn last_chunk(chunk: &[u8], length: usize, cut: Cut) -> Vec<u8> {
    let part = chunk.get(..length).unwrap_or(chunk);
    let in_size = cut.place == Place::ChunkSize;
    match cut.ending {
        Ending::Finished => [whole_chunk(part), b"0\r\n\r\n".to_vec()].concat(),
        // A digit of the next chunk's size.
        Ending::Closed | Ending::Severed if in_size => [whole_chunk(part), b"3".to_vec()].concat(),
        Ending::Closed | Ending::Severed if length == chunk.len() => whole_chunk(part),
        Ending::Closed | Ending::Severed => [size_line(chunk.len()).as_bytes(), part].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Cut, Ending, Place, part_of_head};

    const TWO: &str = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"{\\\"é\",\"namespace\":\"shop\"}}}\n{\"b\":{}}\n";

    fn cut(place: Place, ending: Ending, objects: usize) -> String {
        let (sent, reached) = Body::default().send(TWO.as_bytes(), Some(Cut { objects, place, ending }));
        assert!(reached, "{place:?}");
        String::from_utf8_lossy(&sent).into_owned()
    }

    #[test]
    fn body_is_cut_at_each_place() {
        let first = "30\r\n{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"{\\\r\n";
        let sent = |place| cut(place, Ending::Severed, 0);
        assert_eq!(sent(Place::BetweenChunks), first);
        assert_eq!(sent(Place::ChunkSize), format!("{first}3"));
        assert_eq!(sent(Place::Object), "30\r\n{\"type\":\"ADDED\",\"object\":{");
        assert!(sent(Place::Character).ends_with("24\r\n\"\u{fffd}"), "{}", sent(Place::Character));
        assert!(sent(Place::BeforeNewline).ends_with("\"shop\"}}}"));
        assert!(sent(Place::AfterNewline).ends_with("\"shop\"}}}\n"));
    }

    #[test]
    fn cut_may_be_after_some_objects_and_look_complete() {
        let sent = cut(Place::BeforeNewline, Ending::Finished, 1);
        assert!(sent.ends_with("{\"b\":{}}\r\n0\r\n\r\n"), "{sent}");
        assert!(!Body::default().send(TWO.as_bytes(), None).1);
    }

    #[test]
    fn object_begins_after_so_many() {
        let body = Body::default();
        assert_eq!(body.beginning(TWO.as_bytes(), 0), Some(0));
        assert_eq!(body.beginning(TWO.as_bytes(), 1), TWO.find('\n').map(|at| at + 1));
        assert_eq!(body.beginning(TWO.as_bytes(), 2), None);
    }

    #[test]
    fn head_is_cut_in_its_first_line_or_after() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        assert_eq!(part_of_head(head, Place::StatusLine), "HTTP/1.1 2");
        assert!(part_of_head(head, Place::Headers).starts_with("HTTP/1.1 200 OK\r\nCont"));
        assert_eq!(part_of_head(head, Place::Object), head);
    }
}
