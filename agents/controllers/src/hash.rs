//! The hash of a Pod template, as part of a name and as a label.

use serde_json::Value;

/// No vowels and nothing that looks like one: the hash never spells a word.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A short, stable text for a template. `collisions` gives other texts for the same template.
pub(crate) fn template_hash(template: &Value, collisions: Option<i32>) -> String {
    // Maps of `Value` are sorted, so the same template always gives the same bytes.
    let mut bytes = template.to_string().into_bytes();
    if let Some(collisions) = collisions {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    let hash = fnv32a(&bytes);
    hash.to_string()
        .bytes()
        .map(|digit| ALPHABET[digit as usize % ALPHABET.len()] as char)
        .collect()
}

fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stable_whatever_the_order_and_distinct() {
        let a: Value = serde_json::from_str(r#"{"a":1,"b":2}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"b":2,"a":1}"#).unwrap();
        assert_eq!(template_hash(&a, None), template_hash(&b, None));
        assert_ne!(template_hash(&a, None), template_hash(&a, Some(1)));
        assert_ne!(template_hash(&a, None), template_hash(&json!({ "a": 2 }), None));
        assert_eq!(fnv32a(b"a"), 0xe40c_292c);
    }
}
