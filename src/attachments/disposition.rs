//! `Content-Disposition` (RFC 6266): under which name a browser saves a file, and whether it may show it in place.
//!
//! The name is its sender's. It is told twice: in full as `filename*` (RFC 8187), and with everything replaced that
//! has a meaning in a header or a path as `filename`, for clients that know no better.

use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::FILE_NAME_BYTES;

/// What stands for a character that could do harm.
const REPLACEMENT: char = '_';
/// What a file is called whose name says nothing.
const NAMELESS: &str = "file";

/// Everything but `attr-char` (RFC 8187 §3.2.1).
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header's value for a file called `name`, whatever that is: shown in place if `inline`, else saved.
#[must_use]
pub fn content_disposition(name: &str, inline: bool) -> HeaderValue {
    let kind = if inline { "inline" } else { "attachment" };
    let name = harmless(name);
    let full = utf8_percent_encode(&name, NOT_ATTR_CHAR);
    let value = format!("{kind}; filename=\"{}\"; filename*=UTF-8''{full}", ascii(&name));
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// One path segment that reads as what it is. Names are checked when they come in; this holds for any.
fn harmless(name: &str) -> String {
    let cut = &name[..name.floor_char_boundary(FILE_NAME_BYTES)];
    if cut.trim_matches(['.', ' ']).is_empty() {
        return NAMELESS.to_owned();
    }
    cut.chars().map(|c| if deceives(c) { REPLACEMENT } else { c }).collect()
}

/// Separators of paths, control characters, and what reorders text on screen (Unicode TR 36 §2.8).
fn deceives(c: char) -> bool {
    c.is_control() || matches!(c, '/' | '\\' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What fits in a quoted string without escapes. `%` goes too: some clients decode it there (RFC 6266, appendix D).
fn ascii(name: &str) -> String {
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%');
    name.chars().map(|c| if plain(c) { c } else { REPLACEMENT }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::FileName;

    fn attachment(name: &str) -> String {
        content_disposition(name, false).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_plain_name_is_told_as_it_is() {
        assert_eq!(
            attachment("brief v2.pdf"),
            "attachment; filename=\"brief v2.pdf\"; filename*=UTF-8''brief%20v2.pdf"
        );
        assert_eq!(content_disposition("a.png", true), "inline; filename=\"a.png\"; filename*=UTF-8''a.png");
    }

    #[test]
    fn names_cannot_leave_their_place() {
        for (name, expected) in [
            ("na\u{ef}ve.txt", "filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt"),
            ("\u{1f600}.png", "filename=\"_.png\"; filename*=UTF-8''%F0%9F%98%80.png"),
            (
                "a\"; filename=\"b.exe",
                "filename=\"a_; filename=_b.exe\"; filename*=UTF-8''a%22%3B%20filename%3D%22b.exe",
            ),
            ("../../etc/passwd", "filename=\".._.._etc_passwd\"; filename*=UTF-8''.._.._etc_passwd"),
            ("c:\\x.exe", "filename=\"c:_x.exe\"; filename*=UTF-8''c%3A_x.exe"),
            ("a\r\nSet-Cookie: b", "filename=\"a__Set-Cookie: b\"; filename*=UTF-8''a__Set-Cookie%3A%20b"),
            ("a\0b\u{7f}\u{85}c", "filename=\"a_b__c\"; filename*=UTF-8''a_b__c"),
            ("\u{202e}gpj.exe", "filename=\"_gpj.exe\"; filename*=UTF-8''_gpj.exe"),
            ("100%41'*.txt", "filename=\"100_41'*.txt\"; filename*=UTF-8''100%2541%27%2A.txt"),
            ("", "filename=\"file\"; filename*=UTF-8''file"),
            ("..", "filename=\"file\"; filename*=UTF-8''file"),
        ] {
            assert_eq!(attachment(name), format!("attachment; {expected}"), "{name:?}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let value = attachment(&"\u{e9}".repeat(150));
        assert!(value.ends_with("%C3%A9"), "{value}");
        assert_eq!(value.matches("%C3%A9").count(), FILE_NAME_BYTES / 2);
        assert!(attachment(&"x".repeat(300)).len() < 2 * FILE_NAME_BYTES + 60);
    }

    proptest! {
        #[test]
        fn every_name_makes_a_header(name in any::<String>(), inline in any::<bool>()) {
            let value = content_disposition(&name, inline);
            let value = value.to_str().unwrap();
            let start = if inline { "inline; filename=\"" } else { "attachment; filename=\"" };
            let (fallback, full) = value.strip_prefix(start).unwrap().split_once("\"; filename*=UTF-8''").unwrap();
            let harmful = ['"', '\\', '/', '%'];
            prop_assert!(!fallback.contains(harmful));
            prop_assert!(!full.contains([' ', '"', ';', '/', '\'', '*', '\\']));
        }

        /// A name that was taken is one a file system takes, and comes back as it was.
        #[test]
        fn names_that_are_taken_are_those_of_one_file(
            name in prop_oneof![any::<String>(), "[.a /\\\\\u{0}-\u{20}\u{7f}\u{202a}-\u{202f}\u{2066}-\u{206a}]{0,5}", "(\u{e9}|x){120,260}"],
        ) {
            let Ok(taken) = FileName::try_from(name.clone()) else { return Ok(()) };
            prop_assert_eq!(taken.as_str(), name.as_str());
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(&name), "").unwrap();
            let found: Vec<_> = folder.path().read_dir().unwrap().map(|it| it.unwrap().file_name()).collect();
            prop_assert_eq!(found, [name.as_str()]);
            let told = attachment(&name);
            let (_, full) = told.split_once("filename*=UTF-8''").unwrap();
            let decoded = percent_encoding::percent_decode_str(full).decode_utf8().unwrap();
            let shown: String = name.chars().map(|c| if deceives(c) { REPLACEMENT } else { c }).collect();
            let nameless = name.trim_matches(['.', ' ']).is_empty();
            prop_assert_eq!(&*decoded, if nameless { NAMELESS } else { &shown });
        }
    }
}
