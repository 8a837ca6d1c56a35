//! What a file is: by its bytes where they tell, by its sender's word where that does no harm.
//!
//! A browser treats a file by its media type, so a type that is shown in place is never taken on trust, and a type
//! that could run (HTML, SVG, scripts) is never sent: such files are saved as opaque bytes.

use file_format::FileFormat;

/// The longest media type that is kept, in bytes: type and subtype may have 127 each (RFC 6838 §4.2), none has.
const TYPE_BYTES: usize = 127;

/// What nothing is known of (RFC 2046 §4.5.1).
const OPAQUE: &str = "application/octet-stream";

/// What a browser may show in place: raster images, and the audio and video that browsers play. Never SVG, HTML or
/// PDF, which can hold scripts.
const INLINE: [&str; 16] = [
    "image/png",
    "image/apng",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "video/mp4",
    "video/ogg",
    "video/quicktime",
    "video/webm",
];

/// What is saved, never shown, and harmless under its own type: what it is kept as, and what is sent.
const INERT: [(&str, &str); 5] = [
    ("application/json", "application/json"),
    ("application/pdf", "application/pdf"),
    ("application/zip", "application/zip"),
    ("text/csv", "text/csv; charset=utf-8"),
    ("text/plain", "text/plain; charset=utf-8"),
];

/// Names that browsers do not know for types that they do. Of an MP4 whose index comes last, as phones record them,
/// the head does not tell whether it is audio or video; a video player plays both.
const COMMON_NAMES: [(&str, &str); 6] = [
    ("application/mp4", "video/mp4"),
    ("audio/opus", "audio/ogg"),
    ("audio/vnd.wave", "audio/wav"),
    ("audio/x-m4a", "audio/mp4"),
    ("image/avif-sequence", "image/avif"),
    ("video/x-m4v", "video/mp4"),
];

/// The media type of a file that begins with `head` and was sent as `declared`.
///
/// A specific format in the bytes wins. Else the sender's word holds, without its parameters and in lower case, if
/// it is a media type (RFC 6838 §4.2) and none that is shown in place. Else it is text or opaque bytes.
#[must_use]
pub fn media_type(head: &[u8], declared: &str) -> String {
    let format = FileFormat::from_bytes(without_cut_character(head));
    if let Some(proven) = specific(&format).or_else(|| container(head)) {
        return common_name(proven).to_owned();
    }
    let plain = if format == FileFormat::PlainText { "text/plain" } else { OPAQUE };
    essence(declared).filter(|declared| !is_inline(common_name(declared))).unwrap_or_else(|| plain.to_owned())
}

/// Whether a browser may show this type in place.
#[must_use]
pub fn is_inline(media_type: &str) -> bool {
    INLINE.contains(&media_type)
}

/// The `Content-Type` under which a file is sent: from closed lists, so nothing a sender wrote gets into a header.
#[must_use]
pub fn served_type(media_type: &str) -> &'static str {
    let inline = INLINE.into_iter().find(|inline| *inline == media_type);
    let inert = || INERT.into_iter().find(|(kept, _)| *kept == media_type).map(|(_, sent)| sent);
    inline.or_else(inert).unwrap_or(OPAQUE)
}

fn specific(format: &FileFormat) -> Option<&str> {
    match format {
        FileFormat::PlainText | FileFormat::ArbitraryBinaryData | FileFormat::Empty => None,
        format => Some(format.media_type()),
    }
}

/// Audio and video whose inner structure lies beyond the head, so that only the signature is there to see (WHATWG
/// MIME Sniffing §6.2): an MP3 behind a large cover picture, for one.
fn container(head: &[u8]) -> Option<&'static str> {
    let start = &head[..head.len().min(64)];
    if start.starts_with(b"ID3") {
        Some("audio/mpeg")
    } else if start.get(4..8) == Some(b"ftyp") {
        Some("video/mp4")
    } else if start.starts_with(b"\x1a\x45\xdf\xa3") && start.windows(4).any(|bytes| bytes == b"webm") {
        Some("video/webm")
    } else {
        None
    }
}

/// The head may end within a character, which must not make a text look like bytes.
fn without_cut_character(head: &[u8]) -> &[u8] {
    match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_none() => &head[..error.valid_up_to()],
        _ => head,
    }
}

fn common_name(media_type: &str) -> &str {
    COMMON_NAMES.into_iter().find(|(rare, _)| *rare == media_type).map_or(media_type, |(_, common)| common)
}

/// `type/subtype` without parameters, in lower case, if it is one.
fn essence(declared: &str) -> Option<String> {
    let essence = declared.split(';').next()?.trim();
    let (kind, subtype) = essence.split_once('/')?;
    let good = essence.len() <= TYPE_BYTES && is_restricted_name(kind) && is_restricted_name(subtype);
    good.then(|| essence.to_ascii_lowercase())
}

