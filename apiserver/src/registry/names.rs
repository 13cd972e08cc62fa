//! The shapes of names. Each check returns what is wrong in words, or nothing.

pub(crate) const LABEL_LENGTH_MAX: usize = 63;
pub(crate) const SUBDOMAIN_LENGTH_MAX: usize = 253;
const PORT_NAME_LENGTH_MAX: usize = 15;

fn inner(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn label_shaped(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && inner(bytes[0])
        && inner(bytes[bytes.len() - 1])
        && bytes.iter().all(|b| inner(*b) || *b == b'-')
}

/// An RFC 1123 label: one part of a DNS name.
pub(crate) fn dns_label(text: &str) -> Option<String> {
    if text.len() > LABEL_LENGTH_MAX {
        return Some(format!("must be no more than {LABEL_LENGTH_MAX} bytes"));
    }
    (!label_shaped(text)).then(|| {
        "a lowercase RFC 1123 label has only lower case letters, digits and '-', and starts and ends with a letter or \
         digit (for example 'my-name')"
            .to_owned()
    })
}

/// An RFC 1035 label, as services need: it begins with a letter.
pub(crate) fn dns_1035_label(text: &str) -> Option<String> {
    if text.len() > LABEL_LENGTH_MAX {
        return Some(format!("must be no more than {LABEL_LENGTH_MAX} bytes"));
    }
    let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    (!starts_well || !label_shaped(text)).then(|| {
        "a DNS-1035 label has only lower case letters, digits and '-', starts with a letter and ends with a letter or \
         digit (for example 'my-name')"
            .to_owned()
    })
}

/// An RFC 1123 subdomain: labels joined by dots.
pub(crate) fn dns_subdomain(text: &str) -> Option<String> {
    if text.len() > SUBDOMAIN_LENGTH_MAX {
        return Some(format!("must be no more than {SUBDOMAIN_LENGTH_MAX} bytes"));
    }
    (!text.split('.').all(label_shaped)).then(|| {
        "a lowercase RFC 1123 subdomain has only lower case letters, digits, '-' and '.', and each part starts and ends \
         with a letter or digit (for example 'example.com')"
            .to_owned()
    })
}

/// A name that can stand as one segment of a URL path: roles and bindings have such names.
pub(crate) fn path_segment(text: &str) -> Option<String> {
    match text {
        "." | ".." => Some(format!("may not be '{text}'")),
        _ if text.contains('/') => Some("may not contain '/'".to_owned()),
        _ if text.contains('%') => Some("may not contain '%'".to_owned()),
        _ => None,
    }
}

/// A key of a ConfigMap or Secret: it becomes a file name.
pub(crate) fn config_key(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > SUBDOMAIN_LENGTH_MAX {
        return Some(format!("must be between 1 and {SUBDOMAIN_LENGTH_MAX} bytes"));
    }
    if text == "." || text == ".." || text.starts_with("..") {
        return Some("must not start with '..' or be '.'".to_owned());
    }
    (!text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')))
    .then(|| "must have only letters, digits, '-', '_' and '.' (for example 'key.name')".to_owned())
}

/// The name of an environment variable.
pub(crate) fn env_name(text: &str) -> Option<String> {
    let printable = text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    (!printable || text.is_empty()).then(|| "must have only printable ASCII characters other than '='".to_owned())
}

/// The name of a port: an IANA service name.
pub(crate) fn port_name(text: &str) -> Option<String> {
    if text.len() > PORT_NAME_LENGTH_MAX {
        return Some(format!("must be no more than {PORT_NAME_LENGTH_MAX} characters"));
    }
    if !text.bytes().all(|b| inner(b) || b == b'-') {
        return Some("must have only lower case letters, digits and '-'".to_owned());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Some("must have at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        return Some("must not have consecutive hyphens".to_owned());
    }
    (text.starts_with('-') || text.ends_with('-')).then(|| "must not begin or end with a hyphen".to_owned())
}

/// A port number.
pub(crate) fn port_number(port: i64) -> Option<String> {
    (!(1..=65535).contains(&port)).then(|| "must be between 1 and 65535, inclusive".to_owned())
}

/// The key of a label or an annotation: a name with an optional DNS prefix before a slash.
pub(crate) fn qualified_name(text: &str) -> Option<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty".to_owned());
        }
        if let Some(problem) = dns_subdomain(prefix) {
            return Some(format!("prefix part {problem}"));
        }
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    value_shape(name).map(|problem| format!("name part {problem}"))
}

/// The value of a label; it may be empty.
pub(crate) fn label_value(text: &str) -> Option<String> {
    if text.is_empty() { None } else { value_shape(text) }
}

fn value_shape(text: &str) -> Option<String> {
    if text.len() > LABEL_LENGTH_MAX {
        return Some(format!("must be no more than {LABEL_LENGTH_MAX} bytes"));
    }
    let ends = |c: Option<u8>| c.is_some_and(|b| b.is_ascii_alphanumeric());
    let shaped = ends(text.bytes().next())
        && ends(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    (!shaped).then(|| {
        "must have only letters, digits, '-', '_' and '.', and must start and end with a letter or digit".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_shapes() {
        assert!(dns_label("my-name").is_none());
        for bad in ["", "-a", "a-", "A", "a.b", &"a".repeat(64)] {
            assert!(dns_label(bad).is_some(), "{bad}");
        }
        assert!(dns_subdomain("a.b-c.d").is_none());
        assert!(dns_subdomain("a..b").is_some());
        assert!(dns_1035_label("a1").is_none());
        assert!(dns_1035_label("1a").is_some());
        assert!(port_name("http-2").is_none());
        assert!(port_name("123").is_some());
        assert!(qualified_name("example.com/Name_1").is_none());
        assert!(qualified_name("/x").is_some());
        assert!(label_value("").is_none());
        assert!(label_value("-").is_some());
        assert!(config_key("..data").is_some());
        assert!(config_key("a.b_C").is_none());
    }
}
