//! Heads and bodies of HTTP/1 messages as bytes, read by other code than the product's and without forgiving more than asked.

use anyhow::{Context, Result, bail};

/// Field lines in order, names as they came.
pub type Fields = Vec<(String, String)>;

/// Where the head ends: the index after the empty line.
#[must_use]
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// The first line and the fields of a head.
///
/// # Errors
/// If a line has no colon.
pub fn head(bytes: &[u8]) -> Result<(String, Fields)> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let mut fields = Fields::new();
    for line in lines.filter(|l| !l.is_empty()) {
        let (name, value) = line.split_once(':').with_context(|| format!("a field line without a colon: {line:?}"))?;
        fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok((first, fields))
}

/// All values of a field, whatever the case of its name.
pub fn values<'a>(fields: &'a Fields, name: &str) -> std::vec::IntoIter<&'a str> {
    let of: Vec<&str> = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect();
    of.into_iter()
}

/// How far a body has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// The content, the trailers, and how many bytes of the input it took.
    Whole(Vec<u8>, Fields, usize),
    Short,
}

/// Reads a chunked body at the beginning of `bytes`.
///
/// # Errors
/// If it is none.
pub fn chunked(bytes: &[u8]) -> Result<Body> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let Some(line) = bytes[at..].windows(2).position(|w| w == b"\r\n") else { return Ok(Body::Short) };
        let text = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let digits = text.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).with_context(|| format!("no chunk size: {text:?}"))?;
        at += line + 2;
        if size == 0 {
            return trailers(bytes, at, content);
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(Body::Short) };
        if &chunk[size..] != b"\r\n" {
            bail!("a chunk of {size} bytes is not followed by an end of line");
        }
        content.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
}

fn trailers(bytes: &[u8], at: usize, content: Vec<u8>) -> Result<Body> {
    if bytes[at..].starts_with(b"\r\n") {
        return Ok(Body::Whole(content, Fields::new(), at + 2));
    }
    let Some(end) = head_end(&bytes[at..]) else { return Ok(Body::Short) };
    let (first, mut fields) = head(&bytes[at..at + end])?;
    let (name, value) = first.split_once(':').context("a trailer without a colon")?;
    fields.insert(0, (name.to_owned(), value.trim().to_owned()));
    Ok(Body::Whole(content, fields, at + end))
}

/// Reads a body of a request with these fields.
///
/// # Errors
/// If it is chunked and broken.
pub fn request_body(fields: &Fields, bytes: &[u8]) -> Result<Body> {
    if values(fields, "transfer-encoding").next().is_some() {
        return chunked(bytes);
    }
    let length = values(fields, "content-length").next().map_or(Ok(0), str::parse::<usize>)?;
    Ok(bytes.get(..length).map_or(Body::Short, |b| Body::Whole(b.to_vec(), Fields::new(), length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_trailers_kept() {
        let Body::Whole(content, trailers, taken) = chunked(b"3\r\nabc\r\n0\r\nA: b\r\n\r\nrest").expect("a body")
        else {
            panic!("short")
        };
        assert_eq!((content.as_slice(), taken), (&b"abc"[..], 19));
        assert_eq!(trailers, [("A".to_owned(), "b".to_owned())]);
        assert_eq!(chunked(b"3\r\nab").expect("no fault"), Body::Short);
        assert!(chunked(b"3\r\nabcd\r\n").is_err());
        assert!(chunked(b"zz\r\n").is_err());
    }
}