/// `restricted-name` (RFC 6838 §4.2): tokens without what has a meaning elsewhere, such as `*`.
fn is_restricted_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attachments::HEAD_BYTES;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    const SVG: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";

    #[test]
    fn bytes_win_over_words() {
        for (head, declared, expected) in [
            (PNG, "text/html", "image/png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "", "image/jpeg"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/png", "image/webp"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "", "image/avif"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/x-wav", "audio/wav"),
            (b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead", "", "audio/ogg"),
            (b"%PDF-1.7\n", "image/png", "application/pdf"),
            (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "", "application/zip"),
        ] {
            assert_eq!(media_type(head, declared), expected);
        }
    }

    #[test]
    fn words_hold_where_bytes_say_nothing() {
        for (head, declared, expected) in [
            (b"a,b\n1,2\n".as_slice(), "Text/CSV; charset=utf-8", "text/csv"),
            (b"{}", "application/vnd.example+json", "application/vnd.example+json"),
            (b"\0\x01\x02", "application/x-thing", "application/x-thing"),
            (b"hello", "", "text/plain"),
            (b"\0\x01\x02", "", "application/octet-stream"),
            (b"", "", "application/octet-stream"),
        ] {
            assert_eq!(media_type(head, declared), expected, "{declared:?}");
        }
    }

    #[test]
    fn what_is_shown_in_place_is_proven() {
        for declared in INLINE.into_iter().chain(COMMON_NAMES.map(|(rare, _)| rare)) {
            assert_eq!(media_type(b"<script>alert(1)</script>", declared), "text/plain", "{declared}");
        }
        assert_eq!(media_type(b"\0\x01", "image/PNG; q=1"), "application/octet-stream");
    }

    #[test]
    fn words_that_are_no_media_type_count_for_nothing() {
        let long = format!("text/{}", "x".repeat(TYPE_BYTES));
        for declared in [
            "text",
            "/",
            "text/",
            "/plain",
            "*/*",
            "text/*",
            "a/b/c",
            "te xt/a",
            "text/a\r\nb: c",
            "text/\u{e9}",
            "-a/b",
            &long,
        ] {
            assert_eq!(media_type(b"\0\x01", declared), OPAQUE, "{declared:?}");
        }
    }

    #[test]
    fn hostile_files_are_sent_as_opaque_bytes() {
        let html = b"<!DOCTYPE html><script>alert(1)</script>";
        let xml = [b"<?xml version=\"1.0\"?>\n".as_slice(), SVG].concat();
        let xhtml = b"<?xml version=\"1.0\"?><html xmlns=\"http://www.w3.org/1999/xhtml\"><script/></html>";
        for head in [html.as_slice(), SVG, &xml, xhtml, b"  <svg onload=alert(1)>", b"<script>alert(1)</script>"] {
            for declared in ["image/svg+xml", "text/html", "application/xhtml+xml", "text/javascript"] {
                let media_type = media_type(head, declared);
                assert!(!is_inline(&media_type), "{media_type}");
                assert_eq!(served_type(&media_type), OPAQUE, "{media_type}");
            }
            assert!(!is_inline(&media_type(head, "image/png")));
        }
    }

    #[test]
    fn a_polyglot_is_what_its_signature_says() {
        let polyglot = b"GIF89a/*<html><script>alert(1)</script></html>*/=1;alert(2)";
        for declared in ["text/html", "image/svg+xml", "text/javascript"] {
            assert_eq!(media_type(polyglot, declared), "image/gif");
        }
        assert_eq!(served_type("image/gif"), "image/gif");
    }

    #[test]
    fn what_the_head_cuts_off_is_still_known() {
        let mut cover = b"ID3\x03\0\0\x00\x7f\x7f\x7f".to_vec();
        cover.resize(HEAD_BYTES, 0);
        assert_eq!(media_type(&cover, ""), "audio/mpeg");

        let mut film = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\x7f\0\0\0mdat".to_vec();
        film.resize(HEAD_BYTES, 0);
        assert_eq!(media_type(&film, ""), "video/mp4");

        let mut clip = b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff".to_vec();
        clip.resize(HEAD_BYTES, 0xff);
        assert_eq!(media_type(&clip, ""), "video/webm");

        let text = "\u{20ac}".repeat(HEAD_BYTES);
        assert_eq!(media_type(&text.as_bytes()[..HEAD_BYTES], ""), "text/plain");
    }

    #[test]
    fn only_listed_types_are_sent() {
        assert_eq!(served_type("video/mp4"), "video/mp4");
        assert_eq!(served_type("text/plain"), "text/plain; charset=utf-8");
        assert_eq!(served_type("application/pdf"), "application/pdf");
        assert!(!is_inline("application/pdf"));
        for other in
            ["text/html", "image/svg+xml", "text/xml", "application/xhtml+xml", "text/javascript", "", "a\r\nb"]
        {
            assert_eq!(served_type(other), OPAQUE, "{other:?}");
            assert!(!is_inline(other));
        }
    }

    proptest! {
        #[test]
        fn every_file_gets_a_type(head in any::<Vec<u8>>(), declared in any::<String>()) {
            let media_type = media_type(&head, &declared);
            prop_assert!(media_type.len() <= TYPE_BYTES);
            prop_assert!(media_type.is_ascii() && media_type.contains('/'));
        }
    }
}
