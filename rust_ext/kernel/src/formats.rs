//! What a text spells: the formats that a contract may ask of strings.

use std::net::{Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use crate::{
    plan::StringFormat,
    text::{self, Zone},
};

impl StringFormat {
    /// The format's name in words, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Byte => "base64",
            Self::Date => "a date",
            Self::DateTime => "a date and time with its zone",
            Self::Email => "a mail address",
            Self::Hostname => "a host's name",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
            Self::Time => "a time of day",
            Self::Uri => "an absolute URI",
            Self::Uuid => "a UUID",
        }
    }

    /// Whether a text has the format.
    pub fn has(self, text: &str) -> bool {
        match self {
            Self::Byte => is_base64(text.as_bytes()),
            Self::Date => text::date(text, &[]).is_some(),
            Self::DateTime => text::timestamp(text, Zone::Named, &[]).is_some(),
            Self::Email => is_email(text),
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Time => text::time(text, &[]).is_some(),
            Self::Uri => is_uri(text),
            // The other spellings that the parser takes have other lengths.
            Self::Uuid => text.len() == 36 && Uuid::try_parse(text).is_ok(),
        }
    }
}

/// RFC 4648, section 4: groups of four characters, the last one filled up with `=`.
fn is_base64(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    bytes.len().is_multiple_of(4) && bytes[..bytes.len() - padding].iter().all(is_digit)
}

/// Mail addresses as they are in use: a dot-atom of RFC 5322, `@`, a host's name of two labels or more, within the lengths of
/// RFC 5321. Quoted local parts, comments and address literals are none.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    text.len() <= 254
        && local.len() <= 64
        && local.split('.').all(is_atom)
        && domain.contains('.')
        && is_hostname(domain)
}

/// RFC 1123, section 2.1: labels of 1 to 63 letters, digits and inner hyphens, 253 characters in all.
fn is_hostname(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// RFC 3986: a scheme, a colon, and only the characters that a URI may have, others by their percent codes.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let bytes = rest.as_bytes();
    let is_allowed = |(at, byte): (usize, &u8)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte),
    };
    is_scheme
        && !rest.is_empty()
        && bytes.iter().enumerate().all(is_allowed)
        && rest.matches('#').count() <= 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_has_the_format_is_told_from_what_has_not() {
        use StringFormat::*;
        let long = format!("a@{}.com", "b".repeat(64));
        for (format, good, bad) in [
            (
                Byte,
                vec!["", "YQ==", "YWI=", "YWJj", "+/+/"],
                vec!["Y", "YQ=", "YQ==YQ==", "Y===", "YW-_", "YQ= ="],
            ),
            (Date, vec!["2024-02-29"], vec!["2023-02-29", "2024-2-1", ""]),
            (
                DateTime,
                vec!["2024-02-29T12:00:00Z", "2024-02-29T12:00:00.5+01:00"],
                vec!["2024-02-29T12:00:00"],
            ),
            (
                Email,
                vec!["a@b.co", "first.last+tag@mail.example.org", "o'neil@x-y.de"],
                vec![
                    "a",
                    "a@b",
                    "@b.co",
                    "a@",
                    ".a@b.co",
                    "a..b@c.de",
                    "a b@c.de",
                    "a@b..co",
                    "é@b.co",
                    "a@b.co ",
                ],
            ),
            (Email, vec![], vec![long.as_str(), "\"a b\"@c.de", "a@[127.0.0.1]"]),
            (
                Hostname,
                vec!["localhost", "a-b.example", "1.2.3"],
                vec!["", "-a", "a-", "a..b", "a_b", "a.", "é"],
            ),
            (Ipv4, vec!["127.0.0.1"], vec!["127.0.0.01", "256.0.0.1", "1.2.3", "1.2.3.4 "]),
            (
                Ipv6,
                vec!["::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4"],
                vec![":::", "1::2::3", "fe80::1%eth0"],
            ),
            (Time, vec!["12:00", "23:59:59.5"], vec!["24:00", "noon"]),
            (
                Uri,
                vec!["https://example.org/a?b=c#d", "mailto:a@b.co", "urn:isbn:1", "http://[::1]/%20"],
                vec![
                    "",
                    "example.org",
                    "/a",
                    "http:",
                    "1http://x",
                    "http://a b",
                    "http://a/%2",
                    "a:b#c#d",
                    "a:é",
                ],
            ),
            (
                Uuid,
                vec!["6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8"],
                vec!["6ba7b8109dad11d180b400c04fd430c8", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}", "x"],
            ),
        ] {
            good.iter().for_each(|text| assert!(format.has(text), "{format:?} {text}"));
            bad.iter().for_each(|text| assert!(!format.has(text), "{format:?} {text}"));
        }
    }

    proptest! {
        #[test]
        fn what_std_writes_has_the_format(four in any::<u32>(), six in any::<u128>()) {
            prop_assert!(StringFormat::Ipv4.has(&Ipv4Addr::from(four).to_string()));
            prop_assert!(StringFormat::Ipv6.has(&Ipv6Addr::from(six).to_string()));
            prop_assert!(StringFormat::Uuid.has(&Uuid::from_u128(six).to_string()));
        }

        #[test]
        fn any_text_is_judged(text in any::<String>()) {
            use StringFormat::*;
            for format in [Byte, Date, DateTime, Email, Hostname, Ipv4, Ipv6, Time, Uri, Uuid] {
                let _ = format.has(&text);
            }
        }
    }
}
