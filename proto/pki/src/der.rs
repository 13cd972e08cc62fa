//! The little of DER that splicing a certificate takes: cutting a sequence into its elements and making one.

/// Tag of a SEQUENCE.
const SEQUENCE: u8 = 0x30;
/// Tag of a BIT STRING.
const BIT_STRING: u8 = 0x03;

/// The elements of a sequence, each with its header; `None` if the bytes are not one whole sequence.
pub(crate) fn elements(sequence: &[u8]) -> Option<Vec<&[u8]>> {
    let (header, length) = header(sequence)?;
    let whole = sequence[0] == SEQUENCE && sequence.len() == header + length;
    let mut rest = whole.then(|| &sequence[header..])?;
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (header, length) = self::header(rest)?;
        let (element, after) = rest.split_at_checked(header.checked_add(length)?)?;
        elements.push(element);
        rest = after;
    }
    Some(elements)
}

/// A sequence of these elements.
pub(crate) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, &elements.concat())
}

/// A string of whole bytes as bits.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tagged(BIT_STRING, &[&[0], bytes].concat())
}

/// Lengths of the header and of the content of the first element.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, first.into()));
    }
    let count = usize::from(first & 0x7f);
    let digits = bytes.get(2..2 + count).filter(|_| (1..=4).contains(&count))?;
    let length = digits
        .iter()
        .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    Some((2 + count, length))
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => bytes.push(length),
        _ => {
            let digits = content.len().to_be_bytes();
            let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend(digits);
        }
    }
    bytes.extend(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_together_comes_apart_again() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 70_000] {
            let (long, short) = (sequence(&[&bit_string(&vec![7; length])]), bit_string(&[1]));
            let both = sequence(&[&long, &short]);
            assert_eq!(elements(&both).unwrap(), [&long[..], &short], "{length}");
        }
    }

    #[test]
    fn broken_lengths_are_no_elements() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 2, 5],
            &[0x30, 0x80],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[0x30, 3, 2, 9, 1],
        ] {
            assert_eq!(elements(bytes), None, "{bytes:?}");
        }
    }
}
